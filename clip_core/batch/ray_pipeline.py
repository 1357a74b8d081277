"""The pipeline over a cluster, by Ray Data (optional): the same results as `pipeline.encode`.

Ray spreads reading and encoding over its machines, which must all see the images under the same
paths. What comes back is put into the store here, in order.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import InputError
from clip_core.inference.feature_store import FeatureStore

from .inputs import InputItem
from .loader import Decoded, DecodeTask, prefixes, read_members, run_task
from .pipeline import BATCH, BATCH_ON_GPU, Embedding, encode_crops, look_up

MEMBERS_PER_TASK = 512  # of a zip; a tar is one task, since it is read from front to back
INSTALL = "A run over a cluster needs Ray: pip install 'ray[data]'."


class Encoder:
    """One of Ray's workers: holds the model, and encodes batches of crops."""

    def __init__(self, model: str, device: str | None, dtype: str | None, appearance: bool) -> None:
        self.classifier = ZeroShotClassifier(model, device, dtype)
        self.appearance = appearance

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Rows with crops -> the same rows with features instead, on the first of each content."""
        first: dict[bytes, int] = {}
        for i, content in enumerate(batch["content"]):
            if batch["crops"][i]:
                first.setdefault(bytes(content), i)
        rows = list(first.values())
        features = [b""] * len(batch["crops"])
        if rows:
            crops = [_unpack(batch["crops"][i], batch["shape"][i]) for i in rows]
            encoded = encode_crops(self.classifier, crops, self.appearance).cpu().numpy()
            for i, row in zip(rows, encoded, strict=True):
                features[i] = row.tobytes()
        passed = {name: batch[name] for name in ("content", "stat_key", "error")}
        return passed | {"features": _column(features)}


def encode_with_ray(
    classifier: ZeroShotClassifier,
    model: str,
    items: Sequence[InputItem],
    store: FeatureStore,
    framing: str,
    workers: int,
    batch_size: int | None = None,
    appearance: bool = False,
) -> Iterator[Embedding]:
    """As `encode`, with `workers` processes that each load `model`.

    Files that the store knows are not sent anywhere. Copies are encoded once in a batch; those in
    different batches are encoded, and counted, each time. Raises InputError without Ray.
    """
    try:
        ray: Any = importlib.import_module("ray")  # optional
        importlib.import_module("ray.data")
    except ImportError as error:
        raise InputError(INSTALL) from error
    known = [look_up(item, store) for item in items]
    tasks = list(_tasks(item for item, found in zip(items, known, strict=True) if found is None))
    rows: Iterator[dict[str, Any]] = iter(())
    if tasks:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        read_options = {
            "input_resolution": classifier.input_resolution,
            "framing": framing,
            "known": prefixes(store.contents()),
        }
        device, dtype = classifier.device.type, str(classifier.dtype).removeprefix("torch.")
        encoded = (
            ray.data.from_items(tasks)
            .flat_map(_read, fn_kwargs=read_options)
            .map_batches(
                Encoder,
                fn_constructor_args=(model, device, dtype, appearance),
                batch_size=batch_size or BATCH.get(device, BATCH_ON_GPU),
                batch_format="numpy",
                concurrency=workers,
                # No core is reserved for a model: as many models as cores would leave none to read
                num_cpus=0,
                num_gpus=int(device == "cuda"),
            )
        )
        rows = iter(encoded.iter_rows())
    for item, found in zip(items, known, strict=True):
        if found is not None:
            features = None if found.content is None else store.get(found.content)
            yield Embedding(item, found.content, features, found.error, features is not None)
        else:
            yield _put(item, next(rows), store)
            store.flush(at_once=False)
    store.flush()


def _put(item: InputItem, row: dict[str, Any], store: FeatureStore) -> Embedding:
    content = row["content"]
    if row["error"]:
        return Embedding(item, content or None, None, row["error"], False)
    if row["features"]:
        store.put(content, torch.frombuffer(bytearray(row["features"]), dtype=torch.float32))
    if row["stat_key"]:
        store.note(row["stat_key"], content)
    return Embedding(item, content, store.get(content), None, not row["features"])


def _tasks(items: Iterable[InputItem]) -> Iterator[dict[str, Any]]:
    """What each task reads: a file, or members of an archive, which is opened once for them.

    Paths are absolute, since a worker runs in another folder.
    """
    for (path, in_archive), group in groupby(
        items, key=lambda item: (item.path, item.member is not None)
    ):
        members = [item.member for item in group]
        is_zip = in_archive and path.lower().endswith(".zip")
        size = MEMBERS_PER_TASK if is_zip else len(members)
        for start in range(0, len(members), size):
            wanted = members[start : start + size] if in_archive else []
            yield {"path": os.path.abspath(path), "members": wanted}


def _read(
    row: dict[str, Any], input_resolution: int, framing: str, known: np.ndarray
) -> Iterator[dict[str, Any]]:
    """The decoded images of one task, on any machine of the cluster. known: as for `Loader`."""
    path, members = row["path"], list(row["members"])
    item = InputItem(path, path)
    if not members:
        yield _to_row(run_task(DecodeTask(item, input_resolution, framing), known))
        return
    for data, key, error in read_members(path, members):
        decoded = Decoded(item, error=error)
        if data is not None:
            decoded = run_task(DecodeTask(item, input_resolution, framing, data, key), known)
        yield _to_row(decoded)


def _to_row(decoded: Decoded) -> dict[str, Any]:
    """As a row of an Arrow table, in which an absent value is empty: None would become a number."""
    crops = decoded.crops
    return {
        "content": decoded.content or b"",
        "stat_key": decoded.stat_key or b"",
        "error": decoded.error or "",
        "crops": b"" if crops is None else crops.tobytes(),
        "shape": [0] if crops is None else list(crops.shape),
    }


def _unpack(data: bytes, shape: Sequence[int]) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8).reshape(tuple(shape)).copy()


def _column(values: Sequence[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
