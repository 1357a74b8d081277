"""What the commands for many images share: bad input, shards, interruptions and kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from clip_core.batch.inputs import InputItem, in_shard
from clip_core.cli import batch_run as run_module
from clip_core.cli import sort as command
from clip_core.cli.main import main
from tests.clip_core.cli.commands import LABELS, ROOT, sort


def test_shards_together_are_the_whole(
    photographs: Path, tmp_path: Path, options: list[str]
) -> None:
    whole = tmp_path / "whole.parquet"
    assert sort(photographs, "--out", whole, options=options) == 0
    for shard in ("1/3", "2/3", "3/3"):
        out = tmp_path / f"parts/{shard[0]}.parquet"
        assert sort(photographs, "--out", out, "--shard", shard, options=options) == 0
    parts = pd.read_parquet(tmp_path / "parts").sort_values("picture", ignore_index=True)
    pd.testing.assert_frame_equal(
        parts, pd.read_parquet(whole).sort_values("picture", ignore_index=True), atol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["sort", "{empty}", "--labels", "cat"], "No pictures in"),
        (["sort", "{missing}", "--labels", "cat"], "there is no such file or folder"),
        (["sort", "{cat}", "--labels", "{missing}.txt"], "can't be read: no such file"),
        (["sort", "{cat}", "--labels", " "], "There are no labels"),
        (["sort", "{cat}", "--labels", "cat", "--out", "x.xlsx"], "must end in .csv"),
        (["sort", "{cat}", "--labels", "cat", "--least", "2"], "from 0 to 1"),
        (["sort", "{cat}", "--labels", "cat", "--workers", "-1"], "can't be below 0"),
        (["find", "{cat}", "--phrase", "a cat", "--top", "0"], "--top must be 1 or more"),
        (["find", "{text}", "--phrase", "a cat"], "None of the pictures can be read"),
        (["find", "{cat}", "--phrase", "long " * 100], "is longer than the model can read"),
        (["find", "{cat}", "--like", "{missing}.jpg"], "missing.jpg"),
        (["sort", "{cat}", "--labels", "cat", "long " * 100], "is longer than the model can read"),
        (["sort", "{cat}", "--labels", "{missing}.csv"], "is taken for a file"),
        (["sort", "{cat}", "--labels", "{text}"], "is taken for a file"),
        (["sort", "{cat}", "--labels", "{pipe}"], "is no file"),
        (["sort", "{cat}", "--labels", "a/b", "a:b", "--into", "{empty}"], "no folder of its own"),
        (["sort", "{zip}", "--labels", "cat", "--into", "{empty}"], "unpack it first"),
        (["sort", "{pipe}", "--labels", "cat"], "is no file but a pipe"),
        (["sort", "{cat}", "--labels", "cat", "--out", "{text}/x.csv"], "can't be written"),
        (["sort", "{cat}", "--labels", "cat", "--errors", "{folder}"], "is a folder"),
        (
            [
                *("sort", "{cat}", "--labels", "cat", "--out", "{empty}/x.csv"),
                *("--errors", "{empty}/../empty/x.csv"),
            ],
            "are the same file",
        ),
        (
            [
                *("sort", "{cat}", "--labels", "cat", "--into", "{empty}", "--yes"),
                *("--out", "{empty}/placed.csv"),
            ],
            "are the same file",
        ),
        (["duplicates", "{cat}", "--out", "{folder}"], "is a folder"),
        (["duplicates", "{cat}", "--threshold", "3"], "above 0 and at most 1"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    with zipfile.ZipFile(tmp_path / "cats.zip", "w") as archive:
        archive.write(ROOT / "ui/examples/cat.jpg", "cat.jpg")
    if "None of the pictures" not in problem:
        monkeypatch.setattr(run_module, "encode", refuse)
    places = {
        "folder": tmp_path / "folder.csv",
        "pipe": tmp_path / "pipe.txt",
        "zip": tmp_path / "cats.zip",
        "empty": tmp_path / "empty",
        "missing": tmp_path / "missing",
        "cat": ROOT / "ui/examples/cat.jpg",
        "text": tmp_path / "text.jpg",
    }
    filled = [argument.format(**places) for argument in arguments]
    assert main([filled[0], *options, *filled[1:]]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("clip_core: ")
    assert problem in last


def refuse(*_: object) -> None:
    raise AssertionError("this is found out too late")


def test_a_shard_that_nothing_falls_into(tmp_path: Path, options: list[str]) -> None:
    cat = str(ROOT / "ui/examples/cat.jpg")
    (empty,) = [i for i in (1, 2) if not in_shard(InputItem(cat, cat), i, 2)]
    out = tmp_path / "out.csv"
    wanted = ["--shard", f"{empty}/2", "--out", str(out), *options]
    for typed in (["find", cat, "--phrase", "a cat"], ["duplicates", cat]):
        assert main([*typed, *wanted]) == 0
        assert len(pd.read_csv(out)) == 0
    assert main(["sort", cat, "--labels", "cat", *wanted]) == 0


@pytest.mark.parametrize("command", [["find", "--phrase", "a cat"], ["duplicates"]])
def test_where_none_can_be_read_the_reasons_are_said(
    command: list[str], tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert main([*command, *options, str(tmp_path / "text.jpg")]) == 2
    assert "text.jpg: This " in capsys.readouterr().err


def test_interrupted_while_the_model_is_loaded(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(command, "make_classifier", interrupt)
    assert sort(ROOT / "ui/examples/cat.jpg", options=options) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_sentence(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device", "some/file")

    monkeypatch.setattr(command, "make_classifier", full)
    assert sort(ROOT / "ui/examples/cat.jpg", options=options) == 2
    said = "clip_core: 'some/file' can't be read or written: no space left on device.\n"
    assert capsys.readouterr().err == said


def test_shards_that_are_none(options: list[str]) -> None:
    for shard in ("0/3", "4/3", "x", "1"):
        with pytest.raises(SystemExit) as left:
            sort("ui/examples", "--shard", shard, options=options)
        assert left.value.code == 2


def run_in_process(folder: Path, out: Path, options: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "clip_core", "sort", str(folder), "--out", str(out)),
            *("--labels", *LABELS, "--batch-size", "2", *options),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TQDM_MININTERVAL": "0"},
    )


def kept_rows(features: Path) -> int:
    from safetensors import safe_open  # noqa: PLC0415

    rows = 0
    for path in features.rglob("*.safetensors"):
        try:
            with safe_open(path, framework="np") as stored:
                rows += stored.get_slice("content").get_shape()[0]
        except OSError:  # merged meanwhile
            continue
    return rows


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_where_it_was(photographs: Path, tmp_path: Path) -> None:
    """Killed again and again, the result is that of a run that nobody disturbed."""
    common = ["--device", "cpu", "--workers", "1"]
    whole, out = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    features = tmp_path / "killed"
    undisturbed = run_in_process(photographs, whole, [*common, "--features", str(tmp_path / "f")])
    _, said = undisturbed.communicate()
    assert undisturbed.returncode == 0, said
    total = len(pd.read_parquet(whole)["sha256"].unique())
    chance = random.Random(6)
    kills, kept = 0, []
    while True:
        process = run_in_process(photographs, out, [*common, "--features", str(features)])
        deadline = time.monotonic() + 300
        before = kept_rows(features)
        while process.poll() is None and kills < 4 and time.monotonic() < deadline:
            if kept_rows(features) > before:  # once it has come further: at a random moment
                time.sleep(chance.uniform(0, 0.8))
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
        _, said = process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        kills += 1
        kept.append(kept_rows(features))
        assert not out.exists()  # half a table is none
    assert process.returncode == 0, said
    assert kills >= 1
    assert kept == sorted(kept)  # nothing that was kept is lost
    encoded = int(said.split(" a second): ")[1].split(" encoded")[0])
    assert encoded == total - kept[-1]  # and none of it is computed again
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole), atol=1e-6)


@pytest.mark.parametrize(
    "request_to_end", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_interrupted_it_says_how_to_go_on(
    photographs: Path, tmp_path: Path, options: list[str], request_to_end: signal.Signals
) -> None:
    out = tmp_path / "out.csv"
    process = run_in_process(photographs, out, options)
    assert process.stderr is not None
    deadline = time.monotonic() + 300
    while not list((tmp_path / "features").rglob("*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(request_to_end)
    _, said = process.communicate(timeout=300)
    if process.returncode == 0:
        pytest.skip("it was done before it could be interrupted")
    assert process.returncode == 130
    assert "goes on from there" in said
    assert "Traceback" not in said
    assert not out.exists()
    assert not list(tmp_path.rglob("*.partial"))
