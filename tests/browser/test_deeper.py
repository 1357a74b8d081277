"""What a person asks next, one click from the answer; and a link opened in a second browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser

CAT = Path(__file__).parents[2] / "ui" / "examples" / "cat.jpg"


def ask(page: Page, labels: str) -> None:
    page.set_input_files("#picture input[type=file]", CAT)
    page.locator("#labels textarea").fill(labels)
    expect(page.locator("#chart .row:not(.none)")).to_have_count(len(labels.splitlines()))


def open_tab(page: Page, name: str, among: str = "#deeper") -> None:
    """By its button, or on a narrow page by the menu of those that don't fit."""
    button = page.locator(among).get_by_role("tab", name=name, exact=True)
    if not button.is_visible():
        page.locator(f"{among} .overflow-menu > button").first.click()
        button = page.locator(f"{among} .overflow-dropdown").first.get_by_text(name, exact=True)
    button.click()


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@pytest.mark.smoke
def test_why_shows_a_map_for_one_label_or_two(page: Page) -> None:
    ask(page, "cat\ndog\nfox")
    open_tab(page, "Why")
    expect(page.locator("#map-first img")).to_be_visible()
    expect(page.locator("#map-first")).to_contain_text("cat")
    expect(page.locator("#map-second")).to_be_hidden()
    page.locator("#why-second input").click()
    page.get_by_role("option", name="dog").click()
    expect(page.locator("#map-second img")).to_be_visible()
    expect(page.locator("#map-second")).to_contain_text("dog")
    assert_fits(page)
    with page.expect_download() as download:
        page.locator("#map-first").get_by_role("link").first.click()
    assert download.value.suggested_filename == "heat-map-cat-cat.png"
    page.locator("#labels textarea").fill("bird\nteapot")
    expect(page.locator("#map-second")).to_be_hidden()
    expect(page.locator("#why-note")).to_contain_text("Bright parts")


@pytest.mark.smoke
def test_prompts_follow_the_question_while_open(page: Page) -> None:
    ask(page, "cat\ndog")
    open_tab(page, "Prompts")
    expect(page.locator("#words")).to_contain_text("All 12 templates agree on “cat”")
    expect(page.locator("#words .dot")).to_have_count(24)
    assert_fits(page)
    page.locator("#labels textarea").fill("cat\ndog\nfox")
    expect(page.locator("#words .dot")).to_have_count(36)
    page.locator("#words summary").click()
    expect(page.locator("#words tbody tr")).to_have_count(12)
    assert_fits(page)


@pytest.mark.smoke
def test_side_by_side_marks_what_differs(page: Page) -> None:
    ask(page, "hammer\nteapot\nfox")
    open_tab(page, "Side by side")
    expect(page.locator("#both")).to_contain_text("Choose another model, another template")
    page.locator("#other-labels textarea").fill("hammer\nteapot\ncat")
    page.locator("#other-labels textarea").blur()
    expect(page.locator("#both")).to_contain_text("fox / cat")
    expect(page.locator("#both .marked").first).to_contain_text("points")
    assert_fits(page)


def test_hints_offer_the_contrast(page: Page) -> None:
    ask(page, "cat\ndog without fur")
    expect(page.locator("#hints")).to_contain_text("hardly reads the denial")
    page.get_by_role("button", name="Add “dog with fur”").click()
    expect(page.locator("#chart .row:not(.none)")).to_have_count(3)
    expect(page.locator("#contrast")).to_be_hidden()
    expect(page.locator("#labels textarea")).to_have_value("cat\ndog without fur\ndog with fur")
    assert_fits(page)


def test_the_square_is_a_choice(page: Page) -> None:
    ask(page, "cat\ndog")
    before = page.locator("#square img").get_attribute("src")
    page.get_by_role("button", name="More choices").click()
    page.get_by_label("five crops, averaged").check()
    expect(page.locator("#square img")).not_to_have_attribute("src", before)
    ratio = "img => img.naturalWidth / img.naturalHeight"
    page.wait_for_function(
        f"Math.abs(({ratio})(document.querySelector('#square img')) - 1.5) < 0.05"
    )
    assert_fits(page)
    expect(page.locator("#chart .best .label")).to_have_text("cat")


