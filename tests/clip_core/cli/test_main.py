"""The command line, on a small random model."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from clip_core.cli.main import main

ROOT = Path(__file__).parents[3]
CAT = str(ROOT / "ui/examples/cat.jpg")
COFFEE = str(ROOT / "ui/examples/coffee.jpg")


def test_table(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([CAT, COFFEE, "cat", "a city street", "--model", str(tiny_model)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("tiny.safetensors") == 2
    assert printed.count("a photo of a a city street.") == 2
    lines = [line for line in printed.splitlines() if "%" in line]
    assert len({line.index("%") for line in lines}) == 1  # aligned


def test_json(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", str(tiny_model), "--json", "--template", "a sketch of {a} {}."]
    assert main([CAT, "cat", "owl", *options]) == 0
    answer = json.loads(capsys.readouterr().out)
    rows = answer["pictures"][CAT]
    assert {row["prompt"] for row in rows} == {"a sketch of a cat.", "a sketch of an owl."}
    assert sum(row["probability"] for row in rows) == pytest.approx(1, abs=1e-4)
    assert rows[0]["rank"] == 1


def test_csv_of_several_pictures(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", str(tiny_model), "--csv", "--template", "imagenet-7"]
    assert main([CAT, COFFEE, "cat", "dog", "cat", *options]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["picture"] for row in rows] == [CAT, CAT, COFFEE, COFFEE]
    assert all("(+6 more)" in row["prompt"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.jpg", "cat"], "none.jpg"),
        ([CAT, "none.png", "cat"], "none.png"),
        ([CAT, COFFEE], "no labels"),
        ([CAT, "cat", "--template", "{} {}"], "{}"),
        ([CAT, "cat", "--template", "imagenet-8"], "imagenet-8"),
        ([CAT, "dog " * 90], "97 tokens"),
        ([CAT, "cat", "--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--model", str(tiny_model)]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_as_a_program() -> None:
    command = [sys.executable, "-m", "clip_core", CAT, "cat", "--model", "ViT-B-32.pt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Model ViT-B-32.pt not found" in done.stderr


def test_heat_map(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = [tmp_path / "cat.png", tmp_path / "dog.png"]
    for path, labels in zip(maps, (["cat", "dog"], ["dog", "cat"]), strict=True):
        options = ["--model", str(tiny_model), "--output", str(path)]
        assert main(["heat-map", CAT, *labels, *options]) == 0
    drawn = [Image.open(path) for path in maps]
    assert drawn[0].size == (64, 64)
    assert drawn[0].tobytes() != drawn[1].tobytes()
    assert main(["heat-map", CAT, "cat", "--output", str(tmp_path / "cat.jpg")]) == 2
    assert "must end in .png" in capsys.readouterr().err
    missing = str(tmp_path / "none" / "cat.png")
    assert main(["heat-map", CAT, "cat", "--model", str(tiny_model), "--output", missing]) == 2
    assert "can't be written: No such file" in capsys.readouterr().err


def test_a_bug_is_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[str]) -> int:
        raise ValueError("a bug")

    monkeypatch.setattr("clip_core.cli.classify.run", fail)
    with pytest.raises(ValueError, match="a bug"):
        main([CAT, "cat"])
