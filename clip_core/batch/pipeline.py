"""Sources -> features, in order: known ones from the store, the others by way of the model.

Workers read and decode (`reading.py`) while the forward pass runs here, a batch at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.inference.feature_store import FeatureStore
from clip_core.inference.threads import available_cores

from .inputs import InputItem
from .loader import Decoded, DecodeTask, Loader, prefixes, read_members, stat_key

# Pictures in one forward pass. The bundled tower is slower by the picture in larger ones on a CPU,
# whose caches they overflow; a GPU wants many.
BATCH = {"cpu": 8}
BATCH_ON_GPU = 128
MOST_WORKERS = 16
# How long known pictures wait for a batch that fills slowly, in rows and in seconds
MOST_ROWS_WAITING = 1024
LONGEST_WAIT = 1.0


@dataclass(slots=True)
class Embedding:
    """One source with its features, normalised float32 [D], or with what is wrong with it.

    content: SHA-256 of its file, None where it could not be read. was_kept: whether the features
    were known before.
    """

    source: InputItem
    content: bytes | None
    features: Tensor | None
    problem: str | None
    was_kept: bool


@dataclass
class PendingBatch:
    """What is on its way through the model."""

    rows: list[tuple[InputItem, Decoded]] = field(default_factory=list)
    # Of contents that no feature is kept of: their squares, by content, so that each is run once
    squares: dict[bytes, np.ndarray] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def is_due(self, batch_size: int) -> bool:
        """Whether it is to be encoded now."""
        return (
            len(self.squares) >= batch_size
            or not self.squares
            or len(self.rows) >= MOST_ROWS_WAITING
            or time.monotonic() - self.since >= LONGEST_WAIT
        )


def default_workers() -> int:
    """Processes that read: one for each core that this process may use, 16 at most."""
    return min(available_cores(), MOST_WORKERS)


def encode(
    classifier: ZeroShotClassifier,
    sources: Sequence[InputItem],
    store: FeatureStore,
    framing: str,
    workers: int | None = None,
    batch_size: int | None = None,
    appearance: bool = False,
) -> Iterator[Embedding]:
    """Features of sources, one `Embedding` for each, in their order.

    store: for the same model and framing; what is new is put there, and is on disk within a second
    or with the store's `close`. workers: processes that read; None for `default_workers`, 0 for
    none. batch_size: pictures in one forward pass, None for what suits the device. appearance: the
    features that compare pictures with pictures, where the model has others for that.
    """
    workers = default_workers() if workers is None else workers
    batch_size = batch_size or BATCH.get(classifier.device.type, BATCH_ON_GPU)
    jobs = _jobs(sources, store, classifier.input_resolution, framing)
    pending = PendingBatch()
    with Loader(workers, prefixes(store.contents())) as reader:
        reads = reader.read(jobs, ahead=max(2 * workers, 2 * batch_size))
        for source, read in zip(sources, reads, strict=True):
            if not pending.rows:  # not while the workers started
                pending.since = time.monotonic()
            if read.squares is not None and _digest(read) not in store:
                pending.squares.setdefault(_digest(read), read.squares)
            # Without the squares, which are held once however often they come
            pending.rows.append((source, replace(read, squares=None)))
            if pending.is_due(batch_size):
                yield from _settle(classifier, store, pending, appearance)
                pending = PendingBatch()
        yield from _settle(classifier, store, pending, appearance)
    store.flush()


def run_squares(
    classifier: ZeroShotClassifier, batch: Sequence[np.ndarray], appearance: bool = False
) -> Tensor:
    """Features [N, D] of N pictures, each by its squares, in one forward pass.

    batch: uint8 [squares, input_resolution, input_resolution, 3] each. The features of several
    squares are averaged, as `ZeroShotClassifier` does it.
    """
    each = classifier.encode_squares(np.concatenate(batch), appearance)
    means = [rows.mean(dim=0) for rows in each.split([len(squares) for squares in batch])]
    alone = [len(squares) == 1 for squares in batch]
    stacked = torch.stack(means)
    return stacked if all(alone) else F.normalize(stacked, dim=-1)


def _settle(
    classifier: ZeroShotClassifier, store: FeatureStore, pending: PendingBatch, appearance: bool
) -> Iterator[Embedding]:
    if pending.squares:
        features = run_squares(classifier, list(pending.squares.values()), appearance).cpu()
        for content, row in zip(pending.squares, features, strict=True):
            store.put(content, row)
    fresh = set(pending.squares)
    settled = []
    for source, read in pending.rows:
        if read.problem is not None:
            settled.append(Embedding(source, read.content, None, read.problem, False))
            continue
        content = _digest(read)
        if read.stamp is not None:
            store.note(read.stamp, content)
        row = store.get(content)
        was_kept = content not in fresh
        fresh.discard(content)  # a second copy in the same batch costs nothing
        settled.append(Embedding(source, content, row, None, was_kept))
    store.flush(at_once=False)
    yield from settled


def _jobs(
    sources: Iterable[InputItem], store: FeatureStore, input_resolution: int, framing: str
) -> Iterator[DecodeTask | Decoded]:
    """What has to be read of each source; a `Decoded` of one that needs no reading."""
    for (path, in_archive), group in groupby(
        sources, key=lambda source: (source.path, source.member is not None)
    ):
        members = list(group)
        reads = (read_of(source, store) for source in members)
        if not in_archive:
            for read in reads:
                yield read or DecodeTask(path, None, None, input_resolution, framing)
            continue
        known = list(reads)
        missing = [
            source.member for source, read in zip(members, known, strict=True) if read is None
        ]
        contents = read_members(path, [name for name in missing if name is not None])
        for source, read in zip(members, known, strict=True):
            if read is not None:
                yield read
                continue
            data, stamp, problem = next(contents)
            yield (
                Decoded(problem=problem)
                if data is None
                else DecodeTask(source.path, data, stamp, input_resolution, framing)
            )


def read_of(source: InputItem, store: FeatureStore) -> Decoded | None:
    """What is known of a source without reading it."""
    if source.problem is not None:
        return Decoded(problem=source.problem)
    try:
        stamp = stat_key(source.path, os.stat(source.path), source.member)
    except (OSError, ValueError):
        return None  # reading it will say why
    content = store.content_of(stamp)
    return None if content is None else Decoded(content, stamp)


def _digest(read: Decoded) -> bytes:
    assert read.content is not None
    return read.content
