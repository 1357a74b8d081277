from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ui.service.errors import IncompleteError, QuestionError
from ui.service.model_pool import ModelPool
from ui.service.question import (
    Question,
    model_crops,
    parse_question,
    score,
    shorten,
    translate_errors,
)

EXAMPLE = Path(__file__).parents[3] / "ui" / "examples" / "cat.jpg"
PICTURE = {"path": str(EXAMPLE), "orig_name": "My cat.jpg"}
TEMPLATE = "a photo of a {}."


def test_a_question_as_asked() -> None:
    asked = parse_question(PICTURE, "cat, dog", TEMPLATE, "tiny")
    assert asked == Question(
        str(EXAMPLE),
        "My cat.jpg",
        ("cat", "dog"),
        TEMPLATE,
        [["a photo of a cat."], ["a photo of a dog."]],
        "tiny",
    )


def test_a_set_of_templates_by_name() -> None:
    asked = parse_question(PICTURE, "cat, dog", "imagenet-7", "tiny")
    assert asked.template == "imagenet-7"
    assert [len(prompts) for prompts in asked.prompts] == [7, 7]
    assert asked.prompts[1][0] == "itap of a dog."


def test_the_picture_goes_by_the_name_its_owner_knows() -> None:
    assert parse_question({"path": str(EXAMPLE)}, "a, b", TEMPLATE, "tiny").picture == "cat.jpg"


def test_labels_with_braces_stay_literal() -> None:
    assert parse_question(PICTURE, ["{}", "{a}"], TEMPLATE, "tiny").prompts == [
        ["a photo of a {}."],
        ["a photo of a {a}."],
    ]


@pytest.mark.parametrize("image", [None, {}])
def test_no_picture(image: Any) -> None:
    with pytest.raises(IncompleteError, match=r"^Drop in a picture to get an answer\.$"):
        parse_question(image, "cat, dog", TEMPLATE, "tiny")


@pytest.mark.parametrize("labels", ["", " \n ", ",,", None, []])
def test_no_labels(labels: Any) -> None:
    with pytest.raises(IncompleteError, match=r"^Type at least two labels to get an answer\.$"):
        parse_question(PICTURE, labels, TEMPLATE, "tiny")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_too_little_memory_is_one_sentence(error: Exception) -> None:
    asked = parse_question(PICTURE, "cat, dog", TEMPLATE, "tiny")
    with (
        pytest.raises(QuestionError, match=r"^There is too little memory for this right now: "),
        translate_errors(asked),
    ):
        raise error
    with pytest.raises(RuntimeError, match="shapes"), translate_errors(asked):
        raise RuntimeError("shapes")


def test_one_label_is_answered(models: ModelPool, photo: dict[str, Any]) -> None:
    name = models.default
    scores = score(models, parse_question(photo, "cat", TEMPLATE, name))
    assert scores.probabilities.tolist() == [1.0]


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
        parse_question(PICTURE, "cat, dog", template, "tiny")
    assert str(caught.value).startswith(sentence)
    assert not isinstance(caught.value, IncompleteError)


def test_too_many_labels() -> None:
    with pytest.raises(QuestionError, match="These are 1,001 labels; at most 1,000"):
        parse_question(PICTURE, "\n".join(f"label {i}" for i in range(1001)), TEMPLATE, "tiny")


@pytest.mark.parametrize("template", [TEMPLATE, "imagenet-7"])
def test_the_label_above_77_tokens_is_named_with_its_count(
    template: str, models: ModelPool, photo: dict[str, Any]
) -> None:
    long = "dog " * 80
    asked = parse_question(photo, f"cat\n{long}\nfox", template, models.default)
    with pytest.raises(QuestionError) as caught:
        score(models, asked)
    message = str(caught.value)
    assert message.startswith("The label “dog dog dog ")
    found = re.search(r"has (\d+) tokens in its prompt, and the model reads at most 77", message)
    assert found
    # 80 words, start and end, and the template's own words
    assert 84 < int(found[1]) < 95
    assert len(message) < 200


