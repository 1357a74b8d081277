"""Lazy tabs: a tab beside the answer is filled when it is opened, and again with each new answer.

A tab that nobody looks at costs nothing. The browser knows which one is open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from .events import PRIVATE, QUEUED, SILENT
from .question_form import QuestionParts


def mark_open(tab: gr.Tab, name: str) -> None:
    """Remembers in the browser that this tab is the open one, when it is opened."""
    tab.select(None, None, None, js=f"() => {{ clip.openPanel('{name}'); }}", **PRIVATE)


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

    settled: a hidden box whose text changes with each answer. fill: takes the values of
    `question.asked`, then those of the tab's own controls. on: events of those controls.
    """
    seen = gr.Textbox(visible="hidden")  # the value of `settled` that the tab was filled for
    tab.select(None, settled, seen, js=f"(settled) => clip.openPanel('{name}', settled)", **SILENT)
    settled.change(
        None,
        [settled, seen],
        seen,
        js=f"(settled, seen) => clip.refreshPanel('{name}', settled, seen)",
        **SILENT,
    )
    gr.on(
        [seen.change, *on],
        fill,
        [*question.asked, *controls],
        outputs,
        show_progress_on=outputs[0],
        **QUEUED,
    )
