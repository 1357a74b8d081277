"""Many pictures on the page, as a person goes through it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "ui/examples"
NAMES = ("cat.jpg", "coffee.jpg", "temple.jpg", "horse.png", "chart.png")
LABELS = "cat\ncup of coffee\npagoda\nhorse\nbar chart"


def open_many(page: Page, files: list[Path], labels: str = LABELS) -> None:
    page.goto(f"{page.url}?tab=many")  # on a phone the tab is in a menu
    page.set_input_files("#many-files input[type=file]", files)
    expect(page.locator("#many-progress")).to_contain_text("picture")
    page.locator("#many-labels textarea").fill(labels)


def open_tab(page: Page, name: str) -> None:
    tab = page.locator("#many").get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator("#many").get_by_role("button", name="More tabs").click()
        tab = page.locator("#many .overflow-dropdown button", has_text=name)
    tab.click()


def captions(page: Page, gallery: str) -> list[str]:
    expect(page.locator(f"#{gallery} .thumbnail-item").first).to_be_visible()
    return page.locator(f"#{gallery} .caption-label").all_inner_texts()


@pytest.mark.smoke
def test_sort_show_one_label_and_take_the_tables_away(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "<b>broken.jpg"
    broken.write_bytes(b"no picture")
    open_many(page, [*(EXAMPLES / name for name in NAMES), broken])
    page.locator("#sort-start").click()
    expect(page.locator("#sort-csv")).to_be_visible()
    expect(page.locator("#many-progress")).to_contain_text("5 of 6 pictures")
    expect(page.locator("#many-stop")).not_to_be_visible()
    shown = captions(page, "sort-gallery")
    best = {text.split(" · ")[1]: text.split(" · ")[0] for text in shown}
    expected = dict(zip(NAMES, LABELS.split("\n"), strict=True))
    assert all(best[name].startswith(label) for name, label in expected.items())
    expect(page.locator("#many-problems summary")).to_have_text("1 picture can’t be read")
    page.locator("#many-problems summary").click()
    expect(page.locator("#many-problems li")).to_contain_text("<b>broken.jpg: This file is not")
    places = [item.bounding_box() for item in page.locator("#sort-gallery .thumbnail-item").all()]
    width = page.evaluate("window.innerWidth")
    assert all(place and place["width"] > 100 for place in places)
    assert all(place and place["x"] + place["width"] < width for place in places)
    page.get_by_label("least sure first").click()
    expect(page.locator("#sort-gallery .caption-label").first).to_have_text(shown[-1])
    page.locator("#sort-which input").click()
    page.get_by_role("option", name="horse (1)").click()
    expect(page.locator("#sort-gallery .thumbnail-item")).to_have_count(1)
    expect(page.locator("#sort-gallery .caption-label")).to_contain_text("horse.png")
    for suffix, read in (
        ("csv", pd.read_csv),
        ("parquet", pd.read_parquet),
        ("jsonl", lambda path: pd.read_json(path, lines=True)),
    ):
        with page.expect_download() as download:
            page.locator(f"#sort-{suffix}").click()
        assert download.value.suggested_filename == f"sorted-5-pictures.{suffix}"
        table = read(download.value.path())
        assert dict(zip(table["picture"], table["label"], strict=True)) == expected
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_other_pictures_hide_what_was_found(open_page: Callable[..., Page]) -> None:
    page = open_page(1280)
    open_many(page, [EXAMPLES / name for name in NAMES])
    page.locator("#sort-start").click()
    expect(page.locator("#sort-csv")).to_be_visible()
    open_tab(page, "Find")
    page.locator("#find-phrase :is(input, textarea)").fill("a horse")
    page.locator("#find-start").click()
    page.locator("#find-gallery .thumbnail-item").first.click()
    expect(page.locator("#find-like")).to_have_text("More like horse.png")
    page.locator("#many-files").get_by_label("Remove this file").nth(3).click()
    expect(page.locator("#many-progress")).to_contain_text("4 pictures.")
    expect(page.locator("#find-gallery")).not_to_be_visible()
    expect(page.locator("#find-like")).not_to_be_visible()
    open_tab(page, "Sort")
    for name in ("summary .row", "choices", "gallery", "csv"):
        expect(page.locator(f"#sort-{name}")).not_to_be_visible()
    page.locator("#sort-start").click()
    expect(page.locator("#sort-csv")).to_be_visible()
    assert len(captions(page, "sort-gallery")) == 4
    expect(page.locator("#sort-which")).to_be_visible()


def test_a_slow_browser_misses_nothing(open_page: Callable[..., Page]) -> None:
    """It takes several of the server's messages at once, and all but the last may be dropped."""
    page = open_page(1280)
    slow = page.context.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    open_many(page, [EXAMPLES / name for name in NAMES])
    page.locator("#sort-start").click()
    expect(page.locator("#sort-csv")).to_be_visible()
    expect(page.locator("#sort-gallery .thumbnail-item")).to_have_count(5)
    open_tab(page, "Find")
    page.locator("#find-start").click()
    expect(page.locator("#many-progress .problem")).to_contain_text("Type what to look for.")
    page.locator("#find-phrase :is(input, textarea)").fill("a horse")
    page.locator("#find-start").click()
    expect(page.locator("#find-gallery .thumbnail-item")).to_have_count(5)
    for place in (3, 2):
        item = page.locator("#find-gallery .thumbnail-item").nth(place)
        name = item.locator(".caption-label").inner_text().split(" · ")[1]
        expect(page.locator("#find-like")).to_have_text("More like a picture: click one first")
        expect(page.locator("#find-like")).to_be_disabled()
        item.click()
        expect(page.locator("#find-like")).to_have_text(f"More like {name}")
        page.locator("#find-like").click()
        expect(page.locator("#find-gallery .caption-label").first).to_have_text(
            f"1. 1.000 · {name}"
        )


