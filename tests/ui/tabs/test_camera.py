"""What a camera's frame may hold: the browser's side is anybody's."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ui.service.errors import QuestionError
from ui.service.model_pool import ModelPool
from ui.tabs.camera import LARGEST_FRAME, read_frame

CAT = Path(__file__).parents[3] / "ui/examples/cat.jpg"
ASKED = ["a photo of a {}.", "", "bundled", "bundled", "best"]


@pytest.fixture(scope="module")
def models() -> ModelPool:
    return ModelPool(["bundled"], "cpu")


def frame(**changes: Any) -> dict[str, Any]:
    image = base64.b64encode(CAT.read_bytes()).decode()
    return {"image": image, "labels": "cat, dog", "asked": json.dumps(ASKED), **changes}


def test_a_frame_is_a_question(models: ModelPool) -> None:
    asked = read_frame(models, frame())
    assert asked.labels == ("cat", "dog")
    assert asked.prompts == [["a photo of a cat."], ["a photo of a dog."]]
    assert asked.path == CAT.read_bytes()
    assert asked.model == "bundled"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (None, "can't be read"),
        ({}, "can't be read"),
        (frame(image=5), "can't be read"),
        (frame(image="%%%"), "can't be read"),
        (frame(image="A" * (LARGEST_FRAME + 4)), "too large"),
        (frame(asked="[]"), "can't be read"),
        (frame(asked="no json"), "can't be read"),
        (frame(asked=json.dumps(["{} {}", *ASKED[1:]])), "{}"),
        (frame(asked=json.dumps([*ASKED[:4], "round"])), "There is no square"),
        (frame(labels=""), "Type at least two labels"),
        (frame(image=""), "Drop in a picture"),
    ],
)
def test_what_is_no_frame_is_refused_in_a_sentence(models: ModelPool, sent: Any, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        read_frame(models, sent)
