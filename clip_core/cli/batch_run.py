"""A command's run: what it is asked to read, and the pictures on their way through a model."""

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

from clip_core.batch.inputs import InputItem, in_shard
from clip_core.batch.outputs import check_outputs, errors_beside
from clip_core.batch.pipeline import Embedding, default_workers, encode
from clip_core.batch.store_folder import open_store
from clip_core.batch.tables import check_format
from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import TextTooLongError
from clip_core.inference.feature_store import FeatureStore
from clip_core.weights.resolve import weights_folder

from .options import INTERRUPTED, add_framing_option, add_model_options

LONGEST_SHOWN = 60  # letters of a text that is too long


@dataclass
class BatchRun:
    """Pictures on their way, and what became of them."""

    classifier: ZeroShotClassifier
    sources: list[InputItem]
    framing: str
    store: FeatureStore
    encoded: Iterable[Embedding] = ()
    problems: list[Embedding] = field(default_factory=list)
    computed: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __iter__(self) -> Iterator[Embedding]:
        """The pictures that can be read, as they come; the others are noted."""
        with tqdm(self.encoded, total=len(self.sources), unit=" pictures", smoothing=0.05) as bar:
            for each in bar:
                if each.features is None:
                    self.problems.append(each)
                    continue
                self.computed += not each.was_cached
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
    sources: list[InputItem],
    appearance: bool = False,
) -> Iterator[BatchRun]:
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
        run = BatchRun(classifier, sources, framing, store)
        if options.ray:
            from clip_core.batch.ray_pipeline import encode_with_ray  # noqa: PLC0415  (optional, slow to import)

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


def _shard(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise argparse.ArgumentTypeError(f"{text!r} must be as 3/8, from 1/8 to 8/8")
    return int(first), int(second)


def stack_features(run: BatchRun, pictures: Sequence[Embedding]) -> Tensor:
    """The features [N, D] of pictures that a run gave; there are none where there are no sources.

    Raises ValueError where there are sources and none can be read.
    """
    if run.sources and not pictures:
        raise ValueError("None of the pictures can be read.")
    return run.store.gather([each.content for each in pictures if each.content is not None])


def label_features(
    classifier: ZeroShotClassifier, labels: Sequence[str], prompts: Sequence[Sequence[str]]
) -> Tensor:
    """As `ZeroShotClassifier.label_features`, for labels or phrases that a person gave.

    Raises ValueError, with one sentence that names the label, for one that is too long.
    """
    try:
        return classifier.label_features(prompts)
    except TextTooLongError as error:
        long = next(
            label for label, texts in zip(labels, prompts, strict=True) if error.text in texts
        )
        shown = long if len(long) <= LONGEST_SHOWN else f"{long[:LONGEST_SHOWN]}..."
        raise ValueError(
            f"{shown!r} is longer than the model can read together with its template: shorten it."
        ) from error


def check_tables(
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
