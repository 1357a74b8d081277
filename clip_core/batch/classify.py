"""Classification of many images, a batch of features at a time.

The same arithmetic as `ZeroShotClassifier.score`, over many rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.open_set import judge_each

from .pipeline import Embedding

ROWS = 1024  # scored at once
COLUMNS = {
    "picture": pa.string(),
    "label": pa.string(),
    "probability": pa.float32(),
    "cosine_similarity": pa.float32(),
    "second_label": pa.string(),
    "second_probability": pa.float32(),
    "none_of_these": pa.float32(),
    "is_none": pa.bool_(),
    "sha256": pa.string(),
}


@dataclass(frozen=True)
class Ranking:
    """Scores of labels for N images.

    probabilities, cosine_similarities: float32 [N, labels]. none_of_these: float32 [N], the chance
    that no label fits; is_none: bool [N], whether it is judged so; both None for a model without a
    calibration.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    cosine_similarities: np.ndarray
    none_of_these: np.ndarray | None
    is_none: np.ndarray | None

    def order(self) -> np.ndarray:
        """Label numbers [N, 2]: the best of each image and the second, or -1 with one label."""
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :2]
        if best.shape[1] < 2:
            best = np.concatenate([best, np.full_like(best, -1)], axis=1)
        return best


@torch.inference_mode()
def rank(
    classifier: ZeroShotClassifier,
    image_features: Tensor,
    text_features: Tensor,
    labels: Sequence[str],
) -> Ranking:
    """Scores labels for images: features [N, D] and [labels, D], normalised float32."""
    image_features = image_features.to(text_features.device)
    cosines = image_features @ text_features.T
    logits = cosines * classifier.model.logit_scale.exp().float()
    chance = is_none = None
    if classifier.fitted is not None and len(image_features):
        judged = judge_each(image_features, text_features, classifier.fitted)
        chance, is_none = (each.cpu().numpy() for each in judged)
    return Ranking(
        tuple(labels), logits.softmax(dim=1).cpu().numpy(), cosines.cpu().numpy(), chance, is_none
    )


def sort(
    classifier: ZeroShotClassifier,
    encoded: Iterable[Embedding],
    labels: Sequence[str],
    prompts: Sequence[Sequence[str]],
) -> Iterator[tuple[list[Embedding], Ranking]]:
    """Scores images as they come, at most `ROWS` at once; those with an error are passed on too.

    prompts: one or more texts for each label, as for `ZeroShotClassifier.score`. The ranking has a
    row for each image that has features, in order.
    """
    text_features = classifier.label_features(prompts)
    stream = iter(encoded)
    while rows := list(islice(stream, ROWS)):
        features = [row.features for row in rows if row.features is not None]
        stacked = torch.stack(features) if features else text_features[:0].cpu()
        yield rows, rank(classifier, stacked, text_features, labels)


def to_columns(
    rows: Sequence[Embedding], ranking: Ranking, each_label: bool = False
) -> dict[str, list[Any]]:
    """The columns of `COLUMNS` for the rows that have features.

    each_label: those of `score_columns` too.
    """
    scored = [row for row in rows if row.features is not None]
    order = ranking.order()
    best, second = order[:, 0], order[:, 1]
    here = np.arange(len(scored))
    only_one = len(ranking.labels) < 2
    none, is_none = ranking.none_of_these, ranking.is_none
    columns: dict[str, list[Any]] = {
        "picture": [row.item.name for row in scored],
        "label": [ranking.labels[i] for i in best],
        "probability": ranking.probabilities[here, best].tolist(),
        "cosine_similarity": ranking.cosine_similarities[here, best].tolist(),
        "second_label": [None if only_one else ranking.labels[i] for i in second],
        "second_probability": (
            [None] * len(scored) if only_one else ranking.probabilities[here, second].tolist()
        ),
        "none_of_these": [None] * len(scored) if none is None else none.tolist(),
        "is_none": [None] * len(scored) if is_none is None else is_none.tolist(),
        "sha256": [row.content.hex() if row.content else None for row in scored],
    }
    if each_label:
        for number, name in enumerate(score_columns(ranking.labels)):
            columns[name] = ranking.probabilities[:, number].tolist()
    return columns


def score_columns(labels: Sequence[str]) -> dict[str, pa.DataType]:
    """The columns that hold each label's probability."""
    return {f"probability of {label}": pa.float32() for label in labels}
