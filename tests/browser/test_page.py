"""The page as a person uses it: the real app, the bundled model, a real browser."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import gradio
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Locator, Page, expect

from ui.service.examples import EXAMPLE_LABELS

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CHEETAH = Path(gradio.__file__).parent / "media_assets" / "images" / "cheetah1.jpg"
CAT = ROOT / "ui" / "examples" / "cat.jpg"
PARTS = ["picture", "square", "labels", "template", "model", "compare", "chart", "csv", "json"]
PARTS += ["table", "examples", "label-set", "custom-template", "labels-note", "template-note"]


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#picture input[type=file]", path)


def type_labels(page: Page, text: str) -> None:
    page.locator("#labels textarea").fill(text)


def choose(page: Page, dropdown: str, option: str) -> None:
    page.locator(f"#{dropdown} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def top(page: Page) -> Locator:
    return page.locator("#chart .best .label")


def problem(page: Page) -> Locator:
    return page.locator("#chart .problem")


def chart_labels(page: Page) -> Locator:
    return page.locator("#chart .label")


def assert_fits(page: Page) -> None:
    """Nothing makes the page wider than the window, and no part of it is cut off."""
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width
    for part in PARTS:
        box = page.locator(f"#{part}")
        if box.count() and box.is_visible():
            sides = box.bounding_box()
            assert sides["x"] >= 0, part
            assert sides["x"] + sides["width"] <= width + 0.5, part


@pytest.mark.smoke(1280, 360)
def test_a_photo_and_labels_are_answered(page: Page) -> None:
    assert_fits(page)
    expect(page.locator("#chart")).to_contain_text("The answer appears here")
    expect(page.locator("#csv")).to_be_hidden()
    upload(page, CHEETAH)
    expect(page.locator("#chart .empty")).to_have_text("Type at least two labels to get an answer.")
    type_labels(page, "dog\ncheetah\nsailboat\ncup of coffee")
    expect(top(page)).to_have_text("cheetah")
    expect(page.locator("#chart .row:not(.none)")).to_have_count(4)
    expect(page.locator("#labels-note")).to_have_text("4 labels.")
    expect(page.locator("#table")).to_be_visible()
    expect(page.locator("#foot")).to_contain_text("Answered by the model “bundled” on")
    square = page.locator("#square img")
    expect(square).to_be_visible()
    size = square.evaluate(
        "async img => { await img.decode(); return [img.naturalWidth, img.naturalHeight] }"
    )
    assert size[0] == size[1] > 100
    assert_fits(page)


def test_the_same_question_again_comes_from_the_cache(page: Page) -> None:
    upload(page, CHEETAH)
    labels = f"cheetah, horse, clock tower {page.viewport_size['width']}"
    type_labels(page, labels)
    expect(top(page)).to_have_text("cheetah")
    page.locator("#compare").click()
    expect(page.locator("#foot")).to_contain_text(
        "Picture from the cache; 3 of 3 labels from the cache."
    )
    # one new label is all that is computed for the next question
    type_labels(page, f"{labels}, loaf of bread {page.viewport_size['width']}")
    expect(page.locator("#foot")).to_contain_text("3 of 4 labels from the cache.")


@pytest.mark.smoke
def test_the_template_changes_preview_and_answer(page: Page) -> None:
    upload(page, CAT)
    type_labels(page, "cat\ndog\nowl")
    expect(top(page)).to_have_text("cat")
    prompts = page.locator("#table")
    choose(page, "template", "a sketch of a {}.")
    expect(page.locator("#template-note")).to_contain_text("Scored as “a sketch of a cat.”")
    expect(prompts).to_contain_text("a sketch of a cat.")
    choose(page, "template", "{}")
    expect(page.locator("#template-note")).to_contain_text("Scored as “cat”")
    expect(prompts).not_to_contain_text("a sketch of")
    choose(page, "template", "ImageNet, best seven: 7 templates")
    expect(page.locator("#template-note")).to_contain_text("and 6 more prompts for each label")
    expect(prompts).to_contain_text("(+6 more)")
    expect(top(page)).to_have_text("cat")


def test_a_template_of_ones_own(page: Page) -> None:
    upload(page, CAT)
    type_labels(page, "cat\nowl")
    expect(top(page)).to_have_text("cat")
    field = page.locator("#custom-template").get_by_role("textbox")
    expect(field).to_be_hidden()
    choose(page, "template", "custom: write your own")
    expect(field).to_be_visible()
    field.fill("{a} {} in a basket")
    expect(page.locator("#template-note")).to_contain_text("Scored as “a cat in a basket”")
    expect(page.locator("#table")).to_contain_text("an owl in a basket")
    expect(top(page)).to_have_text("cat")
    field.fill("no place for it")
    sentence = "The template has no {}; write {} where the label goes"
    expect(page.locator("#template-note .problem")).to_contain_text(sentence)
    expect(problem(page)).to_contain_text(sentence)
    expect(page.locator("#table")).to_be_hidden()
    assert_fits(page)
    field.fill("{} {}")
    expect(problem(page)).to_contain_text("The template has {} 2 times")
    field.fill("my {}")
    expect(top(page)).to_have_text("cat")
    expect(page.locator("#table")).to_contain_text("my owl")


@pytest.mark.smoke
def test_csv_and_json_are_downloaded_and_read_back(page: Page) -> None:
    labels = ["cheetah", 'a "house" cat, asleep', "=1+2", "猫", *(f"thing {i}" for i in range(20))]
    upload(page, CHEETAH)
    type_labels(page, "\n".join(labels))
    expect(page.locator("#chart .more").first).to_contain_text("14 more in the table.")
    with page.expect_download() as download:
        page.locator("#csv").click()
    assert download.value.suggested_filename == "scores-cheetah1-24-labels-bundled.csv"
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {*labels, "'=1+2"} - {"=1+2"}
    assert [int(row["rank"]) for row in rows] == list(range(1, 25))
    shares = [float(row["probability"]) for row in rows]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert shares == sorted(shares, reverse=True)
    shown = chart_labels(page).all_inner_texts()
    assert shown == [row["label"].removeprefix("'") for row in rows[:10]]
    with page.expect_download() as download:
        page.locator("#json").click()
    assert download.value.suggested_filename == "scores-cheetah1-24-labels-bundled.json"
    answer = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert answer["picture"] == "cheetah1.jpg"
    assert [entry["label"] for entry in answer["scores"][:10]] == shown
    assert {entry["label"] for entry in answer["scores"]} == set(labels)
    assert all(len(entry["prompts"]) >= 1 for entry in answer["scores"])


@pytest.mark.smoke
def test_what_is_wrong_is_said_in_place(page: Page, tmp_path: Path) -> None:
    note = page.locator("#labels-note")
    page.locator("#compare").click()
    expect(page.locator("#chart .empty")).to_have_text("Drop in a picture to get an answer.")
    type_labels(page, "cat, dog")
    expect(note).to_have_text("2 labels.")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture at all " * 100)
    upload(page, broken)
    expect(problem(page)).to_contain_text("This file is not a picture that can be read here")
    assert_fits(page)
    page.locator("#picture").get_by_role("button", name=re.compile("clear|remove", re.I)).click()
    expect(page.locator("#chart .empty")).to_have_text("Drop in a picture to get an answer.")
    upload(page, CAT)
    expect(top(page)).to_have_text("cat")
    type_labels(page, "")
    expect(note).to_have_text("No labels yet: type at least two.")
    expect(page.locator("#chart .empty")).to_have_text("Type at least two labels to get an answer.")
    type_labels(page, "cat")
    expect(note).to_contain_text("One label alone always gets 100 %")
    expect(page.locator("#chart .more").first).to_contain_text("One label alone always gets 100 %")
    type_labels(page, "cat\n" + "dog " * 80)
    expect(problem(page)).to_contain_text("The label “dog dog dog")
    expect(problem(page)).to_contain_text(re.compile(r"has \d\d tokens in its prompt"))
    expect(problem(page)).to_contain_text("the model reads at most 77")
    expect(page.locator("#csv")).to_be_hidden()
    assert_fits(page)
    type_labels(page, "\n".join(f"label {i}" for i in range(1001)))
    sentence = "These are 1,001 labels; at most 1,000 can be compared at once."
    expect(note).to_have_text(sentence)
    expect(problem(page)).to_have_text(sentence)
    type_labels(page, "cat, dog")
    expect(top(page)).to_have_text("cat")
    expect(page.locator("#square img")).to_be_visible()
    upload(page, broken)
    expect(problem(page)).to_contain_text("This file is not a picture that can be read here")
    expect(page.locator("#square img")).to_have_count(0)


def test_labels_are_never_rendered(page: Page) -> None:
    hostile = [
        "<img src=x onerror=\"window.ran = 'img'\">",
        "<script>window.ran = 'script'</script>",
        "<b id=injected>cat</b>",
        "[a link](javascript:window.ran='link') **bold**",
        "$x^2$",
    ]
    upload(page, CAT)
    choose(page, "template", "custom: write your own")
    page.locator("#custom-template").get_by_role("textbox").fill("<i id=injected2>{}</i>")
    type_labels(page, "\n".join(hostile))
    expect(page.locator("#chart .row:not(.none)")).to_have_count(len(hostile))
    expect(page.locator("#table")).to_contain_text("<i id=injected2>")
    assert set(chart_labels(page).all_inner_texts()) == set(hostile)
    page.locator("#template-note summary").click()
    expect(page.locator("#template-note")).to_contain_text("<i id=injected2><b id=injected>")
    for label in hostile:
        expect(page.locator("#table")).to_contain_text(label)
    type_labels(page, "<b id=injected>" + "cat " * 90 + "\ndog")
    expect(problem(page)).to_contain_text("The label “<b id=injected>cat")
    assert page.locator("#injected, #injected2, #chart img, #chart script, #table a").count() == 0
    assert page.evaluate("window.ran") is None


def test_the_last_question_wins(page: Page) -> None:
    upload(page, CAT)
    choose(page, "template", "ImageNet, best seven: 7 templates")
    type_labels(page, "\n".join(f"slow thing {i}" for i in range(150)))
    expect(page.locator("#labels-note")).to_have_text("150 labels.")  # so it was asked
    for text in ("dog, house", "dog, house, a", "fish, cat", "fish, cat, dog", "bird, cat, wolf"):
        type_labels(page, text)
    expect(page.locator("#labels-note")).to_have_text("3 labels.")
    expect(top(page)).to_have_text("cat")
    expect(page.locator("#foot")).to_contain_text("of 3 labels from the cache")
    page.wait_for_timeout(1500)  # for an old answer to come late, if one does
    assert set(chart_labels(page).all_inner_texts()) == {"bird", "cat", "wolf"}


@pytest.mark.smoke
def test_an_example_is_answered(page: Page) -> None:
    page.locator("#examples .gallery-item").first.click()
    expect(top(page)).to_have_text("cat")
    expect(page.locator("#labels textarea")).to_have_value(EXAMPLE_LABELS["cat.jpg"])
    expect(page.locator("#picture img")).to_be_visible()
    assert_fits(page)


def test_every_example_gets_its_first_label(open_page: Callable[..., Page]) -> None:
    page = open_page(1280)
    for number, labels in enumerate(EXAMPLE_LABELS.values()):
        page.locator("#examples .gallery-item").nth(number).click()
        expect(chart_labels(page).filter(has_text=labels.split("\n")[-1])).to_be_visible()
        expect(top(page)).to_have_text(labels.split("\n")[0])


def test_a_list_of_labels_fills_the_box(page: Page) -> None:
    upload(page, CAT)
    page.locator("#label-set input").click()
    page.get_by_role("option", name=re.compile("^Animals")).click()
    expect(page.locator("#labels textarea")).to_have_value(re.compile(r"^cat\ndog\n(\w+\n)+\w+$"))
    expect(page.locator("#labels-note")).to_have_text(re.compile(r"^\s*\d+ labels\.\s*$"))
    expect(top(page)).to_have_text(re.compile(r"\bcat\b"))
    expect(page.locator("#chart .row:not(.none)")).to_have_count(10)
    assert_fits(page)


@pytest.mark.parametrize("suffix", [".jpg", ".heic"])
def test_pictures_from_phones_stand_upright(suffix: str, page: Page, tmp_path: Path) -> None:
    """Red above blue; as JPEG kept lying on its side, with a note in EXIF on how to turn it."""
    upright = Image.new("RGB", (300, 300), "red")
    upright.paste("blue", (0, 150, 300, 300))
    path = tmp_path / f"IMG_0001{suffix}"
    if suffix == ".jpg":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # turn it a quarter to the right to show it
        upright.rotate(90).save(path, exif=exif, quality=95)
    else:
        upright.save(path, quality=90)
    upload(page, path)
    type_labels(page, "red, blue")
    expect(page.locator("#chart .row:not(.none)")).to_have_count(2)
    pixels = page.locator("#square img").evaluate(
        """async img => {
          for (let tries = 0; tries < 50; tries++) {
            img = document.querySelector("#square img");  // another comes with the second answer
            if (await img?.decode().then(() => true, () => false)) break;
            await new Promise(done => setTimeout(done, 100));
          }
          const canvas = document.createElement("canvas");
          const side = canvas.width = canvas.height = img.naturalWidth;
          const context = canvas.getContext("2d");
          context.drawImage(img, 0, 0);
          return [0.2, 0.8].map(
            part => [...context.getImageData(side / 2, side * part, 1, 1).data].slice(0, 3));
        }"""
    )
    assert pixels[0][0] > 200
    assert pixels[0][2] < 60
    assert pixels[1][2] > 200
    assert pixels[1][0] < 60


def test_by_keyboard_alone(page: Page) -> None:
    upload(page, CAT)
    page.locator("#labels textarea").focus()
    page.keyboard.type("cat")
    page.keyboard.press("Enter")
    page.keyboard.type("bus")
    expect(top(page)).to_have_text("cat")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#compare') !== null"):
            break
    expect(page.locator("#compare")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#foot")).to_contain_text("2 of 2 labels from the cache.")


# WCAG 2.2, 1.4.3: relative luminance and the ratio between two; what stands behind is the first
# ground among the ancestors that is not transparent.
CONTRAST = """element => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = [255, 255, 255];
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, alpha = 1] = parse(getComputedStyle(at).backgroundColor);
    if (alpha > 0) { ground = [r, g, b]; break; }
  }
  const [low, high] = [luminance(parse(getComputedStyle(element).color)), luminance(ground)]
    .sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(
    color_scheme: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(1280, color_scheme)
    assert page.evaluate("document.body.classList.contains('dark')") == (color_scheme == "dark")
    seen = ["#title h1", "#title p", "#labels-note .note", "#template-note .note", "#chart .empty"]
    for part in seen:
        assert page.locator(part).evaluate(CONTRAST) >= 4.5, part
    upload(page, CAT)
    type_labels(page, "cat, dog")
    expect(top(page)).to_have_text("cat")
    for part in (
        "#chart .best .label",
        "#chart .best .share",
        "#chart .more >> nth=0",
        "#foot .note",
    ):
        assert page.locator(part).evaluate(CONTRAST) >= 4.5, part
    type_labels(page, "\n".join(f"label {i}" for i in range(1001)))
    expect(problem(page)).to_be_visible()
    for part in ("#chart .problem", "#labels-note .problem"):
        assert page.locator(part).evaluate(CONTRAST) >= 4.5, part


@pytest.mark.smoke
def test_long_words_and_many_labels_fit_a_phone(open_page: Callable[..., Page]) -> None:
    page = open_page(360)
    upload(page, CAT)
    long = ["Donaudampfschifffahrtsgesellschaftskapitän" * 2, "https://example.org/" + "x" * 60]
    type_labels(page, "\n".join(["cat", *long, *(f"thing {i}" for i in range(30))]))
    expect(top(page)).to_have_text("cat")
    expect(page.locator("#table")).to_be_visible()
    assert_fits(page)
    page.locator("#template-note summary").click()
    assert_fits(page)
