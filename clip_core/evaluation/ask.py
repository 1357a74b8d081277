"""Scores of labelled images under several prompts, label names and models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import InputError

from .statistics import Variant

MOST_VARIANTS = 24


def check_variant_count(count: int) -> None:
    """Raises InputError for more variants than fit into one table."""
    if count > MOST_VARIANTS:
        raise InputError(
            f"That makes {count} ways of asking; {MOST_VARIANTS} at most are compared."
        )


def variant_name(model: str | None, template: str, aliases: str) -> str:
    """A variant's name in tables; empty parts are left out."""
    return ", ".join(filter(None, (model, template, aliases)))


@torch.inference_mode()
def score_variants(
    classifier: ZeroShotClassifier,
    features: Tensor,
    prompts: Iterable[tuple[str, Sequence[Sequence[str]]]],
) -> Iterator[Variant]:
    """The logits of each variant, float32 [N, labels].

    features: normalised float32 [N, D] of the images. prompts: each variant's name, and its prompts
    for each label.
    """
    features = features.to(classifier.device)
    scale = classifier.model.logit_scale.exp().float()
    for name, filled in prompts:
        logits = scale * features @ classifier.label_features(filled).T
        yield Variant(name, logits.cpu().float().numpy())
