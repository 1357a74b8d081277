"""For those who don't see the page, or use no mouse: axe-core on every tab, and the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

CAT = Path(__file__).parents[2] / "ui/examples/cat.jpg"
BAD = ("serious", "critical")
BESIDE_THE_ANSWER = {
    "Why": "#map-first img",
    "Prompts": "#words .dot",
    "Side by side": "#both",
    "Share": "#code-python .cm-line",
}
BESIDE_THE_PAGE = {
    "Camera": "#camera button",
    "Many pictures": "#many-files",
    "How it works": "#matrix .matrix",
    "Limits": "#card",
}


GRADIOS = 'aria-label="Empty value"'  # its empty picture: a name where none may stand


def findings(page: Page, where: str) -> list[str]:
    # What is being computed again is shown pale until it is there.
    page.wait_for_function("() => !document.querySelector('.pending')")
    page.wait_for_timeout(500)
    found = Axe().run(page).response["violations"]
    return [
        f"{where}: {entry['id']} ({entry['impact']}): {node['target']} {node['html'][:120]}"
        for entry in found
        if entry["impact"] in BAD
        for node in entry["nodes"]
        if GRADIOS not in node["html"]
    ]


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.smoke), "dark"])
def test_axe_finds_nothing_serious_on_any_tab(open_page: Callable[..., Page], theme: str) -> None:
    page = open_page(1280, theme)
    found = findings(page, "empty")
    page.set_input_files("#picture input[type=file]", CAT)
    page.locator("#labels textarea").fill("cat\nkitten\ndog without fur")
    expect(page.locator("#hints li").first).to_be_visible()
    page.locator("#more button").click()
    found += findings(page, "Answer")
    for name, there in (BESIDE_THE_ANSWER | BESIDE_THE_PAGE).items():
        page.get_by_role("tab", name=name, exact=True).click()
        expect(page.locator(there).first).to_be_visible()
        found += findings(page, name)
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.get_by_role("tab", name="Answer", exact=True).click()
    page.locator("#labels textarea").fill("x" * 3000)
    expect(page.locator("#chart .problem")).to_be_visible()
    found += findings(page, "problem")
    assert not found, "\n".join(found)


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Presses Tab until an element is reached; each stop on the way must be seen to have it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        reached = page.evaluate(
            """(selector) => {
              const at = document.activeElement, style = getComputedStyle(at);
              const seen = style.outlineStyle !== 'none' || style.boxShadow !== 'none'
                || at.closest('.focused, :has(> input:focus)') || at.matches('input, textarea');
              if (at === document.body) return [false, true, '']; // gradio's closing menus
              return [at.matches(selector), Boolean(seen), at.outerHTML.slice(0, 120)];
            }""",
            selector,
        )
        assert reached[1], f"nothing shows that the focus is on {reached[2]}"
        if reached[0]:
            return
    pytest.fail(f"Tab does not reach {selector}")


def test_a_question_by_the_keyboard_alone(open_page: Callable[..., Page]) -> None:
    page = open_page(1280)
    tab_to(page, "#labels textarea")
    tab_to(page, "#compare")
    tab_to(page, "#examples button:nth-child(2)")
    assert page.evaluate("document.activeElement.ariaLabel") == "Example: cup of coffee"
    page.keyboard.press("Enter")
    expect(page.locator("#chart .best .label")).to_have_text("cup of coffee")
    expect(page.locator("#announced")).to_contain_text("cup of coffee: 9")
    page.locator("#labels textarea").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("dog\nviolin")
    expect(page.locator("#chart .none.best")).to_be_visible()
    page.get_by_role("tab", name="Answer", exact=True).focus()
    tab_to(page, "[role=tab][data-tab-id=why]")
    page.keyboard.press("Enter")
    expect(page.locator("#map-first img")).to_be_visible()


def test_nothing_moves_for_those_who_ask_for_rest(open_page: Callable[..., Page]) -> None:
    page = open_page(1280)
    page.emulate_media(reduced_motion="reduce")
    for _ in range(400):  # what gradio shows while it waits comes and goes
        slow = page.evaluate(
            """() => [...document.querySelectorAll('*')].filter((element) => {
              const style = getComputedStyle(element);
              return [style.transitionDuration, style.animationDuration].join().split(',')
                .some((time) => parseFloat(time) > 0.01);
            }).map((element) => element.outerHTML.slice(0, 100))"""
        )
        if not slow:
            break
        page.wait_for_timeout(250)
    assert slow == []
