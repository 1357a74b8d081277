"""What the boxes show gives the answer on the page: each is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clip_core import ZeroShotClassifier
from prompts import fill_all
from tests.running_app import RunningApp
from ui.service.question import Question, templates_for
from ui.tabs.share import to_curl, to_python

ROOT = Path(__file__).parents[3]
QUESTIONS = [
    (("cat", "dog"), "a photo of a {}.", None),
    (("cat", 'a "quoted" dog\'s $HOME `x`', "狗"), "a photo of {a} {}.", "pad"),
    (("cat\\", "dog"), "imagenet-7", "crops"),
]


def make(picture: Path, labels: tuple[str, ...], template: str, framing: str | None) -> Question:
    prompts = fill_all(templates_for(template), labels)
    return Question(str(picture), picture.name, labels, template, prompts, "bundled", framing)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / 'my "cat\'s" picture; 1,2.jpg'
    shutil.copy(ROOT / "ui/examples/cat.jpg", path)
    return path


@pytest.mark.parametrize(
    ("labels", "template", "framing"),
    [
        QUESTIONS[0],
        *(pytest.param(*question, marks=pytest.mark.slow) for question in QUESTIONS[1:]),
    ],
)
def test_python(labels: tuple[str, ...], template: str, framing: str | None, picture: Path) -> None:
    asked = make(picture, labels, template, framing)
    program = to_python(asked) + "print(scores.logits.tolist())"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=picture.parent,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected = ZeroShotClassifier("bundled", device="cpu").score(
        asked.path, labels, asked.prompts, framing
    )
    assert json.loads(run.stdout.splitlines()[-1]) == pytest.approx(
        expected.logits.tolist(), abs=1e-3
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("labels", "template", "framing"), QUESTIONS)
def test_curl(
    labels: tuple[str, ...],
    template: str,
    framing: str | None,
    picture: Path,
    shared_app: RunningApp,
) -> None:
    asked = make(picture, labels, template, framing)
    run = subprocess.run(
        ["bash", "-c", to_curl(asked, shared_app.address)],
        cwd=picture.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    _, complete, data = run.stdout.partition("event: complete\ndata: ")  # after heartbeats
    assert complete, run.stdout + run.stderr
    shares, table = json.loads(data)
    expected = ZeroShotClassifier("bundled", device="cpu").score(
        asked.path, labels, asked.prompts, framing
    )
    told = {row["label"]: row["confidence"] for row in shares["confidences"]}
    assert told == pytest.approx(
        dict(zip(labels, expected.probabilities.tolist(), strict=True)), abs=1e-4
    )
    assert {row[1] for row in table["data"]} == set(labels)
