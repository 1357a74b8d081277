"""Two answers to one picture: paired, and what differs is marked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clip_core import Scores
from ui.service.errors import QuestionError
from ui.service.model_pool import ModelPool
from ui.service.question import Question
from ui.tabs.side_by_side import SAME, draw_both, other_question

FIRST = Question("/x.jpg", "x.jpg", ("cat", "dog"), "{}", [["cat"], ["dog"]], "bundled", "pad")


@pytest.fixture(scope="module")
def models() -> ModelPool:
    return ModelPool(device="cpu", in_background=False)


def test_nothing_chosen_is_the_same_question(models: ModelPool) -> None:
    assert other_question(models, FIRST, SAME, SAME, "") == FIRST


def test_each_part_can_differ(models: ModelPool) -> None:
    other = other_question(models, FIRST, "bundled", "a {}", "kitten\npuppy")
    assert other.prompts == [["a kitten"], ["a puppy"]]
    assert (other.labels, other.template) == (("kitten", "puppy"), "a {}")
    assert (other.path, other.model, other.framing) == ("/x.jpg", "bundled", "pad")


@pytest.mark.parametrize(
    ("model", "template", "sentence"),
    [("ViT", SAME, "There is no model 'ViT' here"), (SAME, "a photo", "has no {}")],
)
def test_what_is_wrong_is_said(models: ModelPool, model: str, template: str, sentence: str) -> None:
    with pytest.raises(QuestionError, match=sentence):
        other_question(models, FIRST, model, template, None)


def test_a_model_that_is_absent_is_sent_for(
    models: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(models, "request", asked.append)
    with pytest.raises(QuestionError, match="RN50 is on its way: press Compare in a moment"):
        other_question(models, FIRST, "RN50", SAME, None)
    assert asked == ["RN50"]


def test_differences_are_marked(make_scores: Callable[..., Scores]) -> None:
    first = make_scores(["cat", "dog", "fox"], [0.6, 0.3, 0.1])
    drawn = draw_both(first, make_scores(["cat", "dog", "fox"], [0.28, 0.63, 0.09]))
    assert "They disagree: “cat” on the left, “dog” on the right." in drawn
    assert drawn.count('class="marked"') == 2
    assert "▼ 32.0 points" in drawn
    assert "▲ 33.0 points" in drawn
    assert drawn.count("about the same") == 1
    assert "Both choose “cat”." in draw_both(first, first)


def test_other_wordings_are_paired_by_place_or_by_words(
    make_scores: Callable[..., Scores],
) -> None:
    first = make_scores(["cat", "<i>"], [0.6, 0.4])
    drawn = draw_both(first, make_scores(["kitten", "<i>"], [0.5, 0.5]))
    assert "cat / kitten" in drawn
    assert "<i>" not in drawn
    drawn = draw_both(first, make_scores(["cat", "dog", "fox"], [0.2, 0.5, 0.3]))
    assert drawn.count("<tr") == 1 + 4
    assert drawn.count("not asked") == 3


def test_a_page_of_labels_is_cut(make_scores: Callable[..., Scores]) -> None:
    many = make_scores([f"label {i}" for i in range(50)], [0.02] * 50)
    drawn = draw_both(many, many)
    assert drawn.count("<tr") == 1 + 20
    assert "30 more labels." in drawn
