from __future__ import annotations

import csv
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clip_core.batch.inputs import InputItem
from clip_core.cli import evaluate as evaluate_module
from clip_core.cli.evaluate import compare_on
from clip_core.cli.main import main
from clip_core.evaluation.dataset import (
    find_labelled,
    folder_labels,
    parse_aliases,
    read_aliases,
    read_label_table,
)
from clip_core.evaluation.statistics import Variant

ROOT = Path(__file__).parents[3]
TRUTH = {"cat.jpg": "cat", "coffee.jpg": "cup", "horse.png": "horse", "chart.png": "bar chart"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, label in TRUTH.items():
        (tmp_path / "pictures" / label).mkdir(parents=True)
        shutil.copy(ROOT / "ui/examples" / name, tmp_path / "pictures" / label / name)
    return tmp_path / "pictures"


def test_a_folder_for_each_label_or_a_csv_or_a_zip(folder: Path, tmp_path: Path) -> None:
    (folder / "loose.jpg").write_bytes(b"in no folder")
    table = tmp_path / "labels.csv"
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(["Label", "File"])
        rows.writerows([label, f"pictures/{label}/{name}"] for name, label in TRUTH.items())
    shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "pictures")
    for path in (folder, table, tmp_path / "zipped.zip"):
        found = {Path(source.name).name: label for source, label in find_labelled(path)}
        assert found == TRUTH


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/2021/t.jpg", "dog/u.jpg", "v.jpg"], ["cat", "dog", None]),
        (["pics/cat/2021/t.jpg", "pics/dog/u.jpg", "pics/v.jpg"], ["cat", "dog", None]),
        (["all/cat/1.jpg", "all/cup/2.jpg", "loose.jpg"], ["cat", "cup", None]),
        (["a/b/cat/1.jpg", "a/b/dog/2.jpg"], ["cat", "dog"]),
        (["cat\\1.jpg", "dog\\2.jpg"], ["cat", "dog"]),
        (["cat/1.jpg", "cat/2.jpg"], ["cat", "cat"]),
        (["1.jpg", "2.jpg"], [None, None]),
        (["/./cat/1.jpg", "../dog/2.jpg"], ["cat", "dog"]),
        ([], []),
    ],
)
def test_the_first_folder_is_the_label(names: list[str], labels: list[str | None]) -> None:
    assert folder_labels(names) == labels


def test_deep_folders_have_the_label_of_the_first(folder: Path) -> None:
    (folder / "cat/2021").mkdir()
    shutil.move(folder / "cat/cat.jpg", folder / "cat/2021/t.jpg")
    found = {Path(source.name).name: label for source, label in find_labelled(folder)}
    assert found["t.jpg"] == "cat"


def test_what_is_no_table_of_labels(tmp_path: Path) -> None:
    table = read_label_table("x.csv", b"a.jpg,cat\nb.jpg,dog\n\n")
    assert table == {"a.jpg": "cat", "b.jpg": "dog"}
    for head in ("image_path,label", "file_name,class", "filepath,category"):
        assert read_label_table("x.csv", f"{head}\na.jpg,cat\n".encode()) == {"a.jpg": "cat"}
    for data, problem in (
        (b"one\ntwo", "two columns"),
        (b"", "is empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"photo,label\na.jpg,cat\n", "only one of its two columns"),
        (b"path,kind\na.jpg,cat\n", "only one of its two columns"),
    ):
        with pytest.raises(ValueError, match=problem):
            read_label_table("x.csv", data)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="No labelled pictures"):
        find_labelled(tmp_path)


def test_wordings(tmp_path: Path) -> None:
    assert parse_aliases("cat = a cat = feline\n\n dog=hound ") == {
        "cat": "a cat = feline",
        "dog": "hound",
    }
    with pytest.raises(ValueError, match="must be a label, =, and its other wording"):
        parse_aliases("cat")
    path = tmp_path / "mine.csv"
    path.write_text('cat,"a cat, asleep"\n')
    wording = read_aliases(path)
    assert wording.name == "mine"
    assert wording.of(["cat", "dog"]) == ["a cat, asleep", "dog"]


