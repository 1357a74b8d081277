"""The commands for many pictures: sort, find, duplicates; `evaluate.py` has the fourth.

Each returns its exit code: 0 when all is done, 1 when it is done but for pictures that could not be
read, 2 after one line on bad input (raised as ValueError), 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from clip_core.classifier import ZeroShotClassifier
from clip_core.load import weights_folder
from clip_core.options import (
    add_framing_option,
    add_model_options,
    make_classifier,
    read_labels,
    templates_for,
)
from prompts import fill_all

from .approximate import ApproximateIndex
from .encode import Encoded, default_workers, encode
from .find import ExactIndex, Index, make_query
from .place import RECORD, UNSURE, WAYS, carry_out, plan
from .sort import COLUMNS, ERROR_COLUMNS, score_columns, to_columns
from .sort import sort as rank_all
from .sources import Source, find_sources, in_shard
from .store import FeatureStore, open_store
from .tables import FORMATS, TableWriter, check_format

INTERRUPTED = 130  # as shells report what Ctrl+C ended
STEPS_SHOWN = 20  # of a dry run


@dataclass
class Run:
    """Pictures on their way, and what became of them."""

    classifier: ZeroShotClassifier
    sources: list[Source]
    framing: str
    store: FeatureStore
    encoded: Iterable[Encoded] = ()
    problems: list[Encoded] = field(default_factory=list)
    computed: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __iter__(self) -> Iterator[Encoded]:
        """The pictures that can be read, as they come; the others are noted."""
        with tqdm(self.encoded, total=len(self.sources), unit=" pictures", smoothing=0.05) as bar:
            for each in bar:
                if each.features is None:
                    self.problems.append(each)
                    continue
                self.computed += not each.was_kept
                yield each

    def exit_code(self) -> int:
        """Says how it went, and returns the command's exit code."""
        seconds = time.perf_counter() - self.started
        count = len(self.sources)
        print(
            f"{count:,} pictures in {seconds:,.1f} s ({count / seconds:,.1f} a second): "
            f"{self.computed:,} encoded, "
            f"{count - self.computed - len(self.problems):,} known before or copies, "
            f"{len(self.problems):,} that could not be read.",
            file=sys.stderr,
        )
        return 1 if self.problems else 0


def sort(arguments: list[str]) -> int:
    """Which label fits each picture best."""
    parser = _parser("sort", "Says of each picture which label fits it best.")
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
    for path in filter(None, (options.out, options.errors)):
        check_format(path)
    if not 0 <= options.least <= 1:
        raise ValueError("--least must be from 0 to 1.")
    classifier = make_classifier(options)
    prompts = fill_all(templates_for(options.template, classifier), labels)
    counts: Counter[str] = Counter()
    placed: list[tuple[Source, str]] = []
    columns = COLUMNS | (score_columns(labels) if options.all_scores else {})
    with _run(options, classifier) as run, _table(options.out, columns) as write:
        for rows, ranking in rank_all(classifier, run, labels, prompts):
            found = to_columns(rows, ranking, options.all_scores)
            write(found)
            counts.update(found["label"])
            if options.into:
                for row, label, share in zip(
                    rows, found["label"], found["probability"], strict=True
                ):
                    placed.append((row.source, label if share >= options.least else UNSURE))
    write_errors(run.problems, options.errors, options.out)
    code = run.exit_code()
    for label, count in counts.most_common():
        print(f"{count:>8,}  {label}", file=sys.stderr)
    return _place(placed, options) or code if options.into else code


def find(arguments: list[str]) -> int:
    """The pictures that fit a phrase best, or are most like another."""
    parser = _parser("find", "Ranks pictures by a phrase, or by how like they are to another.")
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
    if options.out:
        check_format(options.out)
    classifier = make_classifier(options)
    templates = templates_for(options.template, classifier)
    with _run(options, classifier) as run:
        pictures = _each_once(run)
        features = _features(pictures)
        contents = [each.content or b"" for each in pictures]
        index: Index = (
            ApproximateIndex.load_or_build(options.index, features, contents)
            if options.index
            else ExactIndex(features)
        )
    code = run.exit_code()
    write_errors(run.problems, None, options.out)
    asked: Iterable[list[str]] = [options.phrase]
    if not options.phrase and not options.like:
        asked = ([line.strip()] for line in sys.stdin if line.strip())
    columns = {
        "query": pa.string(),
        "rank": pa.int32(),
        "picture": pa.string(),
        "score": pa.float32(),
    }
    with _table(options.out, columns) as write:
        for phrases in asked:
            query = make_query(
                classifier,
                fill_all(templates, phrases),
                options.like,
                fill_all(templates, options.minus),
                options.framing,
            )
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

    parser = _parser("duplicates", "Groups copies and near-copies, and lists the odd ones out.")
    parser.add_argument(
        "--threshold",
        type=float,
        help="the cosine similarity from which two pictures count as one (default "
        f"{copies_of.NEAR_BY_APPEARANCE} for the bundled model, as measured, {copies_of.NEAR} for "
        "others)",
    )
    parser.add_argument("--out", type=Path, help="a .csv, .jsonl or .parquet for both lists")
    options = parser.parse_args(arguments)
    if options.out:
        check_format(options.out)
    if options.threshold is not None:
        copies_of.check_threshold(options.threshold)
    classifier = make_classifier(options)
    threshold = copies_of.default_threshold(classifier)
    with _run(options, classifier, appearance=True) as run:
        pictures = list(run)
        features = _features(pictures)
    groups = copies_of.find_near_copies(features, options.threshold or threshold)
    odd = copies_of.find_odd_ones(features)
    names, contents = [p.source.name for p in pictures], [p.content for p in pictures]
    with _table(options.out, copies_of.COLUMNS) as write:
        write(copies_of.to_columns(names, contents, groups, odd))
    write_errors(run.problems, None, options.out)
    code = run.exit_code()
    copies = sum(len(group.rows) - 1 for group in groups)
    print(
        f"{len(groups):,} groups hold {copies:,} copies too many; {len(odd):,} are unlike the "
        "others.",
        file=sys.stderr,
    )
    return code


