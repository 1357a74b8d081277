"""The matrix, both softmaxes and the loss, against the model's own forward pass and loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clip_core import CLIP, contrastive_loss, tokenize
from clip_core.explain.similarity import compare
from clip_core.model import VisionTransformer

TEXTS = ["a cat", "a dog", "a boat"]


@pytest.fixture(scope="module")
def model() -> CLIP:
    torch.manual_seed(0)
    tower = VisionTransformer(64, 16, 64, 2, 1, 32)
    return CLIP(32, tower, 77, 49408, 64, 1, 2).eval()


@torch.no_grad()
def features(model: CLIP, pictures: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pixels = torch.randn(pictures, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    image_features = F.normalize(model.encode_image(pixels), dim=-1)
    return pixels, image_features, F.normalize(model.encode_text(tokenize(TEXTS)), dim=-1)


def test_logits_are_the_models(model: CLIP) -> None:
    pixels, image_features, text_features = features(model, 4)
    found = compare(image_features, text_features, model.logit_scale)
    with torch.no_grad():
        per_image, per_text = model(pixels, tokenize(TEXTS))
    assert found.logits.shape == (4, 3)
    assert np.abs(found.logits - per_image.numpy()).max() < 1e-5
    assert np.abs(found.per_image - per_image.softmax(-1).numpy()).max() < 1e-6
    assert np.abs(found.per_text - per_text.softmax(-1).numpy().T).max() < 1e-6
    assert found.scale == pytest.approx(1 / 0.07, rel=1e-6)


def test_the_loss_is_contrastive_loss(model: CLIP) -> None:
    _, image_features, text_features = features(model, 4)
    found = compare(image_features, text_features, model.logit_scale).paired
    expected = contrastive_loss(image_features[:3], text_features, model.logit_scale).item()
    assert found is not None
    assert found.loss == expected
    assert (found.image_loss + found.text_loss) / 2 == pytest.approx(expected, abs=1e-6)
    assert found.image_losses.mean() == pytest.approx(found.image_loss, abs=1e-6)
    assert found.text_losses.shape == (3,)


def test_the_loss_clamps_the_scale(model: CLIP) -> None:
    _, image_features, text_features = features(model, 3)
    found = compare(image_features, text_features, torch.tensor(math.log(400))).paired
    assert found is not None
    assert (found.image_loss + found.text_loss) / 2 == pytest.approx(found.loss, abs=1e-4)


def test_no_loss_without_a_picture_for_each_text(model: CLIP) -> None:
    _, image_features, text_features = features(model, 2)
    assert compare(image_features, text_features, model.logit_scale).paired is None
