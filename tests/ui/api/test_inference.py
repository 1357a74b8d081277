"""The endpoint /classify, asked over the network as anyone's program would ask it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.running_app import RunningApp

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui" / "examples" / "cat.jpg"


@pytest.fixture(scope="module")
def address(shared_app: RunningApp) -> str:
    return shared_app.address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def classify(client: Client, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = {"image": handle_file(str(CAT))} | parameters
    return client.predict(**parameters, api_name="/classify")


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["headers"], row, strict=True)) for row in table["data"]]


def test_named_endpoints_and_these_parameters(client: Client) -> None:
    api = client.view_api(return_format="dict", print_info=False)
    names = ("classify", "none_of_these", "heat_map", "by_template", "hints", "similarity")
    more = ("models", "prompts", "tokens", "templates", "label_sets")
    assert list(api["named_endpoints"]) == [f"/{name}" for name in names + more]
    assert api["unnamed_endpoints"] == {}
    parameters = api["named_endpoints"]["/classify"]["parameters"]
    assert [(p["parameter_name"], p["parameter_has_default"]) for p in parameters] == [
        ("image", False),
        ("labels", False),
        ("template", True),
        ("model", True),
        ("framing", True),
    ]
    assert [p["parameter_default"] for p in parameters[2:]] == [
        "a photo of a {}.",
        "bundled",
        "best",
    ]
    returns = api["named_endpoints"]["/classify"]["returns"]
    assert [value["component"] for value in returns] == ["Label", "Dataframe"]


def test_defaults(client: Client) -> None:
    label, table = classify(client, labels="cat, dog\n")
    found = rows(table)
    assert [row["rank"] for row in found] == [1, 2]
    assert {row["label"] for row in found} == {"cat", "dog"}
    assert {row["prompt"] for row in found} == {"a photo of a cat.", "a photo of a dog."}
    assert sum(row["score"] for row in found) == pytest.approx(1, abs=1e-3)
    assert label["label"] == found[0]["label"]
    shares = {entry["label"]: entry["confidence"] for entry in label["confidences"]}
    assert shares == pytest.approx({row["label"]: row["score"] for row in found}, rel=1e-3)


def test_a_template_changes_prompts_and_answer(client: Client) -> None:
    _, plain = classify(client, labels="cat;dog;owl")
    _, sketch = classify(client, labels="cat;dog;owl", template="a sketch of {a} {}.")
    prompts = {row["label"]: row["prompt"] for row in rows(sketch)}
    assert prompts == {
        "cat": "a sketch of a cat.",
        "dog": "a sketch of a dog.",
        "owl": "a sketch of an owl.",
    }
    cosines = [
        sorted((row["label"], row["cosine similarity"]) for row in rows(t)) for t in (plain, sketch)
    ]
    assert cosines[0] != cosines[1]


def test_a_set_of_templates_by_name(client: Client) -> None:
    _, table = classify(client, labels="cat\ndog", template="imagenet-7", model="bundled")
    assert {row["prompt"] for row in rows(table)} == {
        "itap of a cat. (+6 more)",
        "itap of a dog. (+6 more)",
    }


def test_all_labels_come_back(client: Client) -> None:
    labels = [f"label {i}" for i in range(200)]
    label, table = classify(client, labels="\n".join(labels))
    assert len(label["confidences"]) == len(table["data"]) == 200
    assert {row["label"] for row in rows(table)} == set(labels)
    scores = [row["score"] for row in rows(table)]
    assert scores == sorted(scores, reverse=True)


def test_labels_come_back_literally(client: Client) -> None:
    labels = ["<b>cat</b>", "<img src=x onerror=alert(1)>", "{} & {a}", "=1+2"]
    label, table = classify(client, labels="\n".join(labels))
    assert {row["label"] for row in rows(table)} == set(labels)
    assert {entry["label"] for entry in label["confidences"]} == set(labels)
    assert {row["prompt"] for row in rows(table)} == {f"a photo of a {name}." for name in labels}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"labels": ""}, "Type at least two labels to get an answer."),
        ({"image": None, "labels": "cat, dog"}, "Drop in a picture to get an answer."),
        ({"labels": "cat, dog", "template": "a photo"}, "The template has no {}; write {} where"),
        ({"labels": "cat, dog", "template": "{} {}"}, "The template has {} 2 times; keep the one"),
        (
            {"labels": "cat, dog", "model": "ViT"},
            "There is no model 'ViT' here: choose one of bundled",
        ),
        ({"labels": "\n".join(map(str, range(1001)))}, "These are 1,001 labels; at most 1,000"),
        ({"labels": "cat\n" + "dog " * 80}, "The label “dog dog dog"),
        # an error is shown as HTML by gradio's own page: its text must not become elements
        ({"labels": "<b>&" + "dog " * 80 + ";cat"}, "The label “&lt;b&gt;&amp;dog dog"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    parameters: dict[str, Any], sentence: str, client: Client
) -> None:
    with pytest.raises(AppError) as caught:
        classify(client, **parameters)
    assert str(caught.value).startswith(sentence)


def test_a_broken_picture(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture " * 100)
    with pytest.raises(AppError, match="This file is not a picture that can be read here"):
        classify(client, image=handle_file(str(broken)), labels="cat, dog")


def post(address: str, data: list[Any]) -> str:
    """Asks without the client, which would upload the file; the events that come back."""
    url = f"{address}/gradio_api/call/classify"
    posted = httpx.post(url, json={"data": data})
    if posted.status_code != httpx.codes.OK:
        return posted.text
    with httpx.stream("GET", f"{url}/{posted.json()['event_id']}", timeout=300) as events:
        return events.read().decode()


@pytest.mark.parametrize("path", [str(CAT), str(ROOT / "app.py"), "/etc/hostname", "/etc/passwd"])
def test_files_of_the_server_are_not_read(path: str, address: str) -> None:
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    events = post(address, [image, "cat, dog", "{}", "bundled", "best"])
    assert "confidences" not in events
    assert "error" in events
    assert path not in events


def test_a_label_list_in_json(client: Client, address: str) -> None:
    with CAT.open("rb") as file:
        uploaded = httpx.post(f"{address}/gradio_api/upload", files={"files": file}).json()
    image = {"path": uploaded[0], "meta": {"_type": "gradio.FileData"}}
    events = post(address, [image, ["a cat, asleep", "dog"], "{}", "bundled", "best"])
    data = next(line for line in events.splitlines() if line.startswith("data: "))
    _, table = json.loads(data.removeprefix("data: "))
    assert {row["label"] for row in rows(table)} == {"a cat, asleep", "dog"}


def test_several_clients_at_once_get_their_own_answers(address: str, tmp_path: Path) -> None:
    def ask(number: int) -> tuple[list[str], list[float]]:
        picture = tmp_path / f"{number}.png"
        Image.linear_gradient("L").rotate(90 * (number % 4)).convert("RGB").save(picture)
        labels = [f"thing {number} {i}" for i in range(20)]
        _, table = classify(
            Client(address, verbose=False),
            image=handle_file(str(picture)),
            labels="\n".join(labels),
            template="{}",
        )
        found = sorted(rows(table), key=lambda row: labels.index(row["label"]))
        return [row["label"] for row in found], [row["cosine similarity"] for row in found]

    with ThreadPoolExecutor(6) as askers:
        together = list(askers.map(ask, range(6)))
    for number, (labels, cosines) in enumerate(together):
        assert labels == [f"thing {number} {i}" for i in range(20)]
        assert cosines == ask(number)[1]
