"""Shared parts of the commands for many images: their options, and a run with its summary."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from clip_core.batch.feature_store import FeatureStore, open_store
from clip_core.batch.inputs import InputItem, in_shard
from clip_core.batch.pipeline import Embedding, default_workers, encode
from clip_core.batch.tables import check_format, check_outputs, errors_beside
from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import InputError, TextTooLongError
from clip_core.weights.resolve import weights_folder

from .options import INTERRUPTED, add_framing_option, add_model_options

LONGEST_SHOWN = 60  # characters of a text that is too long


@dataclass
class BatchRun:
    """A run over images, and its counts. Iterating it encodes the images.

    errors: the images that could not be read. computed: how many were encoded in this run.
    """

    items: list[InputItem]
    store: FeatureStore
    encoded: Iterable[Embedding]
    errors: list[Embedding] = field(default_factory=list)
    computed: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __iter__(self) -> Iterator[Embedding]:
        """The images that can be read, in order, with a progress bar."""
        with tqdm(self.encoded, total=len(self.items), unit=" pictures", smoothing=0.05) as bar:
            for each in bar:
                if each.features is None:
                    self.errors.append(each)
                    continue
                self.computed += not each.was_cached
                yield each

    def exit_code(self) -> int:
        """Prints the summary, and returns the command's exit code."""
        seconds = time.perf_counter() - self.started
        count = len(self.items)
        print(
            f"{count:,} pictures in {seconds:,.1f} s ({count / seconds:,.1f} a second): "
            f"{self.computed:,} encoded, "
            f"{count - self.computed - len(self.errors):,} known before or copies, "
            f"{len(self.errors):,} that could not be read.",
            file=sys.stderr,
        )
        return 1 if self.errors else 0


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m clip_core {name}",
        description=description,
        epilog="Exit codes: 0 done; 1 done, but some pictures could not be read; 2 bad input; "
        f"{INTERRUPTED} interrupted; 141 nobody reads what is printed.",
    )
    add_input_options(parser)
    return parser


def add_input_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Adds what to read and how: the images, --framing, --workers, --features and so on.

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
    items: list[InputItem],
    appearance: bool = False,
) -> Iterator[BatchRun]:
    """A run over images; an interruption loses none of its features. appearance: see `encode`."""
    if options.shard:
        items = [item for item in items if in_shard(item, *options.shard)]
    if (options.workers or 0) < 0 or (options.batch_size or 1) < 1 or (options.ray or 1) < 1:
        raise InputError("--workers can't be below 0, --batch-size and --ray not below 1.")
    framing = options.framing or classifier.default_framing
    base = options.features or weights_folder() / "features"
    with open_store(base, classifier, framing, appearance) as store:
        end = (options.batch_size, appearance)
        if options.ray:
            from clip_core.batch.ray_pipeline import encode_with_ray  # noqa: PLC0415  (optional)

            encoded = encode_with_ray(
                classifier, options.model, items, store, framing, options.ray, *end
            )
        else:
            encoded = encode(classifier, items, store, framing, options.workers, *end)
        yield BatchRun(items, store, encoded)


def _shard(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise argparse.ArgumentTypeError(f"{text!r} must be as 3/8, from 1/8 to 8/8")
    return int(first), int(second)


def stack_features(run: BatchRun, images: Sequence[Embedding]) -> Tensor:
    """The features [N, D] of images of a run; [0, D] where the run had no items.

    Raises InputError where it had items and none can be read.
    """
    if run.items and not images:
        raise InputError("None of the pictures can be read.")
    return run.store.gather([each.content for each in images if each.content is not None])


def label_features(
    classifier: ZeroShotClassifier, labels: Sequence[str], prompts: Sequence[Sequence[str]]
) -> Tensor:
    """As `ZeroShotClassifier.label_features`. Raises InputError that names a label too long."""
    try:
        return classifier.label_features(prompts)
    except TextTooLongError as error:
        long = next(
            label for label, texts in zip(labels, prompts, strict=True) if error.text in texts
        )
        shown = long if len(long) <= LONGEST_SHOWN else f"{long[:LONGEST_SHOWN]}..."
        raise InputError(
            f"{shown!r} is longer than the model can read together with its template: shorten it."
        ) from error


def check_tables(tables: dict[str, Path | None], read: Sequence[str]) -> Path | None:
    """Checks a command's output tables; returns the path of the table of errors.

    tables: by option; --errors may be missing, and lies beside --out then. read: the inputs.
    """
    for path in filter(None, tables.values()):
        check_format(path)
    errors = tables.get("--errors") or errors_beside(tables["--out"])
    check_outputs(tables | {"--errors": errors}, read)
    return errors
