"""Nothing is sent anywhere unless someone asks for it: imports, the page's start, an answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui" / "examples" / "cat.jpg"
# What would keep libraries quiet, or lead them through this machine, where it isn't noted
SETTINGS = {
    "DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "GRADIO_ANALYTICS_ENABLED",
    "HF_HUB_DISABLE_TELEMETRY",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
}
ALL_WAYS = """
import socket
for way in (
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: socket.socket().connect_ex(("192.0.2.2", 80)),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.3", 80)),
    lambda: socket.getaddrinfo("example.org", 443),
    lambda: socket.gethostbyname("example.net"),
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: socket.create_connection(("127.0.0.1", 9), 1),
):
    try:
        way()
    except OSError:
        pass
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Processes started from here on are watched, and note here where they would have gone."""
    for name in list(os.environ):
        if name in SETTINGS or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # nor what someone has set there
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "watched"))
    monkeypatch.setenv("NETWORK_NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes"


def ways_out(notes: Path) -> list[str]:
    lines = notes.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "watched"
    return [line for line in lines if line != "watched"]


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300)


def test_what_watches_misses_no_way_out(notes: Path) -> None:
    run(ALL_WAYS)
    assert ways_out(notes) == [
        "socket.getaddrinfo '192.0.2.1'",
        "socket.connect '192.0.2.2'",
        "socket.sendto '192.0.2.3'",
        "socket.getaddrinfo 'example.org'",
        "socket.gethostbyname 'example.net'",
    ]


@pytest.mark.slow
def test_what_watches_sees_what_gradio_sends_unless_told_not_to(notes: Path) -> None:
    run("import gradio; gradio.Blocks()")
    assert ways_out(notes)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "import clip_core; [getattr(clip_core, name) for name in clip_core.__all__]",
            marks=pytest.mark.slow,
        ),
        "import app",
    ],
)
def test_imports_open_no_connection(code: str, notes: Path) -> None:
    run(code)
    assert ways_out(notes) == []


def test_the_page_starts_and_answers_without_a_connection(
    notes: Path, start_app: Callable[..., str]
) -> None:
    address = start_app(GRADIO_ANALYTICS_ENABLED="True")  # gradio's own default
    client = Client(address, verbose=False)
    label, _ = client.predict(image=handle_file(str(CAT)), labels="cat, dog", api_name="/classify")
    assert label["label"] == "cat"
    assert ways_out(notes) == []
