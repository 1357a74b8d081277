"""Answers through `Inference`, and what becomes of everything that goes wrong on the way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clip_core.errors import InputError
from prompts import TemplateError
from ui.service.errors import IncompleteError, QuestionError, UnexpectedError
from ui.service.inference import Inference, translate_errors
from ui.service.model_pool import ModelPool
from ui.service.question import Question

EXAMPLE = Path(__file__).parents[3] / "ui" / "examples" / "cat.jpg"
TEMPLATE = "a photo of a {}."


@pytest.fixture
def inference(models: ModelPool) -> Inference:
    return Inference(models)


@pytest.fixture
def question(inference: Inference, photo: dict[str, Any]) -> Question:
    return Question.parse(photo, "cat, dog", TEMPLATE, inference.models.default)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_too_little_memory_is_one_sentence(error: Exception) -> None:
    with (
        pytest.raises(QuestionError, match=r"^There is too little memory for this right now: "),
        translate_errors("tiny"),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [InputError("Say what."), TemplateError("Say what."), QuestionError("Say what.")]
)
def test_an_error_for_people_keeps_its_sentence(error: Exception) -> None:
    with pytest.raises(QuestionError, match=r"^Say what\.$"), translate_errors("tiny"):
        raise error
    with pytest.raises(IncompleteError), translate_errors("tiny"):
        raise IncompleteError("Say what.")


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes"), ValueError("shapes"), KeyError("shapes")]
)
def test_a_bug_is_logged_and_is_not_the_visitors_mistake(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UnexpectedError) as caught, translate_errors("tiny"):
        raise error
    assert str(caught.value) == "Something went wrong here: try again, or reload the page."
    told, record = caplog.records
    assert (told.message, told.levelname) == ("problem", "ERROR")
    assert record.exc_info
    assert record.exc_info[1] is error


def test_one_label_is_answered(inference: Inference, photo: dict[str, Any]) -> None:
    name = inference.models.default
    scores = inference.score(Question.parse(photo, "cat", TEMPLATE, name))
    assert scores.probabilities.tolist() == [1.0]


@pytest.mark.parametrize("template", [TEMPLATE, "imagenet-7"])
def test_the_label_above_77_tokens_is_named_with_its_count(
    template: str, inference: Inference, photo: dict[str, Any]
) -> None:
    long = "dog " * 80
    asked = Question.parse(photo, f"cat\n{long}\nfox", template, inference.models.default)
    with pytest.raises(QuestionError) as caught:
        inference.score(asked)
    message = str(caught.value)
    assert message.startswith("The label “dog dog dog ")
    found = re.search(r"has (\d+) tokens in its prompt, and the model reads at most 77", message)
    assert found
    # 80 words, start and end, and the template's own words
    assert 84 < int(found[1]) < 95
    assert len(message) < 200


def test_77_tokens_are_read(inference: Inference, photo: dict[str, Any]) -> None:
    name = inference.models.default
    asked = Question.parse(photo, ["dog " * 75, "cat"], "{}", name)
    assert len(inference.score(asked).labels) == 2
    with pytest.raises(QuestionError, match="has 78 tokens"):
        inference.score(Question.parse(photo, ["dog " * 76, "cat"], "{}", name))


def test_unknown_model_names_those_there_are(inference: Inference, photo: dict[str, Any]) -> None:
    sentence = "^There is no model 'ViT' here: choose one of bundled, "
    with pytest.raises(QuestionError, match=sentence):
        inference.score(Question.parse(photo, "cat, dog", TEMPLATE, "ViT"))
    with pytest.raises(QuestionError, match=sentence):
        inference.crops("ViT", photo)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no picture at all" * 100, "This file is not a picture that can be read here"),
        (b"", "This file is empty; choose another picture."),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "This file is not a picture that can"),
    ],
)
def test_a_broken_picture(data: bytes, sentence: str, inference: Inference, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    image = {"path": str(path), "orig_name": "broken.jpg"}
    for question in (
        lambda: inference.score(
            Question.parse(image, "cat, dog", TEMPLATE, inference.models.default)
        ),
        lambda: inference.crops(inference.models.default, image),
    ):
        with pytest.raises(QuestionError) as caught:
            question()
        assert str(caught.value).startswith(sentence)


def test_a_truncated_picture(inference: Inference, photo: dict[str, Any]) -> None:
    whole = Path(photo["path"]).read_bytes()
    Path(photo["path"]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(QuestionError, match="This picture is broken"):
        inference.score(Question.parse(photo, "cat, dog", TEMPLATE, inference.models.default))


def test_a_picture_that_is_gone_does_not_show_where_it_was(
    inference: Inference, photo: dict[str, Any]
) -> None:
    """The page deletes uploads after a day; somebody's page may be open for longer."""
    Path(photo["path"]).unlink()
    for question in (
        lambda: inference.score(
            Question.parse(photo, "cat, dog", TEMPLATE, inference.models.default)
        ),
        lambda: inference.crops(inference.models.default, photo),
    ):
        with pytest.raises(QuestionError) as caught:
            question()
        assert str(caught.value) == "This picture is no longer here: upload it once more."


