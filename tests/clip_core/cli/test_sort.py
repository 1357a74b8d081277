"""The command sort, on a small random model."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.clip_core.cli.commands import LABELS, ROOT, in_process, sort


def test_sort_writes_a_row_for_each_picture(
    photographs: Path, tmp_path: Path, options: list[str]
) -> None:
    out = tmp_path / "out/results.parquet"
    assert sort(photographs, "--out", out, "--all-scores", options=options) == 0
    table = pd.read_parquet(out)
    files = sorted(map(str, photographs.glob("*/*.jpg")))
    assert sorted(table["picture"]) == files
    shares = table[[f"probability of {label}" for label in LABELS]]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (shares.max(axis=1) - table["probability"]).abs().max() == 0
    assert [LABELS[i] for i in shares.to_numpy().argmax(axis=1)] == table["label"].tolist()


def test_broken_pictures_go_to_a_table_of_their_own(
    photographs: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(next(photographs.glob("*/*.jpg")), folder / "good.jpg")
    (folder / "bad.jpg").write_bytes(b"no picture")
    (folder / "two\nlines.jpg").write_bytes(b"")
    out = tmp_path / "results.jsonl"
    errors = tmp_path / "results-errors.jsonl"
    assert sort(folder, "--out", out, options=options) == 1
    problems = [json.loads(line) for line in errors.read_text().splitlines()]
    assert {Path(row["picture"]).name for row in problems} == {"bad.jpg", "two\nlines.jpg"}
    assert all(row["problem"].endswith(".") for row in problems)
    assert len(out.read_text().splitlines()) == 1
    assert "2 that could not be read" in capsys.readouterr().err
    for name in ("bad.jpg", "two\nlines.jpg"):
        (folder / name).unlink()
    assert sort(folder, "--out", out, options=options) == 0
    assert not errors.exists()  # it told of an earlier run


def test_into_folders_first_as_a_dry_run(
    photographs: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, into = tmp_path / "pictures", tmp_path / "sorted"
    shutil.copytree(next(photographs.iterdir()), folder)
    count = len(list(folder.iterdir()))
    wanted = ("--into", into, "--by", "link", "--least", "0.3")
    out = tmp_path / "results.csv"
    assert sort(folder, "--out", out, *wanted, options=options) == 0
    assert "Nothing was done" in capsys.readouterr().err
    assert not into.exists()
    assert len(list(folder.iterdir())) == count
    assert sort(folder, "--out", out, *wanted, "--yes", options=options) == 0
    assert len(list(folder.iterdir())) == count
    table = pd.read_csv(out)
    expected = table["label"].where(table["probability"] >= 0.3, "unsure")
    for label, number in expected.value_counts().items():
        found = list((into / str(label)).iterdir())
        assert len(found) == number
        assert all(path.is_symlink() for path in found)
    with pytest.raises(SystemExit) as left:
        sort(folder, "--into", into, "--by", "move", options=options)
    assert left.value.code == 2
    assert "invalid choice: 'move'" in capsys.readouterr().err


def test_another_file_of_the_name_of_the_errors_is_kept(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, mine = tmp_path / "out.csv", tmp_path / "out-errors.csv"
    mine.write_text("picture,problem,notes\n")
    cat = ROOT / "ui/examples/cat.jpg"
    assert sort(cat, "--out", out, options=options) == 2
    assert "is not ours" in capsys.readouterr().err
    assert sort(cat, "--out", out, "--errors", mine, options=options) == 0
    assert mine.read_text() == "picture,problem,notes\n"
    assert len(pd.read_csv(out)) == 1


def test_the_same_sorting_again_places_nothing_new(
    photographs: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(next(photographs.iterdir()), folder)
    count = len(list(folder.iterdir()))
    wanted = ("--into", folder / "sorted", "--yes")
    for _ in range(2):
        assert sort(folder, "--out", tmp_path / "out.csv", *wanted, options=options) == 0
    assert len(list((folder / "sorted").rglob("*.jpg"))) == count
    said = capsys.readouterr().err
    assert f"{2 * count:,} pictures lie in" in said


@pytest.mark.slow
def test_nobody_reads_to_the_end(photographs: Path, options: list[str]) -> None:
    arguments = ["sort", photographs, "--labels", *LABELS, *options]
    process = in_process(*arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 141
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
