"""What the bundled file must be right about: photographs, a diagram, and basic words."""

from __future__ import annotations

from pathlib import Path

import gradio
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clip_core import ZeroShotClassifier, load, tokenize
from clip_core.weights.resolve import BUNDLED
from training.basic_words import BASIC_WORDS, TABLE, read_table
from training.evaluate import DIAGRAM_LABELS, GRADIO_LABELS, drawn_diagram
from training.phrases import article

PHOTOGRAPHS = Path(gradio.__file__).parent / "media_assets/images"
TEMPLATES = ["{}", "a photo of {}.", "a photo of a {}."]


@pytest.fixture(scope="module")
def classifier() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


def test_the_file_is_small_enough_to_ship() -> None:
    assert BUNDLED.stat().st_size <= 48_000_000


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", GRADIO_LABELS)
def test_photographs(classifier: ZeroShotClassifier, name: str, template: str) -> None:
    labels = GRADIO_LABELS[name].split("|")
    scores = classifier.classify(Image.open(PHOTOGRAPHS / name), labels, [template])
    assert labels[int(scores.probabilities.argmax())] == labels[0]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_drawn_diagram_is_a_diagram(classifier: ZeroShotClassifier, template: str) -> None:
    scores = classifier.classify(drawn_diagram(), DIAGRAM_LABELS, [template])
    assert scores.probabilities[0] > 0.5


@pytest.mark.parametrize("template", ["a {}", "a photo of a {}."])
@torch.inference_mode()
def test_classes_are_their_basic_words(template: str) -> None:
    model, _ = load("bundled", device="cpu")
    table = read_table(TABLE)
    assert len(table) > 450
    texts = [article(template.replace("{}", word)) for word in BASIC_WORDS]
    said = F.normalize(model.encode_text(tokenize(texts)), dim=-1)
    nearest = (model.visual.prototypes[list(table)] @ said.T).argmax(1).tolist()
    right = sum(BASIC_WORDS[i] == word for i, word in zip(nearest, table.values(), strict=True))
    assert right >= 0.98 * len(table)


def test_what_people_type_by_accident_changes_no_answer(classifier: ZeroShotClassifier) -> None:
    picture = Image.open(PHOTOGRAPHS / "lion.jpg")
    typed = [
        ["a lion", "a apple", "a dog"],
        ["lion ", " apple", "dog"],
        ["LION", "AN APPLE", "Dog"],
        ["lions", "apples", "dogs"],
    ]
    for labels in typed:
        scores = classifier.classify(picture, labels, ["a photo of a {}."])
        assert scores.probabilities.argmax() == 0
