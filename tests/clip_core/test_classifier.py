"""Encode once, ask often: right answers, and nothing computed twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clip_core import ImageError, TextTooLongError, ZeroShotClassifier, load, tokenize
from clip_core.inference.batcher import Batcher
from clip_core.preprocess import CROPS

CAT = Path(__file__).parents[2] / "ui/examples/cat.jpg"
COFFEE = CAT.with_name("coffee.jpg")


@pytest.fixture
def classifier(tiny_model: Path) -> ZeroShotClassifier:
    return ZeroShotClassifier(tiny_model, device="cpu")


class Counted:
    """Counts the rows that go through one of the encoder's methods."""

    def __init__(self, method: Callable[..., torch.Tensor]) -> None:
        self.method, self.rows = method, 0

    def __call__(self, batch: torch.Tensor, *more: Any) -> torch.Tensor:
        self.rows += len(batch)
        return self.method(batch, *more)


@pytest.fixture
def forwards(
    classifier: ZeroShotClassifier, monkeypatch: pytest.MonkeyPatch
) -> tuple[Counted, Counted]:
    images = Counted(classifier._encoder.encode_image)
    texts = Counted(classifier._encoder.encode_text)
    monkeypatch.setattr(classifier._encoder, "encode_image", images)
    monkeypatch.setattr(classifier._encoder, "encode_text", texts)
    return images, texts


def test_agrees_with_the_plain_model(classifier: ZeroShotClassifier, tiny_model: Path) -> None:
    model, preprocess = load(tiny_model, device="cpu")
    labels = ["cat", "a much longer description of a dog", "x"]
    with torch.no_grad():
        logits, _ = model(
            preprocess(Image.open(CAT)).unsqueeze(0), tokenize([f"a {x}" for x in labels])
        )
    scores = classifier.classify(CAT, labels, ["a {}"])
    np.testing.assert_allclose(scores.logits, logits[0], atol=1e-4)
    np.testing.assert_allclose(scores.probabilities, logits.softmax(-1)[0], atol=1e-5)
    assert scores.labels == tuple(labels)
    assert scores.prompts == tuple((f"a {x}",) for x in labels)


def test_ensemble_is_the_papers(classifier: ZeroShotClassifier) -> None:
    templates = ["a {}", "the {} in a very long sentence", "{}"]
    scores = classifier.classify(CAT, ["cat", "dog"], templates)
    with torch.inference_mode():
        image = classifier.pixels(CAT)
        image = F.normalize(classifier.model.encode_image(image), dim=-1)[0]
        for label, cosine in zip(scores.labels, scores.cosine_similarities, strict=True):
            texts = tokenize([template.replace("{}", label) for template in templates])
            each = F.normalize(classifier.model.encode_text(texts), dim=-1)
            mean = F.normalize(each.mean(dim=0), dim=-1)
            assert float(mean @ image) == pytest.approx(float(cosine), abs=1e-5)


def test_second_question_on_a_picture_runs_no_image_forward(
    classifier: ZeroShotClassifier, forwards: tuple[Counted, Counted]
) -> None:
    images, _ = forwards
    for form in (CAT, str(CAT), CAT.read_bytes()):
        scores = classifier.classify(form, ["cat", "dog"])
        assert scores.cached.image == (form is not CAT)
    assert images.rows == 1
    for _ in range(2):
        opened = classifier.classify(Image.open(CAT), ["fox", "owl"])
    assert opened.cached.image
    assert images.rows == 2  # decoded pixels are content of another kind than a file's bytes


def test_another_picture_is_not_mistaken(
    classifier: ZeroShotClassifier, forwards: tuple[Counted, Counted]
) -> None:
    first = classifier.classify(CAT, ["cat", "dog"])
    second = classifier.classify(COFFEE, ["cat", "dog"])
    assert forwards[0].rows == 2
    assert not second.cached.image
    assert second.cached.texts == 2
    assert not np.allclose(first.logits, second.logits)


def test_only_new_labels_are_encoded(
    classifier: ZeroShotClassifier, forwards: tuple[Counted, Counted]
) -> None:
    _, texts = forwards
    assert classifier.classify(CAT, ["cat", "dog"]).cached.texts == 0
    assert classifier.classify(CAT, ["dog", "fox", "cat"]).cached.texts == 2
    assert texts.rows == 3
    assert classifier.classify(CAT, ["dog"], ["a {}"]).cached.texts == 0
    assert texts.rows == 4


def test_same_label_twice_is_encoded_once(
    classifier: ZeroShotClassifier, forwards: tuple[Counted, Counted]
) -> None:
    scores = classifier.classify(CAT, ["cat", "cat"])
    assert forwards[1].rows == 1
    assert scores.logits[0] == pytest.approx(scores.logits[1], abs=1e-5)


def test_scores(classifier: ZeroShotClassifier) -> None:
    scores = classifier.classify(CAT, [f"label {i}" for i in range(1000)])
    assert scores.probabilities.dtype == scores.logits.dtype == np.float32
    assert scores.probabilities.sum() == pytest.approx(1, abs=1e-5)
    scale = classifier.model.logit_scale.exp().item()
    np.testing.assert_allclose(scores.logits, scale * scores.cosine_similarities, rtol=1e-5)
    assert (scores.model, scores.device) == ("tiny.safetensors", "cpu")
    frame = scores.to_frame()
    assert set(frame) == {
        "label",
        "prompt",
        "probability",
        "logit",
        "cosine_similarity",
        "rank",
    }
    assert list(frame["rank"]) == list(range(1, 1001))
    assert frame["logit"].is_monotonic_decreasing
    best = int(scores.logits.argmax())
    assert frame["label"][0] == f"label {best}"
    assert frame["probability"][0] == scores.probabilities[best]


