"""The command find, on a small random model."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from clip_core.cli.main import main
from tests.clip_core.cli.commands import ROOT, in_process


def test_find_ranks_and_takes_phrases_from_the_input(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "found.csv"
    wanted = ["find", str(ROOT / "ui/examples"), "--top", "2", "--out", str(out), *options]
    assert main([*wanted, "--like", str(ROOT / "ui/examples/cat.jpg")]) == 0
    table = pd.read_csv(out)
    assert table["picture"].iloc[0].endswith("cat.jpg")
    assert table["rank"].tolist() == [1, 2]
    monkeypatch.setattr("sys.stdin", iter(["a cat\n", "\n", "a horse\n"]))
    assert main(wanted) == 0
    assert pd.read_csv(out)["query"].tolist() == ["a cat"] * 2 + ["a horse"] * 2


def test_a_phrase_that_is_too_long_ends_no_session(
    tmp_path: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "found.csv"
    monkeypatch.setattr("sys.stdin", iter(["a cat\n", "long " * 100, "a horse\n"]))
    pictures = str(ROOT / "ui/examples")
    assert main(["find", pictures, "--top", "1", "--out", str(out), *options]) == 0
    assert pd.read_csv(out)["query"].tolist() == ["a cat", "a horse"]
    assert "is longer than the model can read" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupted_while_it_waits_for_a_phrase(options: list[str]) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = in_process("find", ROOT / "ui/examples", "--top", "1", *options, **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    print("a cat", file=process.stdin, flush=True)
    assert json.loads(process.stdout.readline())["query"] == "a cat"  # the next, then
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in said
