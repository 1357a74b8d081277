"""Command `duplicates`: lists copies, near-copies and outliers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clip_core.batch import duplicates
from clip_core.batch.inputs import find_inputs
from clip_core.batch.tables import open_table, write_errors

from .batch_run import check_tables, make_parser, open_run, stack_features
from .options import make_classifier


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    errors = check_tables({"--out": options.out}, options.inputs)
    items = find_inputs(options.inputs)
    classifier = make_classifier(options)
    threshold = options.threshold or duplicates.default_threshold(classifier)
    with open_run(options, classifier, items, appearance=True) as run:
        images = list(run)
    write_errors(run.errors, errors)
    features = stack_features(run, images)
    groups = duplicates.find_near_copies(features, threshold)
    outliers = duplicates.find_outliers(features)
    names, contents = [each.item.name for each in images], [each.content for each in images]
    with open_table(options.out, duplicates.COLUMNS) as write:
        write(duplicates.to_columns(names, contents, groups, outliers))
    code = run.exit_code()
    copies = sum(len(group.rows) - 1 for group in groups)
    print(
        f"{_count(len(groups), 'group')} with {_count(copies, 'copy', 'copies')} too many; "
        f"{_count(len(outliers), 'picture')} unlike the others.",
        file=sys.stderr,
    )
    return code


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser("duplicates", "Groups copies and near-copies, and lists the odd ones out.")
    parser.add_argument(
        "--threshold",
        type=float,
        help="the cosine similarity from which two pictures count as one (default "
        f"{duplicates.NEAR_BY_APPEARANCE} for the bundled model, as measured, {duplicates.NEAR} "
        "for others)",
    )
    parser.add_argument("--out", type=Path, help="a .csv, .jsonl or .parquet for both lists")
    options = parser.parse_args(arguments)
    if options.threshold is not None:
        duplicates.check_threshold(options.threshold)
    return options


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
