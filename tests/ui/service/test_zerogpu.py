"""In processes of their own: whether the page runs on ZeroGPU is settled when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

# What the page asks of Hugging Face's package, noting when it was imported and what it marked.
SPACES = """
import sys

torch_was_there = "torch" in sys.modules
marked = []
calls = []


def GPU(duration):
    def mark(function):
        marked.append([function.__name__, duration])

        def marked_function(*arguments):
            calls.append(function.__name__)
            try:
                return function(*arguments)
            except Exception as error:  # all that comes back from their process
                raise RuntimeError(type(error).__name__) from None

        return marked_function

    return mark
"""

START = """
import json, sys, threading
import app
import gradio as gr
import ui.server.launch, ui.server.lifecycle, ui.service.model_pool, ui.service.zerogpu

started = {}

def launch(page, **settings):
    started["page"] = page
    started["ready"] = models[0].is_ready("tiny.safetensors")

threads = []
load = ui.service.model_pool.ZeroShotClassifier

def note_thread(*arguments, **options):
    threads.append(threading.current_thread() is threading.main_thread())
    return load(*arguments, **options)

ui.service.model_pool.ZeroShotClassifier = note_thread
models = []
build_page = ui.server.launch.build_page

def keep_models(given, *arguments):
    models.append(getattr(given, "models", given))
    return build_page(given, *arguments)

ui.server.launch.build_page = keep_models
gr.Blocks.launch = launch
ui.server.lifecycle.Server.wait_for_the_end = lambda server: None
app.main(["--model", sys.argv[1], "--device", "cpu"])

def plain():
    pass

classify = next(f for f in started["page"].fns.values() if f.api_name == "classify")
share, table = classify.fn({"path": "ui/examples/cat.jpg"}, "cat, dog", "{}", "tiny.safetensors")
try:
    classify.fn({"path": "ui/examples/cat.jpg"}, ["dog " * 90, "cat"], "{}", "tiny.safetensors")
    sentence = ""
except Exception as error:
    sentence = str(error)
spaces = sys.modules.get("spaces")
print(json.dumps({
    "ready": started["ready"],
    "labels": sorted(share),
    "sentence": sentence,
    "names": models[0].names,
    "in_main_thread": threads,
    "unmarked": ui.service.zerogpu.on_gpu(plain) is plain,
    "spaces": spaces and {
        "torch_was_there": spaces.torch_was_there,
        "marked": spaces.marked,
        "calls": spaces.calls,
    },
}))
"""


@pytest.fixture
def spaces(tmp_path: Path) -> Path:
    """A folder with a stand-in for the `spaces` package, which only a Space has."""
    (tmp_path / "spaces.py").write_text(SPACES)
    return tmp_path


def start(tiny_model: Path, spaces: Path, **environment: str) -> dict[str, Any]:
    path = os.pathsep.join([str(ROOT), str(spaces)])
    inherited = {name: value for name, value in os.environ.items() if name != "SPACES_ZERO_GPU"}
    run = subprocess.run(
        [sys.executable, "-c", START, str(tiny_model)],
        cwd=ROOT,
        env=inherited | environment | {"PYTHONPATH": path, "GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_on_zerogpu_the_answer_is_marked_and_the_model_loads_first(
    tiny_model: Path, spaces: Path
) -> None:
    found = start(tiny_model, spaces, SPACES_ZERO_GPU="true")
    assert found["spaces"]["torch_was_there"] is False
    # one marked function, and no longer a share of a visitor's quota than an answer needs
    assert ["_compute", 15] in found["spaces"]["marked"]
    assert found["spaces"]["calls"] == ["_compute", "_compute"]
    # our sentences come back whole, though errors don't
    assert "reads at most 77: shorten it" in found["sentence"]
    # their stand-in for CUDA is there in the main thread alone
    assert found["in_main_thread"] == [True, True]
    assert found["names"] == ["bundled", "tiny.safetensors"]
    assert found["labels"] == ["cat", "dog"]
    # its processes are copies of this one: what is loaded later they would not have
    assert found["ready"] is True
    assert found["unmarked"] is False


@pytest.mark.parametrize("environment", [{}, {"SPACES_ZERO_GPU": "false"}])
@pytest.mark.slow
def test_elsewhere_nothing_is_marked(
    environment: dict[str, str], tiny_model: Path, spaces: Path
) -> None:
    found = start(tiny_model, spaces, **environment)
    # gradio itself imports the package where it is installed
    assert not found["spaces"] or (found["spaces"]["marked"], found["spaces"]["calls"]) == ([], [])
    assert found["unmarked"] is True
    assert "reads at most 77: shorten it" in found["sentence"]
    assert found["in_main_thread"][:1] == [False]
    assert found["labels"] == ["cat", "dog"]
