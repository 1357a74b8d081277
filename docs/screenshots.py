"""Takes the README's screenshots of the real page: python docs/screenshots.py

Needs requirements-dev.txt and Chromium or Chrome on the PATH.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
CAT = ROOT / "ui/examples/cat.jpg"
LABELS = "cat\ndog\nrabbit\nfox\nteddy bear"
COLOURS = 128  # in each file's palette
SECONDS_TO_START = 120


def start_page() -> tuple[subprocess.Popen[bytes], str]:
    """The app on a free port, and its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return process, address
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise RuntimeError("The page did not start.")


def ask(page: Page) -> None:
    page.set_input_files("#picture input[type=file]", CAT)
    page.locator("#labels textarea").fill(LABELS)
    page.locator("#chart .best").wait_for()
    page.locator("#labels textarea").blur()


def why(page: Page) -> None:
    page.set_input_files("#picture input[type=file]", beside(CAT, CAT.with_name("coffee.jpg")))
    page.locator("#labels textarea").fill("cat\ncup of coffee")
    page.locator("#chart .best").wait_for()
    page.get_by_role("tab", name="Why", exact=True).click()
    page.locator("#map-first img").wait_for()
    page.locator("#why-second input").click()
    page.get_by_role("option", name="cup of coffee").click()
    page.locator("#map-second img").wait_for()


def beside(*paths: Path) -> dict[str, str | bytes]:
    """Pictures in one row, as a file to upload."""
    row = Image.new("RGB", (400 * len(paths), 400))
    for i, path in enumerate(paths):
        row.paste(Image.open(path).convert("RGB").resize((400, 400)), (400 * i, 0))
    data = io.BytesIO()
    row.save(data, "PNG")
    return {"name": "both.png", "mimeType": "image/png", "buffer": data.getvalue()}


def how(page: Page) -> None:
    ask(page)
    page.get_by_role("tab", name="How it works", exact=True).click()
    page.locator("#tokens li").first.wait_for()


def take(
    browser: Browser,
    address: str,
    name: str,
    prepare: Callable[[Page], None],
    width: int = 1280,
    theme: str = "light",
) -> None:
    """One screenshot, in a file small enough for a repository."""
    context = browser.new_context(
        viewport={"width": width, "height": 780}, color_scheme=theme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(address)
    page.locator("#labels textarea").wait_for()
    prepare(page)
    page.wait_for_function("() => !document.querySelector('.pending')")
    page.wait_for_timeout(1500)
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    shot.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)
    context.close()


def main() -> None:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next(filter(None, found), None)
    if executable is None:
        sys.exit("No Chromium or Chrome on the PATH.")
    IMAGES.mkdir(exist_ok=True)
    process, address = start_page()
    try:
        with sync_playwright() as playwright:
            flags = ["--headless", "--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=executable, args=flags)
            take(browser, address, "answer", ask)
            take(browser, address, "answer-dark", ask, theme="dark")
            take(browser, address, "answer-phone", ask, width=360)
            take(browser, address, "why", why)
            take(browser, address, "how-it-works", how)
            browser.close()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
