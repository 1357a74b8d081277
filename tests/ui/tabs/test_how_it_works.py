"""The numbers on the page are the core's, and what people typed stays text."""

from __future__ import annotations

import math
import re
from html import unescape

import numpy as np
import pytest
import torch
from PIL import Image

from clip_core import ZeroShotClassifier, contrastive_loss, tokenize
from clip_core.explain.introspect import module_tree, token_row, trace_image, trace_text
from clip_core.explain.similarity import Similarities, compare
from ui.service.examples import EXAMPLE_CAPTIONS, EXAMPLES
from ui.tabs.how_it_works import draw_layers, draw_module_tree, draw_tokens
from ui.widgets.render import format_share
from ui.widgets.similarity_table import READINGS, draw_similarity_table

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def classifier() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


@pytest.fixture(scope="module")
def similarities(classifier: ZeroShotClassifier) -> Similarities:
    images = torch.stack([classifier.image_features(EXAMPLES / name) for name in EXAMPLE_CAPTIONS])
    texts = classifier.label_features([[caption] for caption in EXAMPLE_CAPTIONS.values()])
    return compare(images, texts, classifier.model.logit_scale)


def cells(html: str) -> np.ndarray:
    found = re.findall(r'<td(?: class="?pair"?)? style="[^"]+">([^<]+)', html)
    return np.array([unescape(text) for text in found]).reshape(5, 5)


def draw(similarities: Similarities, reading: str) -> str:
    pictures = [Image.new("RGB", (20, 20))] * 5
    return draw_similarity_table(similarities, pictures, list(EXAMPLE_CAPTIONS.values()), reading)


@pytest.mark.parametrize(
    ("reading", "expected", "axis"),
    [
        ("cosine similarity", "cosine_similarities", None),
        ("logits", "logits", None),
        ("each picture chooses", "per_image", 1),
        ("each caption chooses", "per_text", 0),
    ],
)
def test_the_matrix_holds_the_numbers(
    similarities: Similarities, reading: str, expected: str, axis: int | None
) -> None:
    shown = cells(draw(similarities, reading))
    values = getattr(similarities, expected)
    if axis is None:
        assert np.abs(shown.astype(float) - values).max() < 0.0051
    else:
        assert np.abs(values.sum(axis=axis) - 1).max() < 1e-5
        assert shown.tolist() == [[format_share(value) for value in row] for row in values.tolist()]
        assert "0.0 %" not in shown
    assert draw(similarities, reading).count('<td class="pair"') == 5


def test_every_example_is_nearest_to_its_own_caption(similarities: Similarities) -> None:
    assert (similarities.cosine_similarities.argmax(axis=1) == np.arange(5)).all()


def test_the_loss_is_the_papers(classifier: ZeroShotClassifier, similarities: Similarities) -> None:
    images = torch.stack([classifier.image_features(EXAMPLES / name) for name in EXAMPLE_CAPTIONS])
    texts = classifier.label_features([[caption] for caption in EXAMPLE_CAPTIONS.values()])
    loss = contrastive_loss(images, texts, classifier.model.logit_scale).item()
    html = draw(similarities, "logits")
    assert f"<td>{loss:.3f}</td>" in html
    assert f"<td>{math.log(5):.3f}</td>" in html
    assert "5 positives" in html
    assert "20 negatives" in html


def test_tokens_are_the_tokenizers() -> None:
    html = draw_tokens(token_row("a photo of a Samoyed."))
    numbers = [int(text) for text in re.findall(r'class="number">(\d+)<', html)]
    row = tokenize("a photo of a Samoyed.")[0]
    assert numbers == row[: len(numbers)].tolist()
    assert numbers[-1] == 49407
    assert html.count('class="end"') == 1
    assert f"{len(numbers)} of 77 places are used" in html


def test_shapes_and_parts_are_the_models(classifier: ZeroShotClassifier) -> None:
    pixels = classifier.pixels(EXAMPLES / "cat.jpg")
    html = draw_layers(
        trace_image(classifier.model, pixels), trace_text(classifier.model, tokenize("a cat"))
    )
    assert "1 × 3 × 260 × 260" in html
    assert "1 × 256 features" in html
    tree = draw_module_tree(module_tree(classifier.model))
    assert f"{sum(weight.numel() for weight in classifier.model.parameters()):,}" in tree
    assert tree.count("<details") == tree.count("</details>")


def test_what_people_typed_is_text(similarities: Similarities) -> None:
    pictures = [Image.new("RGB", (20, 20))] * 5
    for reading in READINGS:
        html = draw_similarity_table(similarities, pictures, [HOSTILE] * 5, reading)
        assert "<img src=x" not in html
    assert "<img src=x" not in draw_tokens(token_row(HOSTILE))
