"""Pictures against texts: the matrix of similarities, both ways to read it, and its loss.

Source: sections 2.3 and 2.5 and figure 3 of the paper (arXiv 2103.00020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from clip_core.model import MAX_LOGIT_SCALE, contrastive_loss


@dataclass(frozen=True)
class ContrastiveLoss:
    """The loss of N pairs, and what it is made of; natural logarithms."""

    loss: float  # `contrastive_loss`: the mean of the next two
    image_loss: float  # each picture chooses a text: the mean of `image_losses`
    text_loss: float  # each text chooses a picture
    image_losses: np.ndarray  # float32 [N], one for each picture
    text_losses: np.ndarray  # float32 [N], one for each text


@dataclass(frozen=True)
class Similarities:
    """N pictures against M texts; arrays are float32 [N, M]."""

    cosine_similarities: np.ndarray
    logits: np.ndarray  # the cosine similarities times exp(logit_scale)
    per_image: np.ndarray  # softmax over the texts: each row sums to 1
    per_text: np.ndarray  # softmax over the pictures: each column sums to 1
    scale: float  # exp(logit_scale)
    paired: ContrastiveLoss | None  # of the first M pictures; None for fewer pictures than texts


def compare(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Similarities:
    """Compares pictures [N, D] with texts [M, D]; both normalised, float32.

    Row i of the texts belongs to row i of the pictures; pictures may follow that have no text.
    logit_scale: the logarithm of the inverse temperature, as `CLIP.logit_scale`.
    """
    scale = logit_scale.detach().exp().float()
    cosines = image_features @ text_features.t()
    logits = cosines * scale
    pictures, texts = cosines.shape
    paired = None
    if 0 < texts <= pictures:
        paired = _losses(image_features[:texts], text_features, logit_scale.detach().float())
    return Similarities(
        cosine_similarities=cosines.cpu().numpy(),
        logits=logits.cpu().numpy(),
        per_image=logits.softmax(dim=1).cpu().numpy(),
        per_text=logits.softmax(dim=0).cpu().numpy(),
        scale=float(scale),
        paired=paired,
    )


def _losses(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> ContrastiveLoss:
    logits = image_features @ text_features.t() * logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
    image_losses = -F.log_softmax(logits, dim=1).diagonal()
    text_losses = -F.log_softmax(logits, dim=0).diagonal()
    return ContrastiveLoss(
        loss=float(contrastive_loss(image_features, text_features, logit_scale)),
        image_loss=float(image_losses.mean()),
        text_loss=float(text_losses.mean()),
        image_losses=image_losses.cpu().numpy(),
        text_losses=text_losses.cpu().numpy(),
    )
