"""What the page adds: start-up, the way of a request, memory over many."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from PIL import Image, ImageChops

from clip_core import ZeroShotClassifier

from .people import Page

ROOT = Path(__file__).parents[1]
CAT = ROOT / "ui/examples/cat.jpg"
LABELS = ["cat", "dog", "rabbit", "fox", "teddy bear"]
SETTLED = 500  # requests after which memory should be flat
EVERY = 50  # requests between two looks
WARM = 10  # frames before the clock runs
MINUTES_TO_START = 3


def sentences(quick: bool) -> Iterator[str]:
    """What was measured, a sentence each."""
    yield cold_start(1 if quick else 5)
    yield overhead(10 if quick else 60)
    yield camera(30 if quick else 100)
    yield bundled_answers(10 if quick else 40)
    if not quick:
        yield memory(10_000)


def cold_start(rounds: int) -> str:
    """From the start of the process to the first answer through the API."""
    import gradio_client  # noqa: F401, PLC0415  (slow to import, and no part of what is measured)

    imports, answers = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch, gradio"], check=True)
        imports.append(time.perf_counter() - started)
        started = time.perf_counter()
        with running_app() as (address, _):
            _ask(address)
            answers.append(time.perf_counter() - started)
    one, other = statistics.median(answers), statistics.median(imports)
    return (
        f"cold start to first answer: {one:.2f} s, `import torch, gradio` alone {other:.2f} s: "
        f"{one / other:.2f} times (bar 1.3); {rounds} rounds"
    )


def overhead(rounds: int) -> str:
    """A call through the API against the same call without the page, both on a new label.

    As a browser makes it, over connections that stay open and in one session; and by gradio_client,
    which opens several anew for each call.
    """
    from gradio_client import Client, handle_file  # noqa: PLC0415  (slow to import)

    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    bare, browser, program = [], [], []
    with running_app() as (address, _):
        client = Client(address, verbose=False)
        page = Page(address, "bundled")
        for number in range(rounds + 2):
            labels = [*LABELS, f"thing {number}"]
            started = time.perf_counter()
            classifier.classify(CAT, labels)
            bare.append(time.perf_counter() - started)
            browser.append(page.time_one(CAT, [*LABELS, f"new thing {number}"]))
            started = time.perf_counter()
            client.predict(
                image=handle_file(str(CAT)), labels="\n".join(labels), api_name="/classify"
            )
            program.append(time.perf_counter() - started)
    one, plain, other = (1000 * statistics.median(each[2:]) for each in (program, browser, bare))
    return (
        f"API call as a browser makes it {plain:.0f} ms, bare `classify` {other:.0f} ms: "
        f"{plain - other:.0f} ms more (bar 60); by gradio_client, upload included, {one:.0f} ms; "
        f"medians of {rounds}, a picture seen before and one new label"
    )


def camera(frames: int) -> str:
    """How many of a camera's frames are answered in a second, each sent after the last answer."""
    with running_app() as (address, _), httpx.Client(base_url=address, timeout=60) as client:
        blocks = client.get("config").json()["components"]
        (block,) = (each["id"] for each in blocks if each["props"].get("elem_id") == "camera")
        asked = json.dumps(["a photo of a {}.", "", "bundled", "bundled", "best"])
        with Image.open(CAT) as opened:
            picture = opened.convert("RGB").resize((427, 320))
        started = 0.0
        for number in range(frames + WARM):
            if number == WARM:
                started = time.perf_counter()
            written = io.BytesIO()
            ImageChops.offset(picture, number).save(written, "JPEG", quality=85)
            frame = {
                "image": base64.b64encode(written.getvalue()).decode(),
                "labels": "\n".join(LABELS),
                "asked": asked,
            }
            body = {
                "data": frame,
                "fn_name": "answer_frame",
                "session_hash": "camera",
                "component_id": block,
            }
            answer = client.post("gradio_api/component_server", json=body).json()
            if "bundled" not in str(answer.get("model")):
                raise RuntimeError(f"The camera got no answer: {answer}")
        rate = frames / (time.perf_counter() - started)
    return f"live camera, bundled model: {rate:.1f} answers a second (bar 10), {frames} frames"


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


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_app(*flags: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The page in a process of its own: its address, and the process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), *flags],
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
