"""Command `find`: ranks images by a phrase or by another image."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from clip_core.batch.inputs import find_inputs
from clip_core.batch.search import make_query, nearest
from clip_core.batch.tables import open_table, write_errors
from clip_core.errors import InputError
from prompts import fill_all

from .batch_run import check_tables, label_features, make_parser, open_run, stack_features
from .options import make_classifier, templates_for

COLUMNS = {
    "query": pa.string(),
    "rank": pa.int32(),
    "picture": pa.string(),
    "score": pa.float32(),
}


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    errors = check_tables({"--out": options.out}, [*options.inputs, *options.like])
    items = find_inputs(options.inputs)
    classifier = make_classifier(options)
    templates = templates_for(options.template, classifier)
    # Before any image is encoded, so that a bad query is reported at once
    liked = [classifier.image_features(path, options.framing) for path in options.like]
    for given in filter(None, (options.phrase, options.minus)):
        label_features(classifier, given, fill_all(templates, given))
    with open_run(options, classifier, items) as run:
        first_of = {each.content: each for each in reversed(list(run))}
    write_errors(run.errors, errors)
    images = list(first_of.values())[::-1]  # without copies
    features = stack_features(run, images)
    code = run.exit_code()
    minus = fill_all(templates, options.minus)
    with open_table(options.out, COLUMNS) as write:
        for phrases in _queries(options):
            prompts = fill_all(templates, phrases)
            try:
                if phrases:
                    label_features(classifier, phrases, prompts)
            except InputError as error:  # in one of many lines: the others are answered
                print(error, file=sys.stderr)
                continue
            query = make_query(classifier, prompts, liked, minus)
            scores, rows = nearest(features, query, options.top)
            name = ", ".join([*phrases, *(f"like {each}" for each in options.like)])
            write(
                {
                    "query": [name] * len(rows),
                    "rank": list(range(1, len(rows) + 1)),
                    "picture": [images[row].item.name for row in rows],
                    "score": scores.tolist(),
                }
            )
    return code


def _queries(options: argparse.Namespace) -> Iterable[list[str]]:
    """The phrases of each query: those of the options, or a line of the input each."""
    if options.phrase or options.like:
        return [options.phrase]
    return ([line.strip()] for line in sys.stdin if line.strip())


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser("find", "Ranks pictures by a phrase, or by how like they are to another.")
    parser.add_argument(
        "--phrase", action="append", default=[], help="what to look for (several: their mean)"
    )
    parser.add_argument(
        "--minus", action="append", default=[], help="what to be far from (several: their mean)"
    )
    parser.add_argument(
        "--like", action="append", default=[], metavar="PICTURE", help="more like this one"
    )
    parser.add_argument("--top", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--out", type=Path, help="a .csv, .jsonl or .parquet for the ranking")
    parser.epilog = (
        "With neither --phrase nor --like, phrases are read from the input, a line each."
    )
    options = parser.parse_args(arguments)
    if options.top < 1:
        raise InputError("--top must be 1 or more.")
    return options
