"""The commands for many pictures: sort, find, duplicates; `evaluate.py` has the fourth.

Each returns its exit code: 0 when all is done, 1 when it is done but for pictures that could not be
read, 2 after one line on bad input (raised as ValueError).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from clip_core.options import make_classifier, read_labels, templates_for
from prompts import fill_all

from .approximate import ApproximateIndex
from .encode import Encoded
from .find import ExactIndex, Index, make_query
from .outputs import check_outputs, errors_beside, open_table, write_errors
from .place import RECORD, UNSURE, WAYS, carry_out, check_placeable, plan
from .run import Run, label_features, make_parser, open_run, stack_features
from .sort import COLUMNS, score_columns, to_columns
from .sort import sort as rank_all
from .sources import Source, find_sources
from .tables import check_format

STEPS_SHOWN = 20  # of a dry run


def sort(arguments: list[str]) -> int:
    """Which label fits each picture best."""
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
        "a folder for each label", "What would be done is shown, and done only with --yes."
    )
    place.add_argument("--into", type=Path, help="the folder that gets a folder for each label")
    place.add_argument("--by", choices=list(WAYS), default="copy", help="how (default: copy)")
    place.add_argument(
        "--least",
        type=float,
        default=0.0,
        help=f"pictures whose best label has less go to {UNSURE!r}, from 0 to 1 (default: 0)",
    )
    place.add_argument("--yes", action="store_true", help="do it")
    options = parser.parse_args(arguments)
    labels = read_labels(options.labels)
    if not 0 <= options.least <= 1:
        raise ValueError("--least must be from 0 to 1.")
    outputs = {"--out": options.out, "--errors": options.errors}
    errors = _check_tables(outputs, [*options.inputs, *options.labels])
    sources = find_sources(options.inputs)
    if options.into:
        check_placeable(sources, labels)
        if options.yes:
            check_outputs(outputs | {"The record of --into": options.into / RECORD})
    classifier = make_classifier(options)
    prompts = fill_all(templates_for(options.template, classifier), labels)
    label_features(classifier, labels, prompts)
    counts: Counter[str] = Counter()
    placed: list[tuple[Source, str]] = []
    columns = COLUMNS | (score_columns(labels) if options.all_scores else {})
    with (
        open_run(options, classifier, sources) as run,
        open_table(options.out, columns) as write,
    ):
        for rows, ranking in rank_all(classifier, run, labels, prompts):
            found = to_columns(rows, ranking, options.all_scores)
            write(found)
            counts.update(found["label"])
            if options.into:
                for row, label, share in zip(
                    rows, found["label"], found["probability"], strict=True
                ):
                    placed.append((row.source, label if share >= options.least else UNSURE))
    write_errors(run.problems, errors)
    code = run.exit_code()
    for label, count in counts.most_common():
        print(f"{count:>8,}  {label}", file=sys.stderr)
    return _place(placed, options) or code if options.into else code


def find(arguments: list[str]) -> int:
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
    errors = _check_tables(
        {"--out": options.out}, [*options.inputs, *options.like], {"--index": options.index}
    )
    sources = find_sources(options.inputs)
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
            names = [pictures[row].source.name for row in rows]
            write(
                {
                    "query": [said] * len(rows),
                    "rank": list(range(1, len(rows) + 1)),
                    "picture": names,
                    "score": scores.tolist(),
                }
            )
    return code


def duplicates(arguments: list[str]) -> int:
    """Copies, near-copies and pictures unlike the others."""
    # Here alone: it takes half a second to import scipy, which a second run would feel
    from . import duplicates as copies_of  # noqa: PLC0415

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
    errors = _check_tables({"--out": options.out}, options.inputs)
    sources = find_sources(options.inputs)
    classifier = make_classifier(options)
    threshold = copies_of.default_threshold(classifier)
    with open_run(options, classifier, sources, appearance=True) as run:
        pictures = list(run)
    write_errors(run.problems, errors)
    features = stack_features(run, pictures)
    groups = copies_of.find_near_copies(features, options.threshold or threshold)
    odd = copies_of.find_odd_ones(features)
    names, contents = [p.source.name for p in pictures], [p.content for p in pictures]
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


def _check_tables(
    tables: dict[str, Path | None],
    read: Sequence[str],
    others: dict[str, Path | None] | None = None,
) -> Path | None:
    """Checks what a command would write; returns where pictures that can't be read are listed."""
    for path in filter(None, tables.values()):
        check_format(path)
    errors = tables.get("--errors") or errors_beside(tables["--out"])
    check_outputs(tables | {"--errors": errors} | (others or {}), read)
    return errors


def _each_once(run: Run) -> list[Encoded]:
    """The pictures without their copies."""
    return list({each.content: each for each in reversed(list(run))}.values())[::-1]


def _place(placed: list[tuple[Source, str]], options: argparse.Namespace) -> int:
    """Shows what goes where, or does it."""
    steps = plan(placed, options.into, options.by)
    left = len(placed) - len(steps)
    if left:
        print(f"{left:,} pictures lie in {str(options.into)!r} already.", file=sys.stderr)
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
    failed = carry_out(steps, options.by, options.into)
    for step, reason in failed:
        print(f"{step.source!r} stays where it is: {reason}.", file=sys.stderr)
    print(
        f"{len(steps) - len(failed):,} pictures placed; {options.into / RECORD} says which where.",
        file=sys.stderr,
    )
    return 1 if failed else 0


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
