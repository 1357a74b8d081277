"""Sources -> features by Ray Data (optional): the same as `encode`, over a cluster.

Reading and encoding are two stages that Ray spreads over its machines; what comes back is put into
the store here, in order. All machines must see the pictures under the same paths.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from clip_core.classifier import ZeroShotClassifier

from .encode import BATCH, BATCH_ON_GPU, Encoded, read_of, run_squares
from .reading import Job, Read, read_job, read_members
from .sources import Source
from .store import FeatureStore

INSTALL = "A run over a cluster needs Ray: pip install 'ray[data]'."


class Encoder:
    """One of Ray's workers: holds the model, and encodes batches of squares."""

    def __init__(self, model: str, device: str | None, dtype: str | None, appearance: bool) -> None:
        self.classifier = ZeroShotClassifier(model, device, dtype)
        self.appearance = appearance

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Rows with squares -> the same rows with features instead."""
        rows = [i for i, squares in enumerate(batch["squares"]) if squares]
        features = [b""] * len(batch["squares"])
        if rows:
            squares = [_unpack(batch["squares"][i], batch["shape"][i]) for i in rows]
            encoded = run_squares(self.classifier, squares, self.appearance).cpu().numpy()
            for i, row in zip(rows, encoded, strict=True):
                features[i] = row.tobytes()
        kept = {name: batch[name] for name in ("number", "content", "stamp", "problem")}
        return kept | {"features": _column(features)}


def encode_with_ray(
    classifier: ZeroShotClassifier,
    model: str,
    sources: Sequence[Source],
    store: FeatureStore,
    framing: str,
    workers: int,
    batch_size: int | None = None,
    appearance: bool = False,
) -> Iterator[Encoded]:
    """As `encode`, with `workers` processes that have the model; raises ValueError without Ray.

    model: what every worker loads. What the store knows by a file's stamp is not sent anywhere.
    """
    try:
        ray: Any = importlib.import_module("ray")  # optional
        importlib.import_module("ray.data")
    except ImportError as error:
        raise ValueError(INSTALL) from error
    known = [read_of(source, store) for source in sources]
    wanted = [
        {"number": number, "path": source.path, "member": source.member}
        for number, (source, read) in enumerate(zip(sources, known, strict=True))
        if read is None
    ]
    done: Iterator[dict[str, Any]] = iter(())
    if wanted:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        size = batch_size or BATCH.get(classifier.device.type, BATCH_ON_GPU)
        on_gpu = {"num_gpus": 1} if classifier.device.type == "cuda" else {}
        read_options = {"input_resolution": classifier.input_resolution, "framing": framing}
        dtype = str(classifier.dtype).removeprefix("torch.")
        rows = (
            ray.data.from_items(wanted)
            .map(_read, fn_kwargs=read_options)
            .map_batches(
                Encoder,
                fn_constructor_args=(model, classifier.device.type, dtype, appearance),
                batch_size=size,
                batch_format="numpy",
                concurrency=workers,
                **on_gpu,
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
            yield Encoded(source, content or None, None, row["problem"], False)
            continue
        was_kept = content in store
        store.put(content, torch.frombuffer(bytearray(row["features"]), dtype=torch.float32))
        if stamp:
            store.note(stamp, content)
        store.flush(at_once=False)
        yield Encoded(source, content, store.get(content), None, was_kept)
    store.flush()


def _kept(source: Source, read: Read, store: FeatureStore) -> Encoded:
    features = None if read.content is None else store.get(read.content)
    return Encoded(source, read.content, features, read.problem, features is not None)


def _read(row: dict[str, Any], input_resolution: int, framing: str) -> dict[str, Any]:
    """One picture's place -> its squares, on any machine of the cluster.

    What there is none of is empty: Arrow's tables make numbers of None.
    """
    data, stamp, problem = None, None, None
    if row["member"] is not None:
        data, stamp, problem = next(iter(read_members(row["path"], [row["member"]])))
    job = Job(row["path"], data, stamp, input_resolution, framing)
    read = Read(problem=problem) if problem else read_job(job)
    squares = read.squares
    return {
        "number": row["number"],
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
