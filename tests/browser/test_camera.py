"""The camera's tab, with Chromium's fake camera showing a film made here."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "ui/examples"
LEAST_RATE = 1.0  # answers a second: CI's processors are shared; the bar of 5 is for the benchmark
LIVE = "() => document.querySelector('#camera video').srcObject?.active === true"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of a cat, ten of a cup of coffee; Chromium begins again at the end."""
    frames = []
    for name in ("cat.jpg", "coffee.jpg"):
        picture = ImageOps.fit(Image.open(EXAMPLES / name), (640, 480))
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=90)
        frames += [data.getvalue()] * 300  # thirty a second
    path = tmp_path_factory.mktemp("film") / "film.mjpeg"
    path.write_bytes(b"".join(frames))
    return path


@pytest.fixture(scope="module")
def filming(launch: Callable[..., Browser], film: Path) -> Browser:
    """A browser whose camera shows the film."""
    return launch("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}")


@pytest.fixture
def open_camera(filming: Browser, address: str) -> Iterator[Callable[..., Page]]:
    contexts = []

    def open_tab(
        allowed: bool = True, width: int = 1280, labels: str = "cat\ncup of coffee"
    ) -> Page:
        permissions = ["camera"] if allowed else []
        context = filming.new_context(
            viewport={"width": width, "height": 860}, permissions=permissions
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)  # on a busy machine
        page.goto(address)
        page.locator("#labels textarea").fill(labels)
        page.get_by_role("tab", name="Camera").click()
        expect(page.locator("#camera-labels textarea")).to_have_value(labels)
        return page

    yield open_tab
    for context in contexts:
        context.close()


def best(page: Page) -> str:
    return page.locator("#camera .row .label").first.inner_text()


@pytest.mark.smoke
def test_the_answer_follows_the_film_until_the_tab_is_left(
    open_camera: Callable[..., Page],
) -> None:
    page = open_camera()
    page.get_by_role("button", name="Start the camera").click()
    first = page.locator("#camera .row .label").first
    expect(first).to_be_visible()
    now = first.inner_text()
    assert now in ("cat", "cup of coffee")
    expect(first).to_have_text({"cat": "cup of coffee", "cup of coffee": "cat"}[now])
    expect(page.locator("#camera .spoken")).to_have_text(best(page))
    expect(page.locator("#camera .rate")).to_have_text(
        re.compile(r"^\d+\.\d answers a second, by the model “bundled”\.$")
    )
    rate = float(page.locator("#camera .rate").inner_text().split()[0])
    assert rate > LEAST_RATE
    assert page.evaluate(LIVE)
    page.get_by_role("tab", name="Classify").click()
    page.wait_for_function("() => !document.querySelector('#camera video').srcObject")


def test_labels_are_shared_with_the_first_tab(open_camera: Callable[..., Page]) -> None:
    page = open_camera(width=360)
    page.locator("#camera-labels textarea").fill("violin\ntractor")
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera")).to_contain_text("Perhaps none of these")
    page.get_by_role("button", name="Stop the camera").click()
    assert not page.evaluate(LIVE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("tab", name="Classify").click()
    expect(page.locator("#labels textarea")).to_have_value("violin\ntractor")


def test_a_question_that_is_not_whole_says_so_and_the_camera_goes_on(
    open_camera: Callable[..., Page],
) -> None:
    page = open_camera(labels="")
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera .answer")).to_contain_text("Type at least two labels")
    page.locator("#camera-labels textarea").fill("cat, cup of coffee")
    expect(page.locator("#camera .row").first).to_be_visible()


def test_a_refused_camera_says_what_to_do(open_camera: Callable[..., Page]) -> None:
    page = open_camera(allowed=False)
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#camera .answer")).to_contain_text("The camera was refused: allow it")
