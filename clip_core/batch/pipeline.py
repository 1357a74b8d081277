"""Pipeline from images to features: known ones come from a store, the others from the model.

The loader reads and decodes ahead (`loader.py`) while the model runs here, a batch at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.inference.feature_store import FeatureStore
from clip_core.inference.threads import available_cores

from .inputs import InputItem
from .loader import NONE_KNOWN, Decoded, DecodeTask, Loader, prefixes, read_members, stat_key

# Images in one forward pass. On a CPU the bundled tower is slower per image in larger batches,
# which overflow its caches; a GPU wants many.
BATCH = {"cpu": 8}
BATCH_ON_GPU = 128
MOST_WORKERS = 16
# How long known images wait for a batch that fills slowly, in rows and in seconds
MOST_ROWS_WAITING = 1024
LONGEST_WAIT = 1.0


@dataclass(slots=True)
class Embedding:
    """One image with its features, normalised float32 [D], or with the error that prevented them.

    content: SHA-256 of its file, None where it could not be read. was_cached: whether the features
    were known before.
    """

    item: InputItem
    content: bytes | None
    features: Tensor | None
    error: str | None
    was_cached: bool


class MemoryStore(dict[bytes, Tensor]):
    """Features by content, in memory: a `FeatureStore` that writes nothing."""

    def contents(self) -> Iterable[bytes]:
        return self.keys()

    def content_of(self, stat_key: bytes) -> None:
        """None: files are read each time."""

    def put(self, content: bytes, features: Tensor) -> None:
        self.setdefault(content, features)

    def note(self, stat_key: bytes, content: bytes) -> None:
        """Does nothing."""

    def flush(self, at_once: bool = True) -> None:
        """Does nothing."""


Store = FeatureStore | MemoryStore


@dataclass
class PendingBatch:
    """Images that wait for the next forward pass.

    crops: of those that have no features yet, by content, so that copies are encoded once.
    """

    rows: list[Decoded] = field(default_factory=list)
    crops: dict[bytes, np.ndarray] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    def is_due(self, batch_size: int) -> bool:
        """Whether to encode it now."""
        return (
            len(self.crops) >= batch_size
            or not self.crops
            or len(self.rows) >= MOST_ROWS_WAITING
            or time.monotonic() - self.since >= LONGEST_WAIT
        )


def default_workers() -> int:
    """Number of worker processes: one for each core that this process may use, 16 at most."""
    return min(available_cores(), MOST_WORKERS)


def encode(
    classifier: ZeroShotClassifier,
    items: Iterable[InputItem],
    store: Store,
    framing: str,
    workers: int | None = None,
    batch_size: int | None = None,
    appearance: bool = False,
) -> Iterator[Embedding]:
    """Features of images by a classifier; see `encode_with`.

    store: of the same model and framing. workers: None for `default_workers`. batch_size: None for
    the device's default. appearance: the features that compare images with images, where the
    model has separate ones for that.
    """
    return encode_with(
        lambda batch: encode_crops(classifier, batch, appearance),
        items,
        store,
        classifier.input_resolution,
        framing,
        batch_size or BATCH.get(classifier.device.type, BATCH_ON_GPU),
        default_workers() if workers is None else workers,
    )


def encode_with(
    run: Callable[[list[np.ndarray]], Tensor],
    items: Iterable[InputItem],
    store: Store,
    input_resolution: int,
    framing: str,
    batch_size: int,
    workers: int = 0,
    threads: int = 0,
    on_image: Callable[[InputItem, Image.Image], None] | None = None,
) -> Iterator[Embedding]:
    """Features of images, one `Embedding` for each, in order; errors are theirs, and stop nothing.

    run: features [N, D] of N images from their crops, as `encode_crops`. store: new features are
    put there, before they are yielded. batch_size: images in one forward pass. workers, threads:
    decode in so many processes, or in threads of this one; with 0 of both, here. on_image: called
    with each opened image, in the thread that opened it; then no image is skipped as known.

    To stop early, stop iterating: closing the generator cancels what was read ahead.
    """
    pending = PendingBatch()
    known = NONE_KNOWN if on_image else prefixes(store.contents())
    with Loader(workers, known, threads, on_image) as loader:
        tasks = _tasks(items, store, input_resolution, framing)
        for decoded in loader.load(tasks, ahead=2 * max(workers, batch_size)):
            if not pending.rows:  # the time before, while workers started, doesn't count
                pending.since = time.monotonic()
            if decoded.crops is not None and _content(decoded) not in store:
                pending.crops.setdefault(_content(decoded), decoded.crops)
            # Without the crops, which `pending.crops` holds once for all copies
            pending.rows.append(replace(decoded, crops=None))
            if pending.is_due(batch_size):
                yield from _flush(run, store, pending)
                pending = PendingBatch()
        yield from _flush(run, store, pending)
    store.flush()


def encode_crops(
    classifier: ZeroShotClassifier, batch: Sequence[np.ndarray], appearance: bool = False
) -> Tensor:
    """Features [N, D] of N images in one forward pass, normalised float32.

    batch: each image's crops, uint8 [crops, input_resolution, input_resolution, 3]. The features of
    several crops are averaged, as `ZeroShotClassifier` does.
    """
    features = classifier.encode_squares(np.concatenate(batch), appearance)
    means = [rows.mean(dim=0) for rows in features.split([len(crops) for crops in batch])]
    stacked = torch.stack(means)
    has_one_each = all(len(crops) == 1 for crops in batch)
    return stacked if has_one_each else F.normalize(stacked, dim=-1)


def _flush(
    run: Callable[[list[np.ndarray]], Tensor], store: Store, pending: PendingBatch
) -> Iterator[Embedding]:
    """Encodes a batch, and yields its rows."""
    if pending.crops:
        features = run(list(pending.crops.values())).cpu()
        for content, row in zip(pending.crops, features, strict=True):
            store.put(content, row)
    fresh = set(pending.crops)
    embeddings = []
    for decoded in pending.rows:
        if decoded.error is not None:
            embeddings.append(Embedding(decoded.item, decoded.content, None, decoded.error, False))
            continue
        content = _content(decoded)
        if decoded.stat_key is not None:
            store.note(decoded.stat_key, content)
        was_cached = content not in fresh
        fresh.discard(content)  # another copy in the same batch costs nothing
        embeddings.append(Embedding(decoded.item, content, store.get(content), None, was_cached))
    store.flush(at_once=False)
    yield from embeddings


def _tasks(
    items: Iterable[InputItem], store: Store, input_resolution: int, framing: str
) -> Iterator[DecodeTask | Decoded]:
    """A task for each image, or its result where it needs no reading."""
    for (path, in_archive), group in groupby(
        items, key=lambda item: (item.path, item.member is not None)
    ):
        if not in_archive:
            for item in group:
                yield look_up(item, store) or DecodeTask(item, input_resolution, framing)
            continue
        members = [(item, look_up(item, store)) for item in group]
        missing = [item.member for item, known in members if known is None and item.member]
        contents = read_members(path, missing)
        for item, known in members:
            if known is not None:
                yield known
                continue
            data, key, error = next(contents)
            yield (
                Decoded(item, error=error)
                if data is None
                else DecodeTask(item, input_resolution, framing, data, key)
            )


def look_up(item: InputItem, store: Store) -> Decoded | None:
    """The result for an image that needs no reading: it has an error, or its file is known."""
    if item.error is not None:
        return Decoded(item, error=item.error)
    try:
        key = stat_key(item.path, os.stat(item.path), item.member)
    except (OSError, ValueError):
        return None  # the loader will report it
    content = store.content_of(key)
    return None if content is None else Decoded(item, content, key)


def _content(decoded: Decoded) -> bytes:
    assert decoded.content is not None
    return decoded.content
