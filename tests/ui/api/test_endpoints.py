"""What goes deeper than /classify, asked over the network, against the core's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from clip_core import ZeroShotClassifier, heat_maps, none_of_these, tokenize
from prompts import label_sets, template_sets
from tests.running_app import RunningApp

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui/examples/cat.jpg"
COFFEE = CAT.with_name("coffee.jpg")
LABELS = ["cat", "dog", "rabbit"]


@pytest.fixture(scope="module")
def client(shared_app: RunningApp) -> Client:
    return Client(shared_app.address, verbose=False)


@pytest.fixture(scope="module")
def classifier() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


def ask(client: Client, endpoint: str, /, **arguments: Any) -> Any:
    return client.predict(api_name=f"/{endpoint}", **arguments)


def test_none_of_these(client: Client, classifier: ZeroShotClassifier) -> None:
    found = ask(client, "none_of_these", image=handle_file(CAT), labels="violin")
    expected = none_of_these(classifier, CAT, [["a photo of a violin."]])
    assert expected is not None
    assert found["chance"] == pytest.approx(expected.chance, abs=1e-4)
    assert found["is_none"] is True


def test_a_heat_map(client: Client, classifier: ZeroShotClassifier) -> None:
    drawn, numbers = ask(
        client, "heat_map", image=handle_file(CAT), label="cat", others="dog, rabbit"
    )
    maps = heat_maps(classifier, CAT, LABELS, [[f"a photo of a {x}."] for x in LABELS])
    assert np.abs(np.array(numbers["grid"]) - maps[0]).max() < 1e-4
    assert Image.open(drawn).size == (260, 260)


def test_by_template(client: Client, classifier: ZeroShotClassifier) -> None:
    table = ask(client, "by_template", image=handle_file(CAT), labels="cat, dog")
    rows = [dict(zip(table["headers"], row, strict=True)) for row in table["data"]]
    singles = [name for name in template_sets() if "{}" in name]
    assert [row["template"] for row in rows[::2]] == singles
    scores = classifier.classify(CAT, ["cat", "dog"], [singles[-1]])
    assert rows[-2]["score"] == pytest.approx(float(scores.probabilities[0]), rel=1e-3)


def test_hints(client: Client) -> None:
    (said,) = ask(client, "hints", image=handle_file(CAT), labels="cat, dog without fur")
    assert "dog with fur" in said


def test_similarity(client: Client, classifier: ZeroShotClassifier) -> None:
    found = ask(
        client,
        "similarity",
        image_1=handle_file(CAT),
        image_2=handle_file(COFFEE),
        texts="a cat\na cup of coffee\na dog",
    )
    texts = classifier.label_features([[text] for text in found["texts"]])
    for row, picture in zip(found["cosine_similarities"], (CAT, COFFEE), strict=True):
        assert (
            np.abs(np.array(row) - (texts @ classifier.image_features(picture)).numpy()).max()
            < 1e-4
        )
    assert np.allclose(np.sum(found["softmax_over_texts"], axis=1), 1, atol=1e-4)
    assert np.allclose(np.sum(found["softmax_over_pictures"], axis=0), 1, atol=1e-4)


def test_tokens(client: Client) -> None:
    found = ask(client, "tokens", text="a photo of a Samoyed.")
    numbers = [token["number"] for token in found["tokens"]]
    assert numbers == tokenize("a photo of a Samoyed.")[0, : found["count"]].tolist()
    assert found["fits"] is True
    assert ask(client, "tokens", text="word " * 90)["fits"] is False


def test_what_may_be_named(client: Client) -> None:
    assert [each["name"] for each in ask(client, "templates")] == list(template_sets())
    listed = ask(client, "label_sets")
    assert {each["name"] for each in listed} == {
        name for name, found in label_sets().items() if not found.about_people
    }
    (animals,) = ask(client, "label_sets", name=listed[0]["name"])
    assert len(animals["labels"]) == animals["count"]
    assert ask(client, "models")[0]["loaded"] is True


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("none_of_these", {"labels": ""}, "Type at least two labels"),
        ("heat_map", {"label": ""}, "Name the label to look for."),
        ("heat_map", {"label": "cat", "opacity": 3}, "from 0 to 1"),
        ("by_template", {"labels": "cat", "template": "x"}, "The template has no {}"),
        ("hints", {"labels": "cat, dog", "model": "x"}, "There is no model 'x' here"),
    ],
)
def test_what_is_wrong_is_said(
    client: Client, name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(AppError, match=said.replace("{", r"\{").replace("}", r"\}")):
        ask(client, name, image=handle_file(CAT), **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("prompts", {"labels": ""}, "at least one label"),
        ("tokens", {"text": "x" * 3000}, "shorten it"),
        ("label_sets", {"name": "none such"}, "none such"),
    ],
)
def test_what_is_wrong_without_a_model(
    client: Client, name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(AppError, match=said):
        ask(client, name, **arguments)
