"""The command `find`: images ranked by a phrase or by another image."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from clip_core.batch.approximate import ApproximateIndex
from clip_core.batch.inputs import find_inputs
from clip_core.batch.outputs import open_table, write_errors
from clip_core.batch.pipeline import Embedding
from clip_core.batch.search import ExactIndex, Index, make_query
from prompts import fill_all

from .batch_run import BatchRun, check_tables, label_features, make_parser, open_run, stack_features
from .options import make_classifier, templates_for


def run(arguments: list[str]) -> int:
    """The pictures that fit a phrase best, or are most like another."""
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
    parser.add_argument(
        "--index",
        type=Path,
        help="a file for an approximate index (needs faiss), made when it is not there or is of "
        "other pictures: for millions of pictures, asked often",
    )
    parser.add_argument("--out", type=Path, help="a .csv, .jsonl or .parquet for the ranking")
    parser.epilog = (
        "With neither --phrase nor --like, phrases are read from the input, a line each."
    )
    options = parser.parse_args(arguments)
    if options.top < 1:
        raise ValueError("--top must be 1 or more.")
    errors = check_tables(
        {"--out": options.out}, [*options.inputs, *options.like], {"--index": options.index}
    )
    sources = find_inputs(options.inputs)
    classifier = make_classifier(options)
    templates = templates_for(options.template, classifier)
    # Before the pictures are read: what is wrong with a question is said at once
    liked = [classifier.image_features(path, options.framing) for path in options.like]
    for given in filter(None, (options.phrase, options.minus)):
        label_features(classifier, given, fill_all(templates, given))
    with open_run(options, classifier, sources) as run:
        pictures = _each_once(run)
    write_errors(run.problems, errors)
    features = stack_features(run, pictures)
    index: Index = ExactIndex(features)
    if options.index:
        contents = [each.content or b"" for each in pictures]
        kept_in = run.store.folder.name
        index = ApproximateIndex.load_or_build(options.index, features, contents, kept_in)
    code = run.exit_code()
    asked: Iterable[list[str]] = [options.phrase]
    if not options.phrase and not options.like:
        asked = ([line.strip()] for line in sys.stdin if line.strip())
    columns = {
        "query": pa.string(),
        "rank": pa.int32(),
        "picture": pa.string(),
        "score": pa.float32(),
    }
    minus = fill_all(templates, options.minus)
    with open_table(options.out, columns) as write:
        for phrases in asked:
            prompts = fill_all(templates, phrases)
            if phrases:
                try:
                    label_features(classifier, phrases, prompts)
                except ValueError as error:  # one of many lines, the others are answered
                    print(error, file=sys.stderr)
                    continue
            query = make_query(classifier, prompts, liked, minus)
            scores, rows = index.search(query, options.top)
            said = ", ".join([*phrases, *(f"like {each}" for each in options.like)])
            names = [pictures[row].item.name for row in rows]
            write(
                {
                    "query": [said] * len(rows),
                    "rank": list(range(1, len(rows) + 1)),
                    "picture": names,
                    "score": scores.tolist(),
                }
            )
    return code


def _each_once(run: BatchRun) -> list[Embedding]:
    """The pictures without their copies."""
    return list({each.content: each for each in reversed(list(run))}.values())[::-1]
