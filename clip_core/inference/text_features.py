"""On-disk cache of labels' features, so that a restart doesn't compute them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from clip_core.errors import StoreError
from clip_core.model import CLIP

from .feature_store import FeatureStore
from .fingerprint import text_fingerprint

FILE = "labels.sqlite3"
MAX_BYTES = 256 << 20  # of the file with its log: some 50,000 labels of 1,024 float32
SECONDS_TO_WAIT = 2.0  # for another process that writes: computing the features takes less


class TextFeatures:
    """The features that one model has for labels, by their prompts.

    One file in `folder` for all models. A row's key is a digest of the text tower and the prompts:
    no row is ever out of date, and nobody can read from the file what was typed. Where the file
    can't be used (a full disk, no rights), nothing is found or stored, and no error is raised: all
    it saves is time. Safe to share by threads and processes.
    """

    def __init__(self, folder: Path, model: CLIP) -> None:
        dimensions = model.text_projection.shape[1]
        self._store = FeatureStore(folder, dimensions, FILE, MAX_BYTES, SECONDS_TO_WAIT)
        self._model = model
        self._fingerprint: bytes | None = None

    def get(self, prompts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        """The stored ones of the labels' features: normalised float32 [D], on the CPU."""
        keys = {self._key(texts): texts for texts in prompts}
        try:
            found = self._store.read(list(keys))
        except StoreError:
            return {}
        return {keys[key]: features for key, features in found.items()}

    def put(self, features: Mapping[tuple[str, ...], Tensor]) -> None:
        """Stores normalised float32 features [D] by their label's prompts."""
        with suppress(StoreError):
            self._store.write({self._key(texts): row for texts, row in features.items()})

    def _key(self, texts: tuple[str, ...]) -> bytes:
        if self._fingerprint is None:
            self._fingerprint = text_fingerprint(self._model)
        return hashlib.sha256(self._fingerprint + json.dumps(texts).encode()).digest()
