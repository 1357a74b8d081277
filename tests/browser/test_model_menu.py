"""Choosing a model that has to be downloaded first: from a loopback Hub, in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from clip_core.weights.registry import HUB_FILE, PUBLISHED
from tests.hub_server import Hub, serve_hub

pytestmark = pytest.mark.browser

CAT = Path(__file__).parents[2] / "ui" / "examples" / "cat.jpg"
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Hub]:
    """The homes of four published models, with a small model in each of three."""
    root = tmp_path_factory.mktemp("hub")
    for name in ("ViT-B/32", "ViT-B/16", "ViT-L/14"):
        folder = root / PUBLISHED[name].repository
        folder.mkdir(parents=True)
        shutil.copy(tiny_model, folder / HUB_FILE)
    with serve_hub(root) as served:
        yield served


@pytest.fixture(scope="module")
def address(
    hub: Hub, start_app: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    home = tmp_path_factory.mktemp("home")
    return start_app(
        HF_ENDPOINT=hub.address,
        HF_HOME=str(home / "huggingface"),
        CLIP_CACHE=str(home / "clip"),
        CLIP_MIRROR=DEAD,
        CLIP_MODEL="ViT-L/14",
    )


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#labels textarea")).to_be_visible()
    yield page
    context.close()


def ask(page: Page, labels: str) -> None:
    if not page.locator("#square img").count():
        page.set_input_files("#picture input[type=file]", CAT)
    page.locator("#labels textarea").fill(labels)
    expect(page.locator("#chart .label")).to_have_count(len(labels.split()))


def choose_model(page: Page, name: str) -> None:
    page.locator("#model input").click()
    page.get_by_role("option", name=f"{name} · ").click()


def expect_answer_of(page: Page, name: str) -> None:
    expect(page.locator("#foot")).to_contain_text(f"Answered by the model “{name}” on")


def test_opens_on_bundled_and_upgrades_itself(page: Page) -> None:
    """CLIP_MODEL names what isn't there yet: nobody waits for it."""
    ask(page, "cat\ndog")
    expect_answer_of(page, "ViT-L/14")  # first by bundled, then without a click by what was wanted
    expect(page.locator("#model input")).to_have_value(re.compile("^ViT-L/14 · 932 MB · 224 px"))
    expect(page.locator("#template input")).to_have_value(re.compile("^ImageNet, best seven"))
    expect(page.locator("#model-status")).to_be_hidden()


def test_goes_on_answering_and_switches_by_itself(page: Page, hub: Hub) -> None:
    hub.pause = 3  # seconds for each of many pieces, until bundled has answered meanwhile
    choose_model(page, "bundled")
    ask(page, "cat\ndog")
    expect_answer_of(page, "bundled")
    choose_model(page, "ViT-B/32")
    status = page.locator("#model-status")
    expect(status).to_contain_text(re.compile(r"ViT-B/32 is being downloaded: \d+ of 14 MB"))
    expect(status).to_contain_text("Until it is in, bundled answers.")
    expect(status.locator("progress")).to_have_attribute("max", re.compile(r"^\d{8}$"))
    ask(page, "cat\ndog\nfox")  # meanwhile
    expect_answer_of(page, "bundled")
    expect(page.locator("#chart .label")).to_have_count(3)
    hub.pause = 0
    expect_answer_of(page, "ViT-B/32")
    expect(status).to_be_hidden()
    expect(page.locator("#stop-download")).to_be_hidden()


def test_called_off(page: Page, hub: Hub) -> None:
    hub.pause = 3
    choose_model(page, "bundled")
    ask(page, "cat\ndog")
    choose_model(page, "ViT-B/16")
    expect(page.locator("#model-status")).to_contain_text("is being downloaded")
    page.locator("#stop-download").click()
    expect(page.locator("#model-status")).to_contain_text("ViT-B/16 was called off")
    expect(page.locator("#model input")).to_have_value(re.compile("^bundled · "))
    ask(page, "cat\ndog\nfox")
    expect_answer_of(page, "bundled")
    hub.pause = 0


def test_failed_download_says_why_and_leaves_the_old_model_answering(page: Page) -> None:
    choose_model(page, "bundled")
    ask(page, "cat\ndog")
    choose_model(page, "RN50")  # nobody has it
    status = page.locator("#model-status")
    expect(status).to_contain_text("RN50 could not be downloaded. 127.0.0.1 can't be reached")
    expect(status).to_contain_text("There is no timm/resnet50_clip.openai on")
    expect(status).to_contain_text("Until it can be had, bundled answers.")
    ask(page, "cat\ndog\nfox")
    expect_answer_of(page, "bundled")
    page.locator("#stop-download").click()  # now "Try again"
    expect(status).to_contain_text("RN50 is being")


def test_put_out_of_memory_and_sent_for_again(
    browser: Browser, start_app: Callable[..., str], tiny_model: Path, tmp_path: Path
) -> None:
    """There is room for one beside bundled: two visitors want two, and both are answered."""
    first, second = (str(shutil.copy(tiny_model, tmp_path / name)) for name in ("a.pt", "b.pt"))
    address = start_app("--model", first, "--model", second, CLIP_MEMORY="145MB")
    contexts = [browser.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for page, name in zip(pages, ("a.pt", "b.pt"), strict=True):
        page.goto(address)
        expect(page.locator("#labels textarea")).to_be_visible()
        choose_model(page, name)
        ask(page, "cat\ndog")
        expect_answer_of(page, name)
    ask(pages[0], "cat\ndog\nfox")  # its model was put out by the other's
    expect_answer_of(pages[0], "a.pt")
    expect(pages[0].locator("#chart .label")).to_have_count(3)
    for context in contexts:
        context.close()