def test_find_more_like_this_and_copies(page: Page, tmp_path: Path) -> None:
    with Image.open(EXAMPLES / "cat.jpg") as opened:
        opened.resize((opened.width // 2, opened.height // 2)).save(tmp_path / "small cat.jpg")
    open_many(page, [*(EXAMPLES / name for name in NAMES), tmp_path / "small cat.jpg"])
    open_tab(page, "Find")
    page.locator("#find-phrase :is(input, textarea)").fill("a horse")
    page.locator("#find-phrase :is(input, textarea)").press("Enter")
    assert captions(page, "find-gallery")[0].endswith("horse.png")
    page.locator("#find-phrase :is(input, textarea)").fill("a cat")
    page.locator("#find-minus :is(input, textarea)").fill("a horse")
    page.locator("#find-start").click()
    expect(page.locator("#find-gallery .caption-label").first).to_contain_text("cat.jpg")
    assert captions(page, "find-gallery")[-1].endswith("horse.png")
    page.locator("#find-minus :is(input, textarea)").fill("")
    page.locator("#find-gallery .thumbnail-item").last.click()
    page.locator("#find-like").click()
    expect(page.locator("#find-gallery .caption-label").first).to_contain_text("1. 1.000")
    assert captions(page, "find-gallery")[0].endswith("horse.png")
    open_tab(page, "Copies")
    page.locator("#copies-start").click()
    expect(page.locator("#copies-said")).to_contain_text("1 copy too many, in 1 group.")
    assert {text.split(" · ")[2] for text in captions(page, "copies-gallery")} == {
        "cat.jpg",
        "small cat.jpg",
    }
    expect(page.locator("#odd-said")).to_contain_text("among 20 pictures or more")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_best_prompt_with_a_report(page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "labelled.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, label in zip(NAMES, LABELS.split("\n"), strict=True):
            zipped.write(EXAMPLES / name, f"{label}/{name}")
    open_many(page, [archive])
    expect(page.locator("#many-progress")).to_contain_text("They are labelled, with 5 labels.")
    page.locator("#sort-own-labels").click()
    expect(page.locator("#many-labels textarea")).to_have_value(
        "\n".join(sorted(LABELS.split("\n")))
    )
    open_tab(page, "Best prompt")
    page.locator("#best-wording textarea").fill("cat = horse\nhorse = cat")
    page.locator("#best-start").click()
    expect(page.locator("#best-report")).to_be_visible()
    expect(page.locator("#best-verdict .verdict")).to_contain_text(
        "No difference that 5 pictures can show"
    )
    expect(page.locator("#best-verdict tbody tr")).to_have_count(4)
    expect(page.locator("#best-said")).to_contain_text("They disagree on 2 pictures.")
    assert len(captions(page, "best-gallery")) == 2
    expect(page.locator("#best-confusion img")).to_be_visible()
    page.get_by_text("What the columns mean").click()
    expect(page.locator("#best-verdict details")).to_contain_text("expected calibration error")
    with page.expect_download() as download:
        page.locator("#best-report").click()
    report = Path(download.value.path()).read_text(encoding="utf-8")
    assert "No difference that 5 pictures can show" in report
    page.locator("#best-wording textarea").fill("no sign")
    page.locator("#best-start").click()
    expect(page.locator("#many-progress .problem")).to_contain_text("must be a label, =,")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture
def many_paths(tmp_path: Path) -> list[Path]:
    """Enough pictures to do something else while they are encoded; one of them is broken."""
    paths = [tmp_path / "broken.jpg"]
    paths[0].write_bytes(b"no picture")
    with Image.open(EXAMPLES / "cat.jpg") as opened:
        for i in range(200):
            paths.append(tmp_path / f"{i}.jpg")
            opened.crop((i, i, 200 + i, 200 + i)).save(paths[-1])
    return paths


def test_stopped_it_shows_what_is_done_and_goes_on(
    open_page: Callable[..., Page], many_paths: list[Path]
) -> None:
    page = open_page(1280)
    open_many(page, many_paths, "cat\ndog")
    page.locator("#sort-start").click()
    expect(page.locator("#sort-gallery .thumbnail-item").first).to_be_visible()
    expect(page.locator("#sort-start")).to_be_disabled()
    expect(page.get_by_label("by name")).to_be_disabled()
    open_tab(page, "Find")
    page.locator("#find-phrase :is(input, textarea)").fill("a cat")
    page.locator("#find-phrase :is(input, textarea)").press("Enter")
    expect(page.locator("#find-start")).to_be_disabled()
    page.locator("#many-stop").click()
    expect(page.locator("#many-progress")).to_contain_text("Stopped.")
    expect(page.locator("#many-stop")).not_to_be_visible()
    expect(page.locator("#find-start")).to_be_enabled()
    expect(page.locator("#many-problems")).to_contain_text("1 picture can’t be read")
    open_tab(page, "Sort")
    expect(page.get_by_label("by name")).to_be_enabled()
    with page.expect_download() as download:
        page.locator("#sort-csv").click()
    assert 0 < len(pd.read_csv(download.value.path())) < 200
    page.locator("#sort-start").click()
    expect(page.locator("#many-progress")).to_contain_text("200 of 201 pictures in")
    page.locator("#sort-more").click()
    expect(page.locator("#sort-gallery .thumbnail-item")).to_have_count(120)


def test_who_waits_for_another_run_is_told(
    open_page: Callable[..., Page], many_paths: list[Path]
) -> None:
    first, second = open_page(1280), open_page(1280)
    open_many(second, [EXAMPLES / name for name in NAMES])
    open_many(first, many_paths, "cat\ndog")
    first.locator("#sort-start").click()
    expect(first.locator("#many-progress progress")).to_be_visible()
    second.locator("#sort-start").click()
    expect(second.locator("#many-progress")).to_contain_text("Waiting for another run to end …")
    second.locator("#many-stop").click()
    expect(second.locator("#many-progress")).to_contain_text("Stopping …")
    first.locator("#many-stop").click()
    expect(first.locator("#many-progress")).to_contain_text("Stopped.")
    expect(second.locator("#many-progress")).to_contain_text("Stopped.")
    second.locator("#sort-start").click()
    expect(second.locator("#many-progress")).to_contain_text("5 of 5 pictures")


def test_what_is_missing_is_said(open_page: Callable[..., Page]) -> None:
    page = open_page(1280)
    page.get_by_role("tab", name="Many pictures", exact=True).click()
    page.locator("#sort-start").click()
    expect(page.locator("#many-progress .problem")).to_contain_text("Type at least two labels")
    page.locator("#many-labels textarea").fill("cat\ndog")
    page.locator("#many-labels textarea").blur()
    page.locator("#sort-start").click()
    expect(page.locator("#many-progress .problem")).to_contain_text("Drop some pictures above")
    page.get_by_role("tab", name="Classify", exact=True).click()
    expect(page.locator("#labels textarea")).to_have_value("cat\ndog")