def add_input_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Adds what to read and how: the pictures, --framing, --workers, --features and so on.

    several: whether --template and --model may be repeated.
    """
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PICTURES",
        help="folders, pictures, globs, archives (.zip, .tar, .tar.gz), or lists (.txt, a path a "
        "line)",
    )
    add_model_options(parser, several)
    add_framing_option(parser)
    parser.add_argument(
        "--features",
        type=Path,
        metavar="FOLDER",
        help="where the pictures' features are kept, so that none is computed twice (default: "
        "features beside downloaded weights)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help=f"processes that read and decode, 0 for none (here: {default_workers()})",
    )
    parser.add_argument("--batch-size", type=int, help="pictures in one forward pass")
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="only part I of N, by the pictures' names: for N machines",
    )
    parser.add_argument(
        "--ray",
        type=int,
        metavar="N",
        help="encode by Ray Data with N workers that each have the model, on this machine or the "
        "cluster that RAY_ADDRESS names (needs ray; all see the same files)",
    )


@contextmanager
def open_run(
    options: argparse.Namespace,
    classifier: ZeroShotClassifier,
    sources: list[Source],
    appearance: bool = False,
) -> Iterator[Run]:
    """Sources on their way through a model. An interruption loses nothing that was computed.

    appearance: see `encode`.
    """
    if options.shard:
        shard, shards = options.shard
        sources = [source for source in sources if in_shard(source, shard, shards)]
    if (options.workers or 0) < 0 or (options.batch_size or 1) < 1 or (options.ray or 1) < 1:
        raise ValueError("--workers can't be below 0, --batch-size and --ray not below 1.")
    framing = options.framing or classifier.default_framing
    base = options.features or weights_folder() / "features"
    with open_store(base, classifier, framing, appearance) as store:
        run = Run(classifier, sources, framing, store)
        if options.ray:
            from .ray_pipeline import encode_with_ray  # noqa: PLC0415  (optional, slow to import)

            run.encoded = encode_with_ray(
                classifier,
                options.model,
                sources,
                store,
                framing,
                options.ray,
                options.batch_size,
                appearance,
            )
        else:
            run.encoded = encode(
                classifier,
                sources,
                store,
                framing,
                options.workers,
                options.batch_size,
                appearance,
            )
        yield run


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl+C, and a request to end, finish what is being written."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What was computed is kept: the same command goes on from there.",
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _run(
    options: argparse.Namespace, classifier: ZeroShotClassifier, appearance: bool = False
) -> Iterator[Run]:
    sources = find_sources(options.inputs)
    with interruptible(), open_run(options, classifier, sources, appearance) as run:
        yield run


@contextmanager
def _table(
    path: Path | None, columns: dict[str, pa.DataType]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What writes rows to a table, or prints them as JSON Lines."""
    if path is not None:
        with TableWriter(path, columns) as table:
            yield table.write
        return

    def show(rows: dict[str, Any]) -> None:
        for values in zip(*rows.values(), strict=True):
            row = dict(zip(rows, values, strict=True))
            print(json.dumps(row, ensure_ascii=False), flush=True)

    yield show


def _each_once(run: Iterable[Encoded]) -> list[Encoded]:
    """The pictures without their copies."""
    return list({each.content: each for each in reversed(list(run))}.values())[::-1]


def _features(pictures: Sequence[Encoded]) -> Tensor:
    if not pictures:
        raise ValueError("None of the pictures can be read.")
    return torch.stack([each.features for each in pictures if each.features is not None])


def write_errors(problems: Sequence[Encoded], path: Path | None, out: Path | None) -> None:
    """Writes down which pictures could not be read, or says it where there is no table.

    path: the table; None for one beside `out`, if there is that.
    """
    if path is None and out is not None:
        suffix = out.suffix if out.suffix in FORMATS else ".csv"
        path = out.with_name(f"{out.stem}-errors{suffix}")
    if path is None:
        for each in problems:
            print(f"{each.source.name}: {each.problem}", file=sys.stderr)
        return
    if not problems:
        path.unlink(missing_ok=True)  # of an earlier run
        return
    with TableWriter(path, ERROR_COLUMNS) as table:
        table.write(
            {
                "picture": [each.source.name for each in problems],
                "problem": [each.problem for each in problems],
            }
        )
    print(f"{path}: the pictures that could not be read, with the reasons.", file=sys.stderr)


def _place(placed: list[tuple[Source, str]], options: argparse.Namespace) -> int:
    """Shows what goes where, or does it."""
    steps = plan(placed, options.into)
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


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m clip_core {name}",
        description=description,
        epilog="Exit codes: 0 done; 1 done, but some pictures could not be read; 2 bad input; "
        f"{INTERRUPTED} interrupted.",
    )
    add_input_options(parser)
    return parser


def _shard(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise argparse.ArgumentTypeError(f"{text!r} must be as 3/8, from 1/8 to 8/8")
    return int(first), int(second)
