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


def test_sort_show_one_label_and_take_the_tables_away(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "<b>broken.jpg"
    broken.write_bytes(b"no picture")
    open_many(page, [*(EXAMPLES / name for name in NAMES), broken])
    page.locator("#sort-start").click()
    expect(page.locator("#sort-csv")).to_be_visible()
    expect(page.locator("#many-progress")).to_contain_text("6 of 6 pictures")
    expect(page.locator("#many-stop")).not_to_be_visible()
    shown = captions(page, "sort-gallery")
    best = {text.split(" · ")[1]: text.split(" · ")[0] for text in shown}
    expected = dict(zip(NAMES, LABELS.split("\n"), strict=True))
    assert all(best[name].startswith(label) for name, label in expected.items())
    expect(page.locator("#sort-problems summary")).to_have_text("1 picture can’t be read")
    page.locator("#sort-problems summary").click()
    expect(page.locator("#sort-problems li")).to_contain_text("<b>broken.jpg: This file is not")
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
    assert {text.split(" · ")[1] for text in captions(page, "copies-gallery")} == {
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
    with page.expect_download() as download:
        page.locator("#best-report").click()
    report = Path(download.value.path()).read_text(encoding="utf-8")
    assert "No difference that 5 pictures can show" in report
    page.locator("#best-wording textarea").fill("no sign")
    page.locator("#best-start").click()
    expect(page.locator("#many-progress .problem")).to_contain_text("must be a label, =,")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_stopped_it_shows_what_is_done_and_goes_on(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    paths = []
    with Image.open(EXAMPLES / "cat.jpg") as opened:
        for i in range(150):
            opened.crop((i, i, 200 + i, 200 + i)).save(tmp_path / f"{i}.jpg")
            paths.append(tmp_path / f"{i}.jpg")
    page = open_page(1280)
    open_many(page, paths, "cat\ndog")
    page.locator("#sort-start").click()
    page.locator("#many-stop").click()
    expect(page.locator("#many-progress")).to_contain_text("Stopped.")
    expect(page.locator("#many-stop")).not_to_be_visible()
    page.locator("#sort-start").click()
    expect(page.locator("#sort-csv")).to_be_visible()
    expect(page.locator("#many-progress")).to_contain_text("150 of 150 pictures")


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
