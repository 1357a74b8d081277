"""The command `duplicates`: copies, near-copies and outliers."""

from __future__ import annotations

import sys
from pathlib import Path

from clip_core.batch.inputs import find_inputs
from clip_core.batch.outputs import open_table, write_errors

from .batch_run import check_tables, make_parser, open_run, stack_features
from .options import make_classifier


def run(arguments: list[str]) -> int:
    """Copies, near-copies and pictures unlike the others."""
    # Here alone: it takes half a second to import scipy, which a second run would feel
    from clip_core.batch import duplicates as copies_of  # noqa: PLC0415

    parser = make_parser("duplicates", "Groups copies and near-copies, and lists the odd ones out.")
    parser.add_argument(
        "--threshold",
        type=float,
        help="the cosine similarity from which two pictures count as one (default "
        f"{copies_of.NEAR_BY_APPEARANCE} for the bundled model, as measured, {copies_of.NEAR} for "
        "others)",
    )
    parser.add_argument("--out", type=Path, help="a .csv, .jsonl or .parquet for both lists")
    options = parser.parse_args(arguments)
    if options.threshold is not None:
        copies_of.check_threshold(options.threshold)
    errors = check_tables({"--out": options.out}, options.inputs)
    sources = find_inputs(options.inputs)
    classifier = make_classifier(options)
    threshold = copies_of.default_threshold(classifier)
    with open_run(options, classifier, sources, appearance=True) as run:
        pictures = list(run)
    write_errors(run.problems, errors)
    features = stack_features(run, pictures)
    groups = copies_of.find_near_copies(features, options.threshold or threshold)
    odd = copies_of.find_odd_ones(features)
    names, contents = [p.item.name for p in pictures], [p.content for p in pictures]
    with open_table(options.out, copies_of.COLUMNS) as write:
        write(copies_of.to_columns(names, contents, groups, odd))
    code = run.exit_code()
    copies = sum(len(group.rows) - 1 for group in groups)
    print(
        f"{_count(len(groups), 'group')} with {_count(copies, 'copy', 'copies')} too many; "
        f"{_count(len(odd), 'picture')} unlike the others.",
        file=sys.stderr,
    )
    return code


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
