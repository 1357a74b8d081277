"""Sources -> features by Ray Data (optional): the same as `encode`, over a cluster.

Reading and encoding are two stages that Ray spreads over its machines; what comes back is put into
the store here, in order. All machines must see the pictures under the same paths.
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
from clip_core.inference.feature_store import FeatureStore

from .inputs import InputItem
from .loader import Decoded, DecodeTask, know, prefixes, read_members, run_task
from .pipeline import BATCH, BATCH_ON_GPU, Embedding, read_of, run_squares

MEMBERS_AT_ONCE = 512  # of a zip that one task reads; a tar is read from front to back by one
INSTALL = "A run over a cluster needs Ray: pip install 'ray[data]'."


class Encoder:
    """One of Ray's workers: holds the model, and encodes batches of squares."""

    def __init__(self, model: str, device: str | None, dtype: str | None, appearance: bool) -> None:
        self.classifier = ZeroShotClassifier(model, device, dtype)
        self.appearance = appearance

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Rows with squares -> the same rows with features instead; a content has them once."""
        first: dict[bytes, int] = {}
        for i, content in enumerate(batch["content"]):
            if batch["squares"][i]:
                first.setdefault(bytes(content), i)
        rows = list(first.values())
        features = [b""] * len(batch["squares"])
        if rows:
            squares = [_unpack(batch["squares"][i], batch["shape"][i]) for i in rows]
            encoded = run_squares(self.classifier, squares, self.appearance).cpu().numpy()
            for i, row in zip(rows, encoded, strict=True):
                features[i] = row.tobytes()
        kept = {name: batch[name] for name in ("content", "stamp", "problem")}
        return kept | {"features": _column(features)}


def encode_with_ray(
    classifier: ZeroShotClassifier,
    model: str,
    sources: Sequence[InputItem],
    store: FeatureStore,
    framing: str,
    workers: int,
    batch_size: int | None = None,
    appearance: bool = False,
) -> Iterator[Embedding]:
    """As `encode`, with `workers` processes that have the model; raises ValueError without Ray.

    model: what every worker loads. What the store knows by a file's stamp is not sent anywhere, and
    what it knows by its content is read there and not decoded. Copies are encoded once in a batch;
    those in different batches are encoded, and counted, each time.
    """
    try:
        ray: Any = importlib.import_module("ray")  # optional
        importlib.import_module("ray.data")
    except ImportError as error:
        raise ValueError(INSTALL) from error
    known = [read_of(source, store) for source in sources]
    unknown = [source for source, read in zip(sources, known, strict=True) if read is None]
    wanted = list(_tasks(unknown))
    done: Iterator[dict[str, Any]] = iter(())
    if wanted:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        size = batch_size or BATCH.get(classifier.device.type, BATCH_ON_GPU)
        # No core is set aside for a model: as many models as cores would leave none to read with
        needs = {"num_cpus": 0, "num_gpus": int(classifier.device.type == "cuda")}
        read_options = {
            "input_resolution": classifier.input_resolution,
            "framing": framing,
            "known": prefixes(store.contents()),
        }
        dtype = str(classifier.dtype).removeprefix("torch.")
        rows = (
            ray.data.from_items(wanted)
            .flat_map(_read, fn_kwargs=read_options)
            .map_batches(
                Encoder,
                fn_constructor_args=(model, classifier.device.type, dtype, appearance),
                batch_size=size,
                batch_format="numpy",
                concurrency=workers,
                **needs,
            )
        )
        done = iter(rows.iter_rows())
    for source, read in zip(sources, known, strict=True):
        if read is not None:
            yield _kept(source, read, store)
            continue
        row = next(done)
        content, stamp = row["content"], row["stamp"]
        if row["problem"]:
            yield Embedding(source, content or None, None, row["problem"], False)
            continue
        if row["features"]:
            store.put(content, torch.frombuffer(bytearray(row["features"]), dtype=torch.float32))
        if stamp:
            store.note(stamp, content)
        store.flush(at_once=False)
        yield Embedding(source, content, store.get(content), None, not row["features"])
    store.flush()


def _kept(source: InputItem, read: Decoded, store: FeatureStore) -> Embedding:
    features = None if read.content is None else store.get(read.content)
    return Embedding(source, read.content, features, read.problem, features is not None)


def _tasks(sources: Iterable[InputItem]) -> Iterator[dict[str, Any]]:
    """What one task reads: a file, or members of an archive, which is opened once for them.

    Paths are absolute: a worker runs in another folder.
    """
    for (path, in_archive), group in groupby(
        sources, key=lambda source: (source.path, source.member is not None)
    ):
        members = [source.member for source in group]
        size = len(members)
        if in_archive and path.lower().endswith(".zip"):
            size = MEMBERS_AT_ONCE
        for start in range(0, len(members), size):
            wanted = members[start : start + size] if in_archive else []
            yield {"path": os.path.abspath(path), "members": wanted}


def _read(
    row: dict[str, Any], input_resolution: int, framing: str, known: np.ndarray
) -> Iterator[dict[str, Any]]:
    """What a task reads -> the pictures' squares, on any machine of the cluster.

    known: as for `Reader`. What there is none of is empty: Arrow's tables make numbers of None.
    """
    know(known)
    path = row["path"]
    if not len(row["members"]):
        yield _to_row(run_task(DecodeTask(path, None, None, input_resolution, framing)))
        return
    for data, stamp, problem in read_members(path, row["members"]):
        read = Decoded(problem=problem)
        if data is not None:
            read = run_task(DecodeTask(path, data, stamp, input_resolution, framing))
        yield _to_row(read)


def _to_row(read: Decoded) -> dict[str, Any]:
    squares = read.squares
    return {
        "content": read.content or b"",
        "stamp": read.stamp or b"",
        "problem": read.problem or "",
        "squares": b"" if squares is None else squares.tobytes(),
        "shape": [0] if squares is None else list(squares.shape),
    }


def _unpack(data: bytes, shape: Sequence[int]) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8).reshape(tuple(shape)).copy()


def _column(values: Sequence[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
