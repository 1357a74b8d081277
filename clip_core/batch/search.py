"""Search for images by phrases, by other images, or by one minus another: exact, by cosine.

Section 3.2 of the paper ranks by cosine similarity, and so does this, by one matrix product: 126 ms
for a million images on two cores (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import InputError


@torch.inference_mode()
def nearest(features: Tensor, query: Tensor, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of features [N, D] that score highest against a query [D], by dot product.

    Returns scores and row numbers, best first; fewer than `top` where there are fewer rows.
    """
    best = (features @ query.to(features)).topk(min(top, len(features)))
    return best.values.cpu().numpy(), best.indices.cpu().numpy()


@torch.inference_mode()
def make_query(
    classifier: ZeroShotClassifier,
    phrases: Sequence[Sequence[str]] = (),
    pictures: Sequence[str | Path | bytes | Tensor] = (),
    minus: Sequence[Sequence[str]] = (),
    framing: str | None = None,
) -> Tensor:
    """The query, float32 [D]: the mean of phrases and pictures, less the mean of `minus`.

    phrases, minus: the prompts of each phrase, as a label's. pictures: as for
    `ZeroShotClassifier.image_features`, or their features [D]. Both means are normalised, so that a
    score is a difference of two cosine similarities, or one where there is no `minus`.

    Raises InputError without phrases and pictures, and as `image_features` and `label_features` do.
    """
    wanted = [*classifier.label_features(phrases)] if phrases else []
    for picture in pictures:
        if isinstance(picture, Tensor):
            wanted.append(picture)
        else:
            wanted.append(classifier.image_features(picture, framing))
    if not wanted:
        raise InputError("Say what to look for: a phrase, or a picture to find others like it.")
    device = classifier.device
    query = F.normalize(torch.stack([each.to(device) for each in wanted]).mean(dim=0), dim=-1)
    if minus:
        query = query - F.normalize(classifier.label_features(minus).mean(dim=0), dim=-1)
    return query
