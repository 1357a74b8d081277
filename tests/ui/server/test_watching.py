"""The app as who runs it sees it: its health, its logs, its figures, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running_app import RunningApp, free_port

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui" / "examples" / "cat.jpg"
SECONDS = 300  # that whatever is waited for may take on a busy machine


class Watched:
    """The app with everything on, and somebody who asks it."""

    def __init__(self, run_app: Callable[..., RunningApp], model: Path) -> None:
        self.figures_at = free_port()
        flags = ("--model", str(model), "--metrics", str(self.figures_at), "--log", "debug")
        self.app = run_app(*flags)
        deadline = time.monotonic() + SECONDS
        while self.health().status_code != 200 or self.health().json()["model"] != model.name:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def health(self) -> httpx.Response:
        return httpx.get(f"{self.app.address}/healthz")

    def figure(self, name: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.figures_at}/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def events(self) -> list[dict[str, Any]]:
        lines = self.app.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def send(self, labels: str, template: str = "{}", picture: Path = CAT) -> httpx.Response:
        with picture.open("rb") as file:
            (path,) = httpx.post(
                f"{self.app.address}/gradio_api/upload", files={"files": file}
            ).json()
        image = {"path": path, "orig_name": picture.name, "meta": {"_type": "gradio.FileData"}}
        return httpx.post(
            f"{self.app.address}/gradio_api/call/classify",
            json={"data": [image, labels, template, "tiny.safetensors", "best"]},
        )

    def ask(self, *arguments: Any, **named: Any) -> str:
        """What comes of a question, as the server's events."""
        event = self.send(*arguments, **named).json()["event_id"]
        address = f"{self.app.address}/gradio_api/call/classify/{event}"
        return httpx.get(address, timeout=SECONDS).text


@pytest.fixture(scope="module")
def watched(run_app: Callable[..., RunningApp], tiny_model: Path) -> Watched:
    return Watched(run_app, tiny_model)


def test_health_says_whether_and_with_what_it_answers(watched: Watched) -> None:
    answer = watched.health()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "alive": True,
        "ready": True,
        "stopping": False,
        "model": "tiny.safetensors",
        "wanted_model": "tiny.safetensors",
        "queue": {"waiting": 0, "running": 0, "most_waiting": 100},
    }


def test_every_answer_has_the_headers(watched: Watched) -> None:
    for path in ("", "/healthz", "/theme.css", "/gradio_api/info", "/nothing-of-this-name"):
        headers = httpx.get(watched.app.address + path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path


def test_answers_and_problems_are_counted(watched: Watched, tmp_path: Path) -> None:
    answers = 'clip_answer_seconds_count{model="tiny.safetensors"}'
    kept = 'clip_cached_total{kept="true",what="label"}'
    before, kept_before = watched.figure(answers), watched.figure(kept)
    assert "event: complete" in watched.ask("counted label, another one")
    assert "event: complete" in watched.ask("counted label, another one")
    assert watched.figure(answers) == before + 2
    assert watched.figure(kept) == kept_before + 2
    assert watched.figure('clip_cached_total{kept="true",what="picture"}') >= 1
    assert watched.figure('clip_model_loads_total{model="tiny.safetensors",outcome="ready"}') == 1
    assert watched.figure("clip_questions_waiting") == 0
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(CAT.read_bytes()[:2000])
    assert "event: error" in watched.ask("cat, dog", picture=broken)
    assert watched.figure('clip_problems_total{kind="ImageError"}') == 1


def test_logs_hold_figures_and_nothing_of_a_picture_or_a_label(
    watched: Watched, tmp_path: Path
) -> None:
    mine = tmp_path / "my-private-name.jpg"
    mine.write_bytes(CAT.read_bytes())
    assert "event: complete" in watched.ask("secretive, labels", "of {} whispers", picture=mine)
    [*_, last] = [event for event in watched.events() if event["event"] == "answer"]
    assert last["level"] == "info"
    assert last["model"] == "tiny.safetensors"
    assert last["labels"] == 2
    assert 0 <= last["seconds"] < 60
    written = watched.app.log.read_text()
    for word in ("secretive", "whispers", "my-private-name"):
        assert word not in written


def test_by_default_nothing_is_logged(run_app: Callable[..., RunningApp], tiny_model: Path) -> None:
    app = run_app("--model", str(tiny_model))
    assert "{" not in app.log.read_text()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_answered_before_the_end(
    end: signal.Signals, run_app: Callable[..., RunningApp], tiny_model: Path
) -> None:
    watched = Watched(run_app, tiny_model)
    labels = ", ".join(f"thing {i} at the end" for i in range(300))
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(watched.ask, labels, "imagenet-80")
        deadline = time.monotonic() + SECONDS
        while not watched.health().json()["queue"]["running"]:
            assert time.monotonic() < deadline
            assert not slow.done()
            time.sleep(0.005)
        watched.app.process.send_signal(end)
        while (health := watched.health()).status_code != 503:  # it is looked for now and then
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert health.json()["stopping"] is True
        refused = watched.send("cat, dog")
        assert refused.status_code == 503
        assert "event: complete" in slow.result()
    assert watched.app.process.wait(SECONDS) == 0
    assert watched.events()[-1]["event"] == "stopped"
    assert watched.events()[-1]["unanswered"] == 0
