from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.running_app import RunningApp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = (
    "NO BROWSER: no Chromium or Chrome on the PATH; .ci/install-browser says how to get one"
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MILLISECONDS_TO_ANSWER = 120_000  # on a busy machine

expect.set_options(timeout=MILLISECONDS_TO_ANSWER)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if NO_BROWSER in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("browser tests", red=True)
        terminalreporter.line(f"{len(skipped)} tests of the page were NOT run. {NO_BROWSER}.")


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts Chromium, with more flags where they are given."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    with sync_playwright() as playwright:
        browsers = []

        def start(*flags: str) -> Browser:
            browsers.append(
                playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *flags])
            )
            return browsers[-1]

        yield start
        for browser in browsers:
            browser.close()


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Browser]) -> Browser:
    return launch()


@pytest.fixture(scope="session")
def address(shared_app: RunningApp) -> str:
    return shared_app.address


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a window of that width; at the end, nothing may have gone wrong in it."""
    complaints: list[str] = []
    contexts = []

    def open_window(width: int, color_scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 860 if width > 600 else 780},
            color_scheme=color_scheme,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS_TO_ANSWER)
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                complaints.append(f"asked another server: {request.url}")
                if not request.url.startswith((address, "data:", "blob:"))
                else None
            ),
        )
        page.goto(address)
        expect(page.locator("#labels textarea")).to_be_visible()
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(width: int, open_page: Callable[..., Page]) -> Page:
    """The page in a window as wide as a laptop's, or as a small phone's."""
    return open_page(width)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test sees the page at a laptop's width; at a phone's too, if it looks at what fits."""
    if "width" in metafunc.fixturenames:
        code = metafunc.function.__code__
        fits = "assert_fits" in code.co_names or any(
            "scrollWidth" in str(x) for x in code.co_consts
        )
        metafunc.parametrize("width", [1280, 360] if fits else [1280])
