"""Whether any label fits at all: a softmax always names a winner.

Some texts are near to every picture, and some pictures near to every text. So a cosine similarity
is taken less the means of the nearest neighbours that label and picture have in a background: what
is left tells lists that hold the right label from lists that don't (MODEL_CARD.md compares it with
what else was tried). Source: cross-domain similarity local scaling, CSLS (Conneau et al., arXiv
1710.04087, section 2.3), which takes half of either mean; these parts measured best.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .efficientnet import EfficientNetLite

if TYPE_CHECKING:
    pass

NEIGHBOURS = 10  # as in the paper
LABEL_PART = 1.0  # of the label's mean; both parts were chosen on the choosing halves
IMAGE_PART = 0.5
NOTE = "none_of_these"  # the key in a file's metadata
FIGURES = ("threshold", "slope", "offset")


@dataclass(frozen=True)
class OpenSetCalibration:
    """What was fitted for one model.

    threshold: a score below it means that no label fits. slope, offset: the logistic curve that
    turns a score into the chance that none fits, where half of all lists hold the right label.
    background: normalised float32 [n, D].
    """

    threshold: float
    slope: float
    offset: float
    background: Tensor


@dataclass(frozen=True)
class NoneOfThese:
    """How likely it is that no label fits one picture."""

    score: float  # of the label that fits best; higher fits better
    threshold: float
    chance: float  # 0 to 1, where half of all lists hold the right label

    @property
    def is_none(self) -> bool:
        """Whether the score is below the model's threshold."""
        return self.score < self.threshold


def judge(image_features: Tensor, text_features: Tensor, fitted: OpenSetCalibration) -> NoneOfThese:
    """Whether any label fits: features [D] of a picture and [labels, D], normalised float32."""
    score = float(csls_score(image_features[None], text_features, fitted.background).max())
    chance = 1 / (1 + math.exp(min(fitted.slope * score + fitted.offset, 700)))
    return NoneOfThese(score, fitted.threshold, chance)


def judge_each(
    image_features: Tensor, text_features: Tensor, fitted: OpenSetCalibration
) -> tuple[Tensor, Tensor]:
    """`NoneOfThese` of many pictures at once: its chance, float32 [N], and `is_none`, bool [N].

    image_features: [N, D]; text_features: [labels, D]; normalised float32.
    """
    best = csls_score(image_features, text_features, fitted.background).max(dim=1).values
    return torch.sigmoid(-(fitted.slope * best + fitted.offset)), best < fitted.threshold


def csls_score(image_features: Tensor, text_features: Tensor, background: Tensor) -> Tensor:
    """How well each text fits each picture: [N, D] and [M, D] against [n, D] -> [N, M].

    All normalised, float32; the first two on one device, where the result is.
    """
    background = background.to(image_features.device)

    def crowd(features: Tensor) -> Tensor:
        nearest = (features @ background.T).topk(min(NEIGHBOURS, len(background)), dim=1)
        return nearest.values.mean(dim=1)

    cosines = image_features @ text_features.T
    return (
        cosines
        - LABEL_PART * crowd(text_features)[None, :]
        - IMAGE_PART * crowd(image_features)[:, None]
    )


def read_fit(
    name: str, metadata: Mapping[str, str], tower: nn.Module, folder: Path
) -> OpenSetCalibration | None:
    """What was fitted for a model, or None.

    folder: where `write_fit` put what was fitted here. metadata: that of the model's file, where
    the bundled model's figures stand; its background is what its tower knows its classes by.
    """
    try:
        with safe_open(_file_of(name, folder), framework="pt") as stored:
            notes = stored.metadata() or {}
            background = stored.get_tensor("background").float()
    except (OSError, SafetensorError):
        notes, background = {}, torch.empty(0)
    figures = _figures(notes.get(NOTE, ""))
    same_space = background.ndim == 2 and background.shape[1] == tower.output_dim
    if figures is not None and notes.get("model") == name and same_space:
        return OpenSetCalibration(*figures, background.to(next(tower.parameters()).device))
    figures = _figures(metadata.get(NOTE, ""))
    own = own_background(tower)
    return OpenSetCalibration(*figures, own) if figures is not None and own is not None else None


def own_background(tower: nn.Module) -> Tensor | None:
    """The prototypes of the bundled tower's classes, normalised float32 [classes, D]; else None."""
    if not isinstance(tower, EfficientNetLite):
        return None
    return F.normalize(tower.prototypes.detach().float(), dim=-1)


def write_fit(name: str, fitted: OpenSetCalibration, folder: Path) -> Path:
    """Keeps what was fitted for a model where `read_fit` finds it; returns the file."""
    path = _file_of(name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = json.dumps({figure: getattr(fitted, figure) for figure in FIGURES})
    partial = path.with_name(path.name + ".partial")
    save_file(
        {"background": fitted.background.cpu().contiguous()},
        partial,
        {"model": name, NOTE: figures},
    )
    partial.replace(path)
    return path


def _file_of(name: str, folder: Path) -> Path:
    return folder / "none-of-these" / (re.sub(r"[^\w.-]+", "-", name)[-100:] + ".safetensors")


def _figures(note: str) -> tuple[float, float, float] | None:
    """The figures of a note, which may be anybody's; None when they are not all there."""
    try:
        found = json.loads(note)
        threshold, slope, offset = (float(found[figure]) for figure in FIGURES)
    except (ValueError, TypeError, KeyError):
        return None
    finite = all(map(math.isfinite, (threshold, slope, offset)))
    return (threshold, slope, offset) if finite else None