def test_the_command_compares_templates_and_wordings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "wrong words.txt"
    words.write_text("cat = horse\nhorse = cat\n")
    report, out, answers = (tmp_path / name for name in ("r.html", "r.csv", "a.csv"))
    code = main(
        [
            *("evaluate", str(folder), "--template", "a photo of a {}.", "--template", "{}"),
            *("--wording", str(words), "--report", str(report), "--out", str(out)),
            *("--answers", str(answers), "--features", str(tmp_path / "f"), "--workers", "0"),
        ]
    )
    assert code == 0
    table = pd.read_csv(out)
    ways = ["a photo of a {}.", "{}"]
    assert table["way"].tolist() == [*ways, *(f"{name}, wrong words" for name in ways)]
    assert table["right"].tolist() == [4, 4, 2, 2]
    assert table["only_first"].tolist()[2:] == [2, 2]
    given = pd.read_csv(answers)
    assert (given["label"] == given["a photo of a {}."]).all()
    assert report.read_text(encoding="utf-8").count("data:image/jpeg") == 2  # cat and horse
    said = capsys.readouterr().out
    assert "No difference that 4 pictures can show" in said
    again = main(["evaluate", str(folder), "--features", str(tmp_path / "f"), "--workers", "0"])
    assert again == 0
    assert "has 4 of 4 pictures right" in capsys.readouterr().out


def test_two_models_on_a_zip_with_a_broken_picture(
    folder: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "z"), "zip", folder))
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("cat/broken.jpg", b"no picture")
    models = ["--model", "bundled", "--model", str(tiny_model)]
    out = tmp_path / "out.csv"
    options = ["--features", str(tmp_path / "f"), "--workers", "0", "--out", str(out)]
    assert main(["evaluate", str(archive), *models, *options]) == 1
    table = pd.read_csv(out)
    assert table["pictures"].tolist() == [4, 4]
    assert table["right"][0] == 4
    assert table["way"][0].startswith("bundled, ")
    assert len(pd.read_csv(tmp_path / "out-errors.csv")) == 1
    capsys.readouterr()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--report", "x.pdf"], "must end in .html"),
        (["--template", "no place"], "{}"),
        (["--wording", "missing.txt"], "can't be read"),
        ([x for i in range(25) for x in ("--template", f"{i} {{}}")], "24 at most"),
        (["other"], "Give one folder"),
        (["--model", "bundled", "--model", "bundled"], "--model has 'bundled' twice"),
        (["--template", "{}", "--template", "{}"], "--template has '{}' twice"),
        (["--template", "no such set"], "no such set"),
        (["--wording", "{words}/a.txt", "--wording", "{words}/a.csv"], "--wording has 'a' twice"),
        (["--wording", "{words}/long.txt"], "longer than the model can read"),
        (["--out", "x.csv", "--answers", "./x.csv"], "are the same file"),
        (["--wording", "{words}/a.csv", "--out", "{words}/a.csv"], "would replace what is read"),
        (["--out", "{words}/a.txt/x.csv"], "can't be written"),
        (["--report", "{words}/folder.html"], "is a folder"),
    ],
)
def test_bad_input(
    folder: Path,
    more: list[str],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate_module, "open_run", refuse)
    (tmp_path / "a.txt").write_text("cat = feline\n")
    (tmp_path / "a.csv").write_text("cat,feline\n")
    (tmp_path / "long.txt").write_text("cat = " + "long " * 100)
    (tmp_path / "folder.html").mkdir()
    filled = [argument.replace("{words}", str(tmp_path)) for argument in more]
    assert main(["evaluate", str(folder), *filled, "--workers", "0"]) == 2
    assert problem in capsys.readouterr().err


def refuse(*_: object) -> None:
    raise AssertionError("this is found out too late")


def test_what_is_read_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("a.jpg,cat\nb.jpg,dog\n")
    assert main(["evaluate", str(table), "--out", str(table)]) == 2
    assert "would replace what is read" in capsys.readouterr().err
    assert table.read_text() == "a.jpg,cat\nb.jpg,dog\n"


def test_one_label_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("cup", "horse", "bar chart"):
        shutil.rmtree(folder / label)
    assert main(["evaluate", str(folder), "--workers", "0"]) == 2
    assert "All pictures have the label 'cat'" in capsys.readouterr().err


def test_labels_whose_pictures_are_all_broken_are_no_answers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a photo of a cat").mkdir()
    (folder / "a photo of a cat/x.jpg").write_bytes(b"no picture")
    answers = tmp_path / "answers.csv"
    options = ["--workers", "0", "--features", str(tmp_path / "f"), "--answers", str(answers)]
    assert main(["evaluate", str(folder), *options]) == 1
    capsys.readouterr()
    given = pd.read_csv(answers)
    assert set(given.iloc[:, 2]) == set(TRUTH.values())


def test_only_pictures_that_all_models_could_read_are_compared() -> None:
    sources = [InputItem(name, name) for name in "abc"]
    label_of = dict(zip(sources, ["cat", "dog", "owl"], strict=True))
    first = Variant("first", np.eye(3, dtype=np.float32))
    second = Variant("second", np.eye(3, dtype=np.float32)[1:])
    asked = [(sources, [first]), (sources[1:], [second])]
    found = compare_on(asked, label_of, sources[1:])
    assert found.labels == ("dog", "owl")
    assert found.pictures == ("b", "c")
    assert [result.right for result in found.results] == [2, 2]