@pytest.mark.smoke
def test_a_link_opens_the_same_question_in_another_browser(
    open_page: Callable[..., Page], browser: Browser
) -> None:
    page = open_page(1280)
    page.locator("#examples button").first.click()
    expect(page.locator("#chart .row:not(.none)")).to_have_count(5)
    page.locator("#labels textarea").fill("cat & mouse\n50 % dog\n猫")
    expect(page.locator("#chart .row:not(.none)")).to_have_count(3)
    page.get_by_role("button", name="More choices").click()
    page.get_by_label("squash").check()
    open_tab(page, "Share")
    expect(page.locator("#link textarea")).not_to_have_value("")
    assert "cat.jpg" not in page.locator("#link textarea").input_value()
    page.get_by_label("with the example picture").check()
    page.locator("#opens-on input").click()
    page.get_by_role("option", name="Prompts").click()
    page.wait_for_function(
        "['tab=prompts', 'example=cat.jpg', 'framing=squash'].every("
        "part => document.querySelector('#link textarea').value.includes(part))"
    )
    link = page.locator("#link textarea").input_value()
    other = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
    other.goto(link)
    expect(other.locator("#labels textarea")).to_have_value("cat & mouse\n50 % dog\n猫")
    expect(other.locator("#words .dot")).to_have_count(36)
    expect(other.locator("#picture img")).to_be_visible()
    other.get_by_role("button", name="More choices").click()
    expect(other.get_by_label("squash")).to_be_checked()
    other.context.close()


def test_an_uploaded_picture_is_in_no_link(page: Page) -> None:
    ask(page, "cat\ndog")
    open_tab(page, "Share")
    page.get_by_label("with the example picture").check()
    page.wait_for_timeout(1500)  # for a link that would come late
    link = page.locator("#link textarea").input_value()
    assert "labels=cat%0Adog" in link
    assert "cat.jpg" not in link
    assert "example" not in link
    expect(page.locator("#code-python")).to_contain_text("ZeroShotClassifier")
    expect(page.locator("#code-curl")).to_contain_text("gradio_api/call/classify")
    assert_fits(page)


def test_how_it_works_shows_the_method_on_this_picture(page: Page) -> None:
    ask(page, "cat\ndog")
    open_tab(page, "How it works", "#tabs")
    expect(page.locator("#matrix .matrix tbody td")).to_have_count(25)
    expect(page.locator("#matrix thead th").first).to_have_text("a photo of a cat.")
    before = page.locator("#matrix td.pair").first.inner_text()
    page.get_by_label("each picture chooses").click()
    expect(page.locator("#matrix td.pair").first).to_contain_text("%")
    assert before != page.locator("#matrix td.pair").first.inner_text()
    expect(page.locator("#matrix")).to_contain_text("The first pair is your picture")
    expect(page.locator("#tokens li.end")).to_have_count(1)
    loss = page.locator("#matrix .loss").bounding_box()
    column = page.locator("#matrix").bounding_box()
    assert loss["x"] + loss["width"] <= column["x"] + column["width"] + 1
    page.locator("#tree summary").nth(1).click()
    expect(page.locator("#tree")).to_contain_text("InvertedBottleneck")
    assert_fits(page)


@pytest.mark.smoke(360)
def test_how_it_works_needs_no_picture(page: Page) -> None:
    open_tab(page, "How it works", "#tabs")
    expect(page.locator("#matrix")).to_contain_text("These are examples")
    expect(page.locator("#matrix .matrix tbody td")).to_have_count(25)
    assert_fits(page)


def test_limits_link_the_model_cards(page: Page) -> None:
    open_tab(page, "Limits", "#tabs")
    expect(page.get_by_role("link", name="model card of CLIP")).to_be_visible()
    page.get_by_role("button", name="The bundled model’s card").click()
    expect(page.locator("#card-text table").first).to_be_visible()
    assert_fits(page)


def test_a_link_opens_a_tab_beside_the_page(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(1280)
    page.goto(f"{address}/?labels=cat%0Adog&tab=how&example=cat.jpg")
    expect(page.locator("#matrix .matrix tbody td")).to_have_count(25)
    expect(page.locator("#matrix thead th").first).to_have_text("a photo of a cat.")
