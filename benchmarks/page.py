"""What the page adds: start-up, the way of a request, memory over many."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from PIL import Image

from clip_core import ZeroShotClassifier

ROOT = Path(__file__).parents[1]
CAT = ROOT / "ui/examples/cat.jpg"
LABELS = ["cat", "dog", "rabbit", "fox", "teddy bear"]
SETTLED = 500  # requests after which memory should be flat
EVERY = 50  # requests between two looks
MINUTES_TO_START = 3


def sentences(quick: bool) -> Iterator[str]:
    """What was measured, a sentence each."""
    yield cold_start(1 if quick else 5)
    yield overhead(10 if quick else 60)
    yield bundled_answers(10 if quick else 40)
    yield memory(1000 if quick else 10_000)


def cold_start(rounds: int) -> str:
    """From the start of the process to the first answer through the API."""
    imports, answers = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch, gradio"], check=True)
        imports.append(time.perf_counter() - started)
        started = time.perf_counter()
        with _app() as (address, _):
            _ask(address)
            answers.append(time.perf_counter() - started)
    one, other = statistics.median(answers), statistics.median(imports)
    return (
        f"cold start to first answer: {one:.2f} s, `import torch, gradio` alone {other:.2f} s: "
        f"{one / other:.2f} times (bar 1.3); {rounds} rounds"
    )


def overhead(rounds: int) -> str:
    """A call through the API against the same call without the page, both on a new label."""
    from gradio_client import Client, handle_file  # noqa: PLC0415  (slow to import)

    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    bare, called = [], []
    with _app() as (address, _):
        client = Client(address, verbose=False)
        for number in range(rounds + 2):
            labels = [*LABELS, f"thing {number}"]
            started = time.perf_counter()
            classifier.classify(CAT, labels)
            bare.append(time.perf_counter() - started)
            started = time.perf_counter()
            client.predict(
                image=handle_file(str(CAT)), labels="\n".join(labels), api_name="/classify"
            )
            called.append(time.perf_counter() - started)
    one, other = (1000 * statistics.median(each[2:]) for each in (called, bare))
    return (
        f"API call {one:.0f} ms, bare `classify` {other:.0f} ms: {one - other:.0f} ms more "
        f"(bar 60); medians of {rounds}, a picture seen before and one new label"
    )


def bundled_answers(rounds: int) -> str:
    """One picture and five labels, new and asked again."""
    cold, warm = [], []
    with Image.open(CAT) as opened:
        picture = opened.convert("RGB")
    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    for number in range(rounds + 1):
        image = picture.copy()
        image.putpixel((0, 0), (number, 0, 0))
        labels = [f"{label} {number}" for label in LABELS]
        for taken in (cold, warm):
            started = time.perf_counter()
            classifier.classify(image, labels, ["a photo of a {}."])
            taken.append(time.perf_counter() - started)
    one, other = (1000 * statistics.median(each[1:]) for each in (cold, warm))
    return (
        f"bundled model, one picture, 5 labels: {one:.1f} ms new, {other:.1f} ms asked again "
        f"(bar 5); medians of {rounds}"
    )


def memory(requests: int) -> str:
    """Resident memory over many requests, each of another picture and other labels."""
    with Image.open(CAT) as opened:
        picture = opened.convert("RGB").resize((300, 300))
    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    process, curve = psutil.Process(), []
    for number in range(requests):
        image = picture.copy()
        image.putpixel((0, 0), (number % 256, number // 256, 0))
        classifier.classify(image, [f"thing {number}", "cat"])
        if number >= SETTLED and number % EVERY == 0:
            curve.append(process.memory_info().rss)
    first, last = curve[0], statistics.median(curve[-5:])
    return (
        f"memory over {requests:,} requests: {first / 1e6:,.0f} MB after {SETTLED}, "
        f"{last / 1e6:,.0f} MB at the end: {100 * (last / first - 1):+.1f} % (bar 5 %)"
    )


def _ask(address: str) -> None:
    from gradio_client import Client, handle_file  # noqa: PLC0415

    Client(address, verbose=False).predict(
        image=handle_file(str(CAT)), labels="cat, dog", api_name="/classify"
    )


@contextmanager
def _app() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60 * MINUTES_TO_START
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            if process.poll() is not None:
                raise RuntimeError("The page did not start.")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.terminate()
        process.wait()
