from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ui.service.errors import IncompleteError, QuestionError
from ui.service.question import Question, shorten

EXAMPLE = Path(__file__).parents[3] / "ui" / "examples" / "cat.jpg"
PICTURE = {"path": str(EXAMPLE), "orig_name": "My cat.jpg"}
TEMPLATE = "a photo of a {}."


def test_a_question_as_asked() -> None:
    asked = Question.parse(PICTURE, "cat, dog", TEMPLATE, "tiny")
    assert asked == Question(
        str(EXAMPLE),
        "My cat.jpg",
        ("cat", "dog"),
        TEMPLATE,
        [["a photo of a cat."], ["a photo of a dog."]],
        "tiny",
    )


def test_a_set_of_templates_by_name() -> None:
    asked = Question.parse(PICTURE, "cat, dog", "imagenet-7", "tiny")
    assert asked.template == "imagenet-7"
    assert [len(prompts) for prompts in asked.prompts] == [7, 7]
    assert asked.prompts[1][0] == "itap of a dog."


def test_the_picture_goes_by_the_name_its_owner_knows() -> None:
    assert Question.parse({"path": str(EXAMPLE)}, "a, b", TEMPLATE, "tiny").picture == "cat.jpg"


def test_labels_with_braces_stay_literal() -> None:
    assert Question.parse(PICTURE, ["{}", "{a}"], TEMPLATE, "tiny").prompts == [
        ["a photo of a {}."],
        ["a photo of a {a}."],
    ]


@pytest.mark.parametrize("image", [None, {}])
def test_no_picture(image: Any) -> None:
    with pytest.raises(IncompleteError, match=r"^Drop in a picture to get an answer\.$"):
        Question.parse(image, "cat, dog", TEMPLATE, "tiny")


@pytest.mark.parametrize("labels", ["", " \n ", ",,", None, []])
def test_no_labels(labels: Any) -> None:
    with pytest.raises(IncompleteError, match=r"^Type at least two labels to get an answer\.$"):
        Question.parse(PICTURE, labels, TEMPLATE, "tiny")


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("", "The template is empty: write one that holds {} once."),
        (None, "The template is empty: write one that holds {} once."),
        ("a photo", "The template has no {}; write {} where the label goes"),
        ("{} and {}", "The template has {} 2 times; keep the one where the label goes."),
        ("a {label}.", 'The template holds "{label}", which nothing fills'),
        ("a {.", "The template holds a brace without its partner"),
        ("x" * 300 + "{}", "The template has 302 characters; shorten it to 300 at most."),
    ],
)
def test_a_template_that_is_none(template: Any, sentence: str) -> None:
    with pytest.raises(QuestionError) as caught:
        Question.parse(PICTURE, "cat, dog", template, "tiny")
    assert str(caught.value).startswith(sentence)
    assert not isinstance(caught.value, IncompleteError)


def test_too_many_labels() -> None:
    with pytest.raises(QuestionError, match="These are 1,001 labels; at most 1,000"):
        Question.parse(PICTURE, "\n".join(f"label {i}" for i in range(1001)), TEMPLATE, "tiny")


@pytest.mark.parametrize("image", [{"url": "http://example.org/cat.jpg"}, {"path": None, "x": 1}])
def test_image_data_without_a_path(image: dict[str, Any]) -> None:
    with pytest.raises(QuestionError, match="did not arrive as a file: upload it once more"):
        Question.parse(image, "cat, dog", TEMPLATE, "tiny")


def test_an_unknown_framing() -> None:
    with pytest.raises(QuestionError, match="There is no square 'round': choose best, crop"):
        Question.parse(PICTURE, "cat, dog", TEMPLATE, "tiny", "round")


def test_shorten() -> None:
    assert shorten("cat") == "cat"
    assert shorten("x" * 60) == "x" * 60
    assert shorten("x" * 61) == "x" * 59 + "…"
