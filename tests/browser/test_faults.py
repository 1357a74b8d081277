"""What a person loses when the page is loaded anew, by hand or since the connection was lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.running_app import RunningApp

ROOT = Path(__file__).parents[2]
CAT = ROOT / "ui" / "examples" / "cat.jpg"
MANY = "\n".join(f"thing {number}" for number in range(1000))


def ask(page: Page, labels: str) -> None:
    expect(page.locator("#labels textarea")).to_be_visible()
    page.locator("#labels textarea").fill(labels)
    page.locator("#picture input[type=file]").first.set_input_files(CAT)
    expect(page.locator("#foot")).to_contain_text("of 2 labels")
    wait_until_kept(page, "cat.jpg")


def wait_until_kept(page: Page, text: str) -> None:
    """The page keeps a question a moment, less than a second, after the person is done with it."""
    page.wait_for_function(f"sessionStorage.getItem('clip-question')?.includes('{text}')")


def expect_question(page: Page, labels: str, count: int) -> None:
    expect(page.locator("#labels textarea")).to_have_value(labels)
    expect(page.locator("#foot")).to_contain_text(f"of {count:,} labels")
    expect(page.locator("#picture img")).to_be_visible()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window whose complaints about what was cut off don't count."""
    context = browser.new_context()
    yield context
    context.close()


def test_a_reload_keeps_the_question_and_another_visit_does_not(
    context: BrowserContext, address: str
) -> None:
    page = context.new_page()
    page.goto(address)
    ask(page, "cat\nsofa")
    page.locator("#template input").click()
    page.get_by_role("option", name="custom: write your own").click()
    page.locator("#custom-template textarea, #custom-template input").fill("a drawing of {a} {}.")
    expect(page.locator("#template-note")).to_contain_text("a drawing of a cat.")
    wait_until_kept(page, "a drawing of")
    page.reload()
    expect_question(page, "cat\nsofa", 2)
    expect(page.locator("#template-note")).to_contain_text("Scored as “a drawing of a cat.”")
    page.goto(address)
    expect(page.locator("#labels textarea")).to_have_value("")
    expect(page.locator("#picture img")).to_have_count(0)


def test_a_connection_lost_in_mid_answer_loses_nothing(
    context: BrowserContext, address: str
) -> None:
    page = context.new_page()
    page.goto(address)
    ask(page, "cat, dog")
    page.locator("#labels textarea").fill(MANY)
    wait_until_it_answers(address)
    context.set_offline(True)
    page.locator("#labels textarea").fill("cat, dog, bird")
    expect(page.get_by_text("Connection to the server was lost")).to_be_visible()
    context.set_offline(False)
    expect_question(page, "cat, dog, bird", 3)


def test_a_killed_server_comes_back_to_the_question(
    context: BrowserContext, run_app: Callable[..., RunningApp]
) -> None:
    app = run_app()
    page = context.new_page()
    page.goto(app.address)
    ask(page, "cat, dog")
    page.locator("#labels textarea").fill(MANY)
    wait_until_it_answers(app.address)
    app.process.send_signal(signal.SIGKILL)
    app.process.wait()
    expect(page.get_by_text("Connection to the server was lost")).to_be_visible()
    again = subprocess.Popen(
        app.process.args,
        cwd=ROOT,
        env=os.environ | {"GRADIO_TEMP_DIR": str(app.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: is_there(app.address))
        expect_question(page, MANY, 1000)
    finally:
        again.kill()
        again.wait()


def wait_until_it_answers(address: str) -> None:
    """Until the question has left the queue: the browser listens for its answer by then."""
    wait_for(lambda: bool(httpx.get(f"{address}/healthz").json()["queue"]["running"]))
    time.sleep(0.2)


def is_there(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