def test_77_tokens_are_read(models: ModelPool, photo: dict[str, Any]) -> None:
    name = models.default
    asked = parse_question(photo, ["dog " * 75, "cat"], "{}", name)
    assert len(score(models, asked).labels) == 2
    with pytest.raises(QuestionError, match="has 78 tokens"):
        score(models, parse_question(photo, ["dog " * 76, "cat"], "{}", name))


def test_unknown_model_names_those_there_are(models: ModelPool, photo: dict[str, Any]) -> None:
    sentence = "^There is no model 'ViT' here: choose one of bundled, "
    with pytest.raises(QuestionError, match=sentence):
        score(models, parse_question(photo, "cat, dog", TEMPLATE, "ViT"))
    with pytest.raises(QuestionError, match=sentence):
        model_crops(models, "ViT", photo)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no picture at all" * 100, "This file is not a picture that can be read here"),
        (b"", "This file is empty; choose another picture."),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "This file is not a picture that can"),
    ],
)
def test_a_broken_picture(data: bytes, sentence: str, models: ModelPool, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    image = {"path": str(path), "orig_name": "broken.jpg"}
    for question in (
        lambda: score(models, parse_question(image, "cat, dog", TEMPLATE, models.default)),
        lambda: model_crops(models, models.default, image),
    ):
        with pytest.raises(QuestionError) as caught:
            question()
        assert str(caught.value).startswith(sentence)


def test_a_truncated_picture(models: ModelPool, photo: dict[str, Any]) -> None:
    whole = Path(photo["path"]).read_bytes()
    Path(photo["path"]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(QuestionError, match="This picture is broken"):
        score(models, parse_question(photo, "cat, dog", TEMPLATE, models.default))


def test_a_picture_that_is_gone_does_not_show_where_it_was(
    models: ModelPool, photo: dict[str, Any]
) -> None:
    """The page deletes uploads after a day; somebody's page may be open for longer."""
    Path(photo["path"]).unlink()
    for question in (
        lambda: score(models, parse_question(photo, "cat, dog", TEMPLATE, models.default)),
        lambda: model_crops(models, models.default, photo),
    ):
        with pytest.raises(QuestionError) as caught:
            question()
        assert str(caught.value) == "This picture is no longer here: upload it once more."


@pytest.mark.parametrize("image", [{"url": "http://example.org/cat.jpg"}, {"path": None, "x": 1}])
def test_image_data_without_a_path(image: dict[str, Any], models: ModelPool) -> None:
    with pytest.raises(QuestionError, match="did not arrive as a file: upload it once more"):
        parse_question(image, "cat, dog", TEMPLATE, "tiny")
    with pytest.raises(QuestionError, match="did not arrive as a file: upload it once more"):
        model_crops(models, models.default, image)


def test_see_gives_the_square(models: ModelPool, photo: dict[str, Any]) -> None:
    (square,) = model_crops(models, models.default, photo)
    assert square.size == (64, 64)
    assert square.mode == "RGB"
    assert len(model_crops(models, models.default, photo, "crops")) == 5


def test_the_framing_reaches_the_model(models: ModelPool) -> None:
    cat = {"path": str(Path(__file__).parents[3] / "ui/examples/cat.jpg")}
    answers = {
        framing: score(models, parse_question(cat, "cat, dog", TEMPLATE, models.default, framing))
        for framing in ("best", "crop", "pad", "squash", "crops")
    }
    assert {name: scores.framing for name, scores in answers.items()} == {
        name: name if name != "best" else "crop" for name in answers
    }
    cosines = {name: float(scores.cosine_similarities[0]) for name, scores in answers.items()}
    assert cosines["best"] == cosines["crop"]
    assert len(set(cosines.values())) == 4
    with pytest.raises(QuestionError, match="There is no square 'round': choose best, crop"):
        parse_question(cat, "cat, dog", TEMPLATE, models.default, "round")


def test_shorten() -> None:
    assert shorten("cat") == "cat"
    assert shorten("x" * 60) == "x" * 60
    assert shorten("x" * 61) == "x" * 59 + "…"
