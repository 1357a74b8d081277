"""Search among more pictures than one matrix product is quick for, by faiss (optional).

A graph of near neighbours (HNSW; Malkov and Yashunin, arXiv 1603.09320) finds most of what exact
search finds, and says nothing of what it missed: docs/scale.md has its recall, measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 32  # links of each row: faiss's own advice for such features
BUILD_BREADTH = 200  # candidates that are looked at to place a row
SEARCH_BREADTH = 256  # and to answer: recall against time, see docs/scale.md
INSTALL = "An index needs faiss: pip install faiss-cpu."


class ApproximateIndex:
    """A graph over features [N, D], normalised float32, on the CPU.

    Raises ValueError when faiss is not installed.
    """

    def __init__(self, features: Tensor) -> None:
        faiss = _faiss()
        rows = features.cpu().contiguous().numpy()
        self._index: Any = faiss.IndexHNSWFlat(
            rows.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT
        )
        self._index.hnsw.efConstruction = BUILD_BREADTH
        self._index.add(rows)

    def search(self, query: Tensor, top: int) -> tuple[np.ndarray, np.ndarray]:
        """As `find.Index.search`."""
        self._index.hnsw.efSearch = max(SEARCH_BREADTH, top)
        scores, rows = self._index.search(query.cpu().float().numpy()[None], top)
        found = rows[0] >= 0  # faiss fills up with -1 where there are fewer
        return scores[0][found], rows[0][found]

    @classmethod
    def load_or_build(
        cls, path: Path, features: Tensor, contents: Iterable[bytes], kept_in: str
    ) -> ApproximateIndex:
        """The index that lies at `path`, if it is of just these features; else a new one for it.

        contents: SHA-256 of the pictures, in the order of the features. kept_in: the name of the
        store's folder, which stands for the model and the framing (`store_folder`). Raises
        ValueError as the constructor does, and where the file can't be written.
        """
        faiss = _faiss()
        digest = hashlib.sha256(b"".join(contents)).hexdigest()
        described = {
            "features": kept_in,
            "contents": digest,
            "rows": len(features),
            "dimensions": features.shape[1],
        }
        sidecar = path.with_name(path.name + ".json")
        try:
            if json.loads(sidecar.read_text(encoding="utf-8")) == described:
                index = cls.__new__(cls)
                index._index = faiss.read_index(str(path))
                return index
        except (OSError, ValueError, RuntimeError):
            pass  # none there, or not a whole one: it is made anew
        index = cls(features)
        partial = path.with_name(path.name + ".partial")
        try:
            sidecar.unlink(missing_ok=True)
            faiss.write_index(index._index, str(partial))
            partial.replace(path)
            sidecar.write_text(json.dumps(described) + "\n", encoding="utf-8")
        except (OSError, RuntimeError) as error:
            raise ValueError(f"The index {str(path)!r} can't be written: {error}.") from error
        return index


def _faiss() -> Any:
    try:
        import faiss  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise ValueError(INSTALL) from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss
