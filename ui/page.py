"""The whole page: a title, and the tabs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from ui.service.examples import EXAMPLE_LABELS, EXAMPLES
from ui.service.inference import Inference
from ui.service.labels import MAX_CHARACTERS
from ui.service.model_pool import ModelPool
from ui.service.permalink import LONGEST_LINK, Restored, from_permalink
from ui.tabs.camera import build_camera_tab
from ui.tabs.classify import build_classify_tab
from ui.tabs.how_it_works import build_how_it_works_tab
from ui.tabs.limits import build_limits_tab
from ui.tabs.many.tab import build_many_tab
from ui.widgets.events import INSTANT, PRIVATE
from ui.widgets.question_form import QuestionParts
from ui.widgets.session_restore import read_saved, wire_session_restore

STATIC = Path(__file__).with_name("static")
STYLE_SHEET = STATIC / "style.css"
SCRIPT = f"<script>{(STATIC / 'page.js').read_text(encoding='utf-8')}</script>"  # for the head
TITLE = "CLIP zero-shot: a picture, labels in your own words"
# gradio deletes uploads and answers that are a day old; it looks every hour
DELETE_CACHE = (3600, 86400)
# The tabs that a link may open
BESIDE_THE_ANSWER = ("answer", "why", "prompts", "side-by-side", "share")
BESIDE_THE_PAGE = ("camera", "many", "how", "limits")


def build_page(models: ModelPool, queue_size: int) -> gr.Blocks:
    """The page over some models. queue_size: how many questions may wait; more are refused."""
    inference = Inference(models)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.Markdown(
            f"# {TITLE}\nHow well does each label fit? Nothing is trained: the model compares the "
            "picture with your words.",
            elem_id="title",
        )
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Classify", id="classify"):
                question, deeper = build_classify_tab(inference)
            with gr.Tab("Camera", id="camera") as tab:
                build_camera_tab(inference, question, tab)
            with gr.Tab("Many pictures", id="many") as tab:
                build_many_tab(inference, question, tab)
            with gr.Tab("How it works", id="how") as tab:
                build_how_it_works_tab(inference, question, tab)
            with gr.Tab("Limits", id="limits"):
                build_limits_tab()
        _wire_restore(page, models, question, deeper, tabs)
        names = [labels.split("\n")[0] for labels in EXAMPLE_LABELS.values()]
        page.load(None, None, None, js=f"() => clip.nameExamples({json.dumps(names)})", **PRIVATE)
    # Always a size of our own: on ZeroGPU gradio would let one question wait and refuse the next
    return page.queue(max_size=queue_size, api_open=False)


def _wire_restore(
    page: gr.Blocks, models: ModelPool, question: QuestionParts, deeper: gr.Tabs, tabs: gr.Tabs
) -> None:
    """Restores the question from before a reload, or the one that the page's address holds."""
    saved = gr.Textbox(visible="hidden")
    menu = question.menu

    def restore(text: str, request: gr.Request) -> dict[Any, Any]:
        found, image = read_restored(text, request.query_params, models.names)
        updates: dict[Any, Any] = {question.labels: gr.skip()}  # gradio wants at least one
        for components, value in (
            ((question.labels, question.typed_labels), found.labels),
            ((question.template,), found.template),
            ((question.custom, question.typed_custom), found.custom),
            ((question.framing,), found.framing),
            ((menu.model,), found.model),
            ((question.picture,), image),
            ((question.example,), found.example),
        ):
            if value:
                updates |= dict.fromkeys(components, value)
        if found.model:
            models.request(found.model, str(request.session_hash))
            updates[menu.pulse] = gr.update(active=True)
        if found.tab:
            parent = deeper if found.tab in BESIDE_THE_ANSWER else tabs
            updates[parent] = gr.Tabs(selected=found.tab)
        return updates

    outputs: list[Component | gr.Tabs] = [
        *(question.labels, question.typed_labels, question.template, question.custom),
        *(question.typed_custom, question.framing, menu.model, menu.pulse, question.picture),
        *(question.example, deeper, tabs),
    ]
    page.load(restore, saved, outputs, js="clip.savedQuestion", **INSTANT)
    wire_session_restore(question)


def read_restored(
    saved: str, query: Mapping[str, str], models: list[str]
) -> tuple[Restored, str | None]:
    """The question to restore, and the path of its image.

    saved: what the browser saved before a reload, which comes before the query of the address.
    """
    fields, image = read_saved(saved) if saved else ({}, None)
    longest = MAX_CHARACTERS if fields else LONGEST_LINK
    tabs = [*BESIDE_THE_ANSWER, *BESIDE_THE_PAGE]
    found = from_permalink({**query, **fields}, models, tabs, longest)
    return found, str(EXAMPLES / found.example) if found.example else image
