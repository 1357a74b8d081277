"""Command `sort`: finds the label that fits each image best."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from clip_core.batch.classify import COLUMNS, score_columns, to_columns
from clip_core.batch.classify import sort as rank_all
from clip_core.batch.inputs import InputItem, find_inputs
from clip_core.batch.organize import RECORD, UNSURE, WAYS, check_placeable, execute, plan
from clip_core.batch.tables import check_outputs, open_table, write_errors
from clip_core.errors import InputError
from prompts import fill_all

from .batch_run import check_tables, label_features, make_parser, open_run
from .options import make_classifier, read_labels, templates_for

STEPS_SHOWN = 20  # of a dry run


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    labels = read_labels(options.labels)
    outputs = {"--out": options.out, "--errors": options.errors}
    errors = check_tables(outputs, [*options.inputs, *options.labels])
    items = find_inputs(options.inputs)
    if options.into:
        check_placeable(items, labels)
        if options.yes:
            check_outputs(outputs | {"The record of --into": options.into / RECORD})
    classifier = make_classifier(options)
    prompts = fill_all(templates_for(options.template, classifier), labels)
    label_features(classifier, labels, prompts)
    counts: Counter[str] = Counter()
    placed: list[tuple[InputItem, str]] = []
    columns = COLUMNS | (score_columns(labels) if options.all_scores else {})
    with open_run(options, classifier, items) as run, open_table(options.out, columns) as write:
        for rows, ranking in rank_all(classifier, run, labels, prompts):
            table = to_columns(rows, ranking, options.all_scores)
            write(table)
            counts.update(table["label"])
            if options.into:
                shares = zip(rows, table["label"], table["probability"], strict=True)
                placed += [
                    (row.item, label if share >= options.least else UNSURE)
                    for row, label, share in shares
                ]
    write_errors(run.errors, errors)
    code = run.exit_code()
    for label, count in counts.most_common():
        print(f"{count:>8,}  {label}", file=sys.stderr)
    return _place(placed, options) or code if options.into else code


def _place(placed: list[tuple[InputItem, str]], options: argparse.Namespace) -> int:
    """Shows the plan of --into, or carries it out; returns the exit code."""
    steps = plan(placed, options.into, options.by)
    skipped = len(placed) - len(steps)
    if skipped:
        print(f"{skipped:,} pictures lie in {str(options.into)!r} already.", file=sys.stderr)
    if not options.yes:
        for step in steps[:STEPS_SHOWN]:
            print(f"{options.by} {step.source!r} -> {step.target!r}", file=sys.stderr)
        more = len(steps) - STEPS_SHOWN
        print(
            (f"... and {more:,} more. " if more > 0 else "")
            + "Nothing was done: add --yes to do it.",
            file=sys.stderr,
        )
        return 0
    failed = execute(steps, options.by, options.into)
    for step, reason in failed:
        print(f"{step.source!r} stays where it is: {reason}.", file=sys.stderr)
    print(
        f"{len(steps) - len(failed):,} pictures placed; {options.into / RECORD} says which where.",
        file=sys.stderr,
    )
    return 1 if failed else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser("sort", "Says of each picture which label fits it best.")
    parser.add_argument(
        "--labels",
        nargs="+",
        required=True,
        help="a text file with a label a line, the name of a set of labels, or labels",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="where the table goes: .csv, .jsonl or .parquet (default: JSON Lines, printed)",
    )
    parser.add_argument(
        "--errors",
        type=Path,
        help="where the table of pictures that can't be read goes (default: beside --out)",
    )
    parser.add_argument("--all-scores", action="store_true", help="a column for each label, too")
    place = parser.add_argument_group(
        "a folder for each label", "The plan is shown, and carried out only with --yes."
    )
    place.add_argument("--into", type=Path, help="the folder that gets a folder for each label")
    place.add_argument("--by", choices=WAYS, default="copy", help="how (default: copy)")
    place.add_argument(
        "--least",
        type=float,
        default=0.0,
        help=f"pictures whose best label has less go to {UNSURE!r}, from 0 to 1 (default: 0)",
    )
    place.add_argument("--yes", action="store_true", help="carry the plan out")
    options = parser.parse_args(arguments)
    if not 0 <= options.least <= 1:
        raise InputError("--least must be from 0 to 1.")
    return options
