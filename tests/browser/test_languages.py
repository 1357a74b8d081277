"""The page in Chinese, for a browser that asks for it: every text, and nothing that was typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from prompts import template_sets
from ui.server.translation import read_words
from ui.service.examples import EXAMPLE_CAPTIONS, EXAMPLES

pytestmark = pytest.mark.browser

LABELS = "cat\nkitten\ndog without fur\nAnswer"
# gradio's own texts mix both languages, or are measured and never seen; labels given as examples
NOT_OURS = {
    "cat dog cup of coffee",
    "使用 Gradio 构建",
    "通过 API 或 MCP 使用",
    "abc def ghi jkl mno pqr stu",
    "[object Object]",
}


@pytest.fixture
def open_in(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    contexts = []

    def open_window(locale: str, query: str = "", width: int = 1280) -> Page:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": 860})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)  # on a busy machine
        page.goto(address + query)
        expect(page.locator("#labels textarea")).to_be_visible()
        return page

    yield open_window
    for context in contexts:
        context.close()


def open_tab(page: Page, english: str) -> None:
    page.get_by_role("tab", name=read_words("zh")[english], exact=True).click()


def is_expected(text: str) -> bool:
    """Prompts, templates, file names and what was typed stay as they are."""
    prompts = {t for name in template_sets() for t in [name] if "{}" in t}
    typed = {*LABELS.splitlines(), "tabby", "violin", "cat.jpg", "horse.png", "chart.png", "Add “”"}
    text = re.sub(r" \(\d+\)$", "", text)  # a label with its number of pictures
    return (
        text in NOT_OURS | prompts | typed | set(EXAMPLE_CAPTIONS.values())
        or re.fullmatch(r"a photo of a [\w ]+\.|[\d.]+ KB", text) is not None
    )


def meet_many_pictures(page: Page) -> None:
    start(page, "sort")
    expect(page.locator("#many-progress")).to_contain_text("请先在上方放入一些图片")
    pictures = [EXAMPLES / name for name in ("cat.jpg", "horse.png", "chart.png", "chart.png")]
    page.set_input_files("#many-files input[type=file]", pictures)
    expect(page.locator("#many-progress")).to_contain_text("4 张图片")
    start(page, "sort")
    expect(page.locator("#sort-csv")).to_be_visible()
    for label in page.locator("#sort-order label").all():
        label.click()
    page.locator("#sort-which input").click()
    page.keyboard.press("Escape")
    open_tab(page, "Find")
    start(page, "find")
    expect(page.locator("#many-progress")).to_contain_text("请输入要查找的内容")
    page.locator("#find-phrase :is(input, textarea)").fill("Answer")
    start(page, "find")
    page.locator("#find-gallery .thumbnail-item").first.click()
    expect(page.locator("#find-like")).to_contain_text("相似")
    start(page, "find-like", exact=True)
    open_tab(page, "Copies")
    start(page, "copies")
    expect(page.locator("#copies-said")).to_contain_text("多余的副本")
    open_tab(page, "Best prompt")
    start(page, "best")
    expect(page.locator("#many-progress")).to_contain_text("这些图片没有标签")


def start(page: Page, name: str, exact: bool = False) -> None:
    page.locator(f"#{name}" if exact else f"#{name}-start").click()


def test_every_text_that_is_met_is_translated(open_in: Callable[..., Page]) -> None:
    page = open_in("zh-CN")
    assert page.evaluate("document.documentElement.lang").startswith("zh")
    expect(page).to_have_title(
        read_words("zh")["CLIP zero-shot: a picture, labels in your own words"]
    )
    page.locator("#labels textarea").fill("violin")
    page.set_input_files("#picture input[type=file]", EXAMPLES / "cat.jpg")
    expect(page.locator("#chart .none")).to_contain_text("可能都不是")
    page.locator("#labels textarea").fill(LABELS)
    expect(page.locator("#chart .row:not(.none)")).to_have_count(4)
    expect(page.locator("#chart .label", has_text="Answer")).to_have_count(1)  # a label, not a tab
    expect(page.locator("#hints")).to_contain_text("否定")
    page.locator("#more button").click()
    for field in ("#template", "#model", "#label-set"):
        page.locator(f"{field} input").click()
        page.keyboard.press("Escape")
    page.locator("#labels textarea").click()
    expect(page.locator("#model input")).to_have_value(re.compile("本页自带"))
    open_tab(page, "Why")
    expect(page.locator("#map-first img")).to_be_visible()
    expect(page.locator("#why-first input")).to_have_value("最佳标签")
    open_tab(page, "Prompts")
    expect(page.locator("#words")).to_contain_text("个模板")
    open_tab(page, "Side by side")
    page.locator("#other-labels textarea").fill("tabby\nkitten\ndog without fur\nAnswer")
    page.locator("#other-labels textarea").blur()
    open_tab(page, "Share")
    expect(page.locator("#code-python")).to_contain_text("from clip_core import")  # code stays
    open_tab(page, "Camera")
    open_tab(page, "Many pictures")
    meet_many_pictures(page)
    open_tab(page, "How it works")
    expect(page.locator("#matrix .matrix")).to_be_visible()
    for label in page.locator("#reading label").all():
        label.click()
        page.wait_for_timeout(300)
    open_tab(page, "Limits")
    page.wait_for_timeout(500)
    missing = set(page.evaluate("[...window.clipUntranslated]"))
    assert {text for text in missing if not is_expected(text)} == set()


@pytest.mark.smoke
def test_a_choice_from_a_translated_menu_is_the_right_one(open_in: Callable[..., Page]) -> None:
    page = open_in("zh-CN", width=360)
    page.set_input_files("#picture input[type=file]", EXAMPLES / "cat.jpg")
    page.locator("#label-set input").click()
    page.get_by_role("option", name="动物：18 个标签").click()
    expect(page.locator("#labels textarea")).to_have_value(re.compile("^cat\n|\ncat\n"))
    expect(page.locator("#labels-note")).to_contain_text("18 个标签。")
    page.locator("#template input").click()
    page.get_by_role("option", name="ImageNet 最好的七个：7 个模板").click()
    expect(page.locator("#template-note")).to_contain_text("另有 6 句提示词")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_other_browsers_see_english_and_a_link_may_choose(open_in: Callable[..., Page]) -> None:
    expect(open_in("de-DE").locator("#compare")).to_have_text("Compare")
    expect(open_in("zh-CN", "/?lang=en").locator("#compare")).to_have_text("Compare")
    expect(open_in("en-US", "/?lang=zh").locator("#compare")).to_have_text("比较")


@pytest.mark.smoke
def test_the_table_is_whole() -> None:
    path = Path(__file__).parents[2] / "ui/static/zh.json"
    pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    assert len(dict(pairs)) == len(pairs)
    for english, chinese in pairs:
        assert set(re.findall(r"\{\d\}", chinese)) == set(re.findall(r"\{\d\}", english)), english
        assert re.search(r"[一-鿿]", chinese) or not re.search(r"[A-Za-z]{4}", chinese), english
