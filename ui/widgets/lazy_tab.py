"""What the tabs beside the answer have in common: each asks once it is open, and with each answer.

A tab that nobody looks at costs nothing. Which one is open, the browser knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from ui.service.question import ON_MODEL

from .question_form import QuestionParts

HEAVY: dict[str, Any] = {
    **ON_MODEL,
    "preprocess": False,  # as the answer's: pictures come as uploaded
    "trigger_mode": "always_last",
    "show_progress": "minimal",
    "api_visibility": "private",
}


def mark_open(tab: gr.Tab, name: str) -> None:
    """Remembers in the browser that this tab is the open one."""
    tab.select(None, None, None, js=f"() => {{ window.clipPanel = '{name}'; }}")


def lazy_tab(
    tab: gr.Tab,
    name: str,
    settled: gr.Textbox,
    question: QuestionParts,
    fill: Callable[..., Any],
    outputs: list[Component],
    controls: Sequence[Component] = (),
    on: Sequence[Any] = (),
) -> None:
    """Runs `fill` when the tab is opened, with each answer while it is open, and on some events.

    settled: a hidden box that has another text after each answer. fill takes the values of
    `question.asked`, then those of the tab's own controls. on: those controls' events.
    """
    asked = gr.Textbox(visible="hidden")
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    tab.select(
        None,
        settled,
        asked,
        js=f"(settled) => {{ window.clipPanel = '{name}'; return settled || 'opened'; }}",
        **quick,
    )
    settled.change(
        None,
        [settled, asked],
        asked,
        js=f"(settled, asked) => window.clipPanel === '{name}' ? settled : asked",
        **quick,
    )
    gr.on(
        [asked.change, *on],
        fill,
        [*question.asked, *controls],
        outputs,
        show_progress_on=outputs[0],
        **HEAVY,
    )
