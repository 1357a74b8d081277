from __future__ import annotations

import csv
import errno
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core import Scores
from clip_core.batch.tables import disarm
from ui.service.errors import QuestionError
from ui.service.export import to_csv, to_json, write_files, write_squares
from ui.service.question import Question

COLUMNS = ["rank", "label", "prompt", "probability", "cosine_similarity", "logit"]


def question(
    picture: str = "My cat.jpg", template: str = "a photo of a {}.", labels: tuple[str, ...] = ()
) -> Question:
    return Question("/uploads/x/My cat.jpg", picture, labels, template, [], "tiny.safetensors")


def read_back(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_every_label_in_full_precision(make_scores: Callable[..., Scores]) -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(50)).astype(np.float32)
    scores = make_scores([f"label {i}" for i in range(50)], shares)
    rows = read_back(to_csv(scores))
    assert list(rows[0]) == COLUMNS
    assert [int(row["rank"]) for row in rows] == list(range(1, 51))
    best_first = np.argsort(-scores.logits, kind="stable")
    assert [row["label"] for row in rows] == [scores.labels[i] for i in best_first]
    for column, values in (
        ("probability", scores.probabilities),
        ("cosine_similarity", scores.cosine_similarities),
        ("logit", scores.logits),
    ):
        read = np.array([float(row[column]) for row in rows], dtype=np.float32)
        np.testing.assert_array_equal(read, values[best_first])


@pytest.mark.parametrize(
    "formula", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")']
)
def test_no_cell_is_a_formula(formula: str, make_scores: Callable[..., Scores]) -> None:
    assert disarm(formula) == f"'{formula}"
    rows = read_back(to_csv(make_scores([formula, "cat"], [0.6, 0.4], [[formula], ["cat"]])))
    assert rows[0]["label"] == rows[0]["prompt"] == f"'{formula}"
    assert rows[1]["label"] == "cat"
    assert float(rows[0]["probability"]) == np.float32(0.6)


@pytest.mark.parametrize(
    "text",
    [
        'a "quoted" cat',
        "a cat, asleep",
        "two\nlines",
        "猫",
        "👩\u200d🚀",
        "<b>cat</b>",
        "a=b",
        "'x",
        ";",
    ],
)
def test_awkward_labels_survive_csv_and_json(text: str, make_scores: Callable[..., Scores]) -> None:
    scores = make_scores([text, "dog"], [0.6, 0.4], [[f"a {text}"], ["a dog"]])
    row = read_back(to_csv(scores))[0]
    assert (row["label"], row["prompt"]) == (text, f"a {text}")
    entry = json.loads(to_json(scores, question()))["scores"][0]
    assert (entry["label"], entry["prompts"]) == (text, [f"a {text}"])


def test_json_holds_every_prompt_of_an_ensemble(make_scores: Callable[..., Scores]) -> None:
    prompts = [[f"picture {i} of {label}" for i in range(7)] for label in ("cat", "dog")]
    scores = make_scores(["cat", "dog"], [0.3, 0.7], prompts)
    answer = json.loads(to_json(scores, question(template="imagenet-7")))
    assert answer["picture"] == "My cat.jpg"
    assert answer["model"] == "tiny.safetensors"
    assert answer["template"] == "imagenet-7"
    assert [entry["label"] for entry in answer["scores"]] == ["dog", "cat"]
    assert [entry["prompts"] for entry in answer["scores"]] == prompts[::-1]
    assert [np.float32(entry["probability"]) for entry in answer["scores"]] == [
        np.float32(0.7),
        np.float32(0.3),
    ]
    csv_row = read_back(to_csv(scores))[0]
    assert csv_row["prompt"] == "picture 0 of dog (+6 more)"


def test_files_have_telling_names_in_a_folder_nobody_guesses(
    tmp_path: Path, make_scores: Callable[..., Scores]
) -> None:
    scores = make_scores(["cat", "dog"], [0.6, 0.4])
    paths = [Path(path) for _ in range(2) for path in write_files(scores, question(), tmp_path)]
    assert [path.name for path in paths[:2]] == [
        "scores-my-cat-2-labels-tiny.csv",
        "scores-my-cat-2-labels-tiny.json",
    ]
    first, again = paths[0].parent, paths[2].parent
    assert first != again, "an answer must not overwrite another"
    assert first.parent == again.parent == tmp_path
    assert re.fullmatch("[0-9a-f]{32}", first.name)
    assert read_back(paths[0].read_text(encoding="utf-8"))[0]["label"] == "cat"
    assert json.loads(paths[1].read_text(encoding="utf-8"))["scores"][1]["label"] == "dog"


@pytest.mark.parametrize(
    ("picture", "part"),
    [
        ("../../etc/passwd", "passwd"),
        ("a/b\\c d.png", "b-c-d"),
        ("猫.jpg", "picture"),
        ("<script>.svg", "script"),
        ("x" * 300 + ".jpg", "x" * 40),
        (".jpg", "jpg"),
        ("con\x00\n.jpg", "con"),
    ],
)
def test_file_names_are_plain_whatever_the_picture_is_called(
    picture: str, part: str, tmp_path: Path, make_scores: Callable[..., Scores]
) -> None:
    scores = make_scores(["cat", "dog"], [0.6, 0.4])
    path = Path(write_files(scores, question(picture), tmp_path)[0])
    assert path.parent.parent == tmp_path
    assert path.name == f"scores-{part}-2-labels-tiny.csv"


def test_several_squares_are_one_sheet(tmp_path: Path) -> None:
    colours = ["red", "green", "blue", "black"]
    squares = [Image.new("RGB", (10, 10), colour) for colour in colours]
    sheet = Image.open(write_squares(squares, tmp_path))
    assert sheet.size == (42, 26)
    assert sheet.getpixel((35, 5)) == (0, 0, 255)
    assert sheet.getpixel((5, 20)) == (0, 0, 0)
    assert sheet.getpixel((20, 20)) == (255, 255, 255)


def test_a_square_never_overwrites_another(tmp_path: Path) -> None:
    square = Image.new("RGB", (4, 4), "red")
    paths = {write_squares([square], tmp_path) for _ in range(3)}
    assert len(paths) == 3
    assert all(Image.open(path).getpixel((0, 0)) == (255, 0, 0) for path in paths)


def test_what_cannot_be_written_is_one_sentence(
    make_scores: Callable[..., Scores], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_bytes(b"")  # a file where the folder should be
    with pytest.raises(QuestionError, match=r"^The page can't write its files \(.+\): try again "):
        write_files(make_scores(["cat"], [1.0]), question(), tmp_path / "taken")


def test_half_an_answer_is_not_left(
    make_scores: Callable[..., Scores], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ui.service.export.to_json", fill)
    with pytest.raises(QuestionError, match=r"\(no space left on device\)"):
        write_files(make_scores(["cat"], [1.0]), question(), tmp_path)
    assert list(tmp_path.iterdir()) == []