def test_frame_says_how_many_prompts(classifier: ZeroShotClassifier) -> None:
    frame = classifier.classify(CAT, ["cat"], ["a {}", "the {}", "{}"]).to_frame()
    assert list(frame["prompt"]) == ["a cat (+2 more)"]


def test_labels_stay_literal(classifier: ZeroShotClassifier) -> None:
    label = "{0.__class__} {} {a}"
    assert classifier.classify(CAT, [label, "x"], ["a {}"]).prompts[0] == (f"a {label}",)


@pytest.mark.parametrize(
    ("labels", "templates", "says"),
    [([], ["{}"], "label"), (["cat"], ["no place"], "exactly once"), (["cat"], [], "prompt")],
)
def test_bad_questions(
    classifier: ZeroShotClassifier, labels: list[str], templates: list[str], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        classifier.classify(CAT, labels, templates)


def test_two_places_in_a_template(classifier: ZeroShotClassifier) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        classifier.classify(CAT, ["cat"], ["{} {}"])


def test_errors_of_its_parts(classifier: ZeroShotClassifier) -> None:
    with pytest.raises(ImageError):
        classifier.classify(b"junk", ["cat"])
    with pytest.raises(TextTooLongError) as caught:
        classifier.classify(CAT, ["dog " * 90])
    assert caught.value.tokens == 92


def test_threads_get_their_own_answers(classifier: ZeroShotClassifier) -> None:
    questions = [(path, f"label {i}") for i in range(20) for path in (CAT, COFFEE)]
    expected = [
        float(ZeroShotClassifier(classifier.model, "cpu").classify(p, [x]).logits[0])
        for p, x in questions
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda q: float(classifier.classify(q[0], [q[1]]).logits[0]), questions)
        )
    np.testing.assert_allclose(answers, expected, atol=1e-4)


def test_each_framing_has_features_of_its_own(
    classifier: ZeroShotClassifier, forwards: tuple[Counted, Counted]
) -> None:
    wide = Image.open(CAT).resize((90, 64))
    answers = {}
    for framing in (None, "crop", "pad", "squash", "crops", "crops"):
        answers[framing] = classifier.classify(wide, ["cat", "dog"], framing=framing)
    assert forwards[0].rows == 1 + 1 + 1 + CROPS
    assert answers[None].framing == "crop"
    assert answers["crops"].cached.image
    with torch.inference_mode():
        pixels = classifier.pixels(wide, "crops")
        each = F.normalize(classifier.model.encode_image(pixels), dim=-1)
        text = F.normalize(classifier.model.encode_text(tokenize(["cat", "dog"])), dim=-1)
        expected = F.normalize(each.mean(0), dim=-1) @ text.T
    np.testing.assert_allclose(answers["crops"].cosine_similarities, expected, atol=1e-5)
    with pytest.raises(ValueError, match="There is no framing 'round'"):
        classifier.classify(wide, ["cat"], framing="round")


def test_default_template_comes_from_the_file(classifier: ZeroShotClassifier) -> None:
    assert classifier.default_template == "a photo of a {}."
    assert ZeroShotClassifier(classifier.model, "cpu").default_template is None


def test_in_turns_each_gets_the_answer_to_their_own_picture(tiny_model: Path) -> None:
    alone = ZeroShotClassifier(tiny_model, device="cpu")
    together = ZeroShotClassifier(tiny_model, device="cpu", turns=Batcher())
    encode, sizes = together._encoder.encode_image, []

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        return encode(pixels)

    together._encoder.encode_image = counted  # type: ignore[method-assign]
    cat = Image.open(CAT).convert("RGB")
    pictures = [cat.rotate(angle).resize((80, 64)) for angle in range(0, 360, 9)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: together.classify(each, ["cat", "dog"]), pictures))
    for picture, scores in zip(pictures, found, strict=True):
        expected = alone.classify(picture, ["cat", "dog"]).cosine_similarities
        np.testing.assert_allclose(scores.cosine_similarities, expected, atol=1e-5)
    assert sum(sizes) == len(pictures)
    assert max(sizes) > 1


def test_many_labels_leave_turns_to_others(tiny_model: Path) -> None:
    turns, seen = Batcher(), []
    classifier = ZeroShotClassifier(tiny_model, device="cpu", turns=turns)
    run = turns.run

    def noted(work: Callable[[], Any]) -> Any:
        seen.append(work)
        return run(work)

    turns.run = noted  # type: ignore[method-assign]
    classifier.label_features([[f"thing number {number}"] for number in range(1000)])
    assert len(seen) >= 4


def test_what_goes_wrong_in_a_turn_is_heard(tiny_model: Path) -> None:
    classifier = ZeroShotClassifier(tiny_model, device="cpu", turns=Batcher())
    with pytest.raises(ImageError):
        classifier.classify(b"no picture", ["cat"])
    with pytest.raises(ZeroDivisionError):
        classifier.in_turn(lambda: 1 // 0)
    assert classifier.classify(CAT, ["cat", "dog"]).labels == ("cat", "dog")
