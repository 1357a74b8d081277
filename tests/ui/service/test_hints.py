"""Hints say what is so, and nothing where there is nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_core import ZeroShotClassifier
from prompts import fill_all
from ui.service.hints import contrast_of, find_hints, hints_on_words
from ui.service.question import Question

CAT = str(Path(__file__).parents[3] / "ui/examples/cat.jpg")
TEMPLATE = "a photo of a {}."


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


def hints(classifier: ZeroShotClassifier, *labels: str) -> list[str]:
    prompts = fill_all([TEMPLATE], labels)
    asked = Question(CAT, "cat.jpg", labels, TEMPLATE, prompts, "bundled", "crop")
    scores = classifier.score(asked.path, asked.labels, asked.prompts, asked.framing)
    return find_hints(classifier, asked, scores)


def test_an_ordinary_question_has_none(bundled: ZeroShotClassifier) -> None:
    assert hints(bundled, "cat", "dog", "cup of coffee") == []
    assert hints(bundled, "cat") == []


def test_near_labels_are_named(bundled: ZeroShotClassifier) -> None:
    (said,) = hints(bundled, "cat", "sofa", "couch")
    assert said.endswith("share their score: “sofa” and “couch”.")


def test_a_lead_within_noise_is_told_by_templates(bundled: ZeroShotClassifier) -> None:
    """Neither is there: which one leads hangs on the prompt."""
    found = [said for said in hints(bundled, "hammer", "teapot") if "templates. See" in said]
    clear = [said for said in hints(bundled, "cat", "lamp post") if "templates. See" in said]
    assert (len(found), len(clear)) == (1, 0)


def test_a_denial_gets_its_contrast() -> None:
    (said,) = hints_on_words(["cat without fur", "dog"])
    assert "put “cat with fur” beside it" in said
    assert contrast_of(["cat without fur", "dog"]) == "cat with fur"
    (said,) = hints_on_words(["cat without fur", "Cat with fur"])
    assert "the label beside it" in said
    assert contrast_of(["cat without fur", "Cat with fur"]) is None