def test_see_gives_the_square(inference: Inference, photo: dict[str, Any]) -> None:
    (square,) = inference.crops(inference.models.default, photo)
    assert square.size == (64, 64)
    assert square.mode == "RGB"
    assert len(inference.crops(inference.models.default, photo, "crops")) == 5


def test_the_framing_reaches_the_model(inference: Inference) -> None:
    cat = {"path": str(Path(__file__).parents[3] / "ui/examples/cat.jpg")}
    answers = {
        framing: inference.score(
            Question.parse(cat, "cat, dog", TEMPLATE, inference.models.default, framing)
        )
        for framing in ("best", "crop", "pad", "squash", "crops")
    }
    assert {name: scores.framing for name, scores in answers.items()} == {
        name: name if name != "best" else "crop" for name in answers
    }
    cosines = {name: float(scores.cosine_similarities[0]) for name, scores in answers.items()}
    assert cosines["best"] == cosines["crop"]
    assert len(set(cosines.values())) == 4
    with pytest.raises(QuestionError, match="There is no square 'round': choose best, crop"):
        inference.crops(inference.models.default, cat, "round")


def test_each_template_is_answered(inference: Inference, question: Question) -> None:
    answers = inference.score_each(question, ["{}", "a photo of a {}."])
    assert [answer.prompts for answer in answers] == [
        (("cat",), ("dog",)),
        (("a photo of a cat.",), ("a photo of a dog.",)),
    ]
    torch.testing.assert_close(answers[1].logits, inference.score(question).logits)


def test_a_heat_map_for_each_label(inference: Inference, question: Question) -> None:
    square, maps = inference.heat_maps(question)
    assert square.size == (64, 64)
    assert len(maps) == 2


def test_hints_come_from_the_model(inference: Inference, photo: dict[str, Any]) -> None:
    asked = Question.parse(photo, "no cat, dog", TEMPLATE, inference.models.default)
    hints = inference.hints(asked, inference.score(asked))
    assert any("hardly reads the denial" in hint for hint in hints)


def test_images_are_compared_with_the_first_questions_texts(
    inference: Inference, question: Question
) -> None:
    other = Question.parse({"path": str(EXAMPLE)}, "cat, dog", TEMPLATE, question.model)
    found = inference.similarity([question, other])
    assert found.logits.shape == (2, 2)
    np.testing.assert_allclose(found.logits[0], inference.score(question).logits, rtol=1e-4)


def test_encoded_images_are_ranked_searched_and_compared(
    inference: Inference, question: Question
) -> None:
    model = question.model
    square = np.asarray(inference.crops(model, {"path": question.path})[0])
    assert square.shape[0] == inference.input_resolution(model)
    features = inference.encode(model, [square[None]] * 2)
    assert features.shape == (2, 64)
    scores = inference.score(question)
    ranking = inference.rank(model, features, question.labels, question.prompts)
    np.testing.assert_allclose(ranking.probabilities[1], scores.probabilities, rtol=1e-4)
    query = inference.query(model, {"cat": ["a photo of a cat."]}, {})
    np.testing.assert_allclose(features[0] @ query, scores.cosine_similarities[0], rtol=1e-4)
    like = inference.query(model, {}, {"dog": ["a dog"]}, features[0])
    assert like.shape == (64,)
    (variant,) = inference.score_variants(
        model, features, question.labels, [("first", question.prompts)]
    )
    assert variant.name == "first"
    long = {"dog " * 80: ["dog " * 80]}
    with pytest.raises(QuestionError, match="The label “dog dog"):
        inference.query(model, long, {})


def test_a_trace_begins_with_the_visitors_own_pair(
    inference: Inference, question: Question
) -> None:
    examples = inference.trace(question.model)
    assert not examples.is_yours
    assert examples.captions[0] == "a photo of a tabby cat."
    trace = inference.trace(question.model, question)
    assert trace.is_yours
    assert trace.captions[0] in ("a photo of a cat.", "a photo of a dog.")
    assert trace.captions[1:] == examples.captions[:-1]
    assert trace.similarities.logits.shape == (5, 5)
