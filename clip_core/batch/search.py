"""Pictures ranked by a phrase, by another picture, or by one less another: exact search.

Section 3.2 of the paper ranks by cosine similarity, and so does this, by one matrix product. On a
CPU that is a fraction of a second for a million pictures; `approximate.py` is for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier


class Index(Protocol):
    """What answers a search."""

    def search(self, query: Tensor, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that score highest against a query [D]: scores and row numbers, best first."""
        ...


class ExactIndex:
    """Search through all rows of features [N, D], normalised float32."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    @torch.inference_mode()
    def search(self, query: Tensor, top: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Index.search`; fewer than `top` where there are fewer rows."""
        best = (self.features @ query.to(self.features)).topk(min(top, len(self.features)))
        return best.values.cpu().numpy(), best.indices.cpu().numpy()


@torch.inference_mode()
def make_query(
    classifier: ZeroShotClassifier,
    phrases: Sequence[Sequence[str]] = (),
    pictures: Sequence[str | Path | bytes | Tensor] = (),
    minus: Sequence[Sequence[str]] = (),
    framing: str | None = None,
) -> Tensor:
    """What to search for, float32 [D]: the mean of what is wanted, less the mean of what is not.

    phrases, minus: each with the prompts that stand for it, as a label's. pictures: as for
    `ZeroShotClassifier.image_features`, or their features [D]. Both means are normalised, so that a
    score is a difference of two cosine similarities; without `minus` it is one.

    Raises ValueError when nothing is wanted, and as `image_features` and `label_features` do.
    """
    wanted = [*classifier.label_features(phrases)] if phrases else []
    for picture in pictures:
        if isinstance(picture, Tensor):
            wanted.append(picture)
        else:
            wanted.append(classifier.image_features(picture, framing))
    if not wanted:
        raise ValueError("Say what to look for: a phrase, or a picture to find others like it.")
    device = classifier.device
    query = F.normalize(torch.stack([each.to(device) for each in wanted]).mean(dim=0), dim=-1)
    if minus:
        query = query - F.normalize(classifier.label_features(minus).mean(dim=0), dim=-1)
    return query
