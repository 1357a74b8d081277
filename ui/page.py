"""The whole page: a title, and the tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.service.examples import EXAMPLES
from ui.service.labels import MAX_CHARACTERS
from ui.service.model_pool import ModelPool
from ui.service.permalink import LONGEST_LINK, from_permalink
from ui.tabs.camera import build_camera_tab
from ui.tabs.classify import build_classify_tab
from ui.tabs.how_it_works import build_how_it_works_tab
from ui.tabs.limits import build_limits_tab
from ui.tabs.many.tab import build_many_tab
from ui.widgets.model_menu import LIGHT
from ui.widgets.question_form import NAME_EXAMPLES, QuestionParts
from ui.widgets.session_restore import RESTORE, read_saved, wire_session_restore

TITLE = "CLIP zero-shot: a picture, labels in your own words"
# Uploads and answers are deleted when they are a day old; looked for every hour.
DELETE_CACHE = (3600, 86400)
# The tabs that a link may open
BESIDE_THE_ANSWER = ("answer", "why", "prompts", "side-by-side", "share")
BESIDE_THE_PAGE = ("camera", "many", "how", "limits")


def build_page(models: ModelPool, queue_size: int) -> gr.Blocks:
    """The page over some models. queue_size: how many questions may wait; more are told so."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.Markdown(
            f"# {TITLE}\nHow well does each label fit? Nothing is trained: the model compares the "
            "picture with your words.",
            elem_id="title",
        )
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Classify", id="classify"):
                question, deeper = build_classify_tab(models)
            with gr.Tab("Camera", id="camera") as tab:
                build_camera_tab(models, question, tab)
            with gr.Tab("Many pictures", id="many") as tab:
                build_many_tab(models, question, tab)
            with gr.Tab("How it works", id="how") as tab:
                build_how_it_works_tab(models, question, tab)
            with gr.Tab("Limits", id="limits"):
                build_limits_tab()
        _wire_link(page, models, question, deeper, tabs)
        page.load(None, None, None, js=NAME_EXAMPLES, api_visibility="private")
    # Always a size of our own: on ZeroGPU gradio would let one question wait and refuse the next.
    return page.queue(max_size=queue_size, api_open=False)


def _wire_link(
    page: gr.Blocks, models: ModelPool, question: QuestionParts, deeper: gr.Tabs, tabs: gr.Tabs
) -> None:
    """Puts what was asked before a reload, or what the page's address asks for, in its place."""
    recalled = gr.Textbox(visible="hidden")

    def restore(kept: str, request: gr.Request) -> dict[Any, Any]:
        names = [*BESIDE_THE_ANSWER, *BESIDE_THE_PAGE]
        fields, picture = read_saved(kept) if kept else ({}, None)
        asked = {**request.query_params, **fields}
        found = from_permalink(
            asked, models.names, names, MAX_CHARACTERS if fields else LONGEST_LINK
        )
        updates: dict[Any, Any] = {question.labels: gr.skip()}  # at least one, or gradio objects
        if found.labels:
            updates |= {question.labels: found.labels, question.typed_labels: found.labels}
        if found.template:
            updates[question.template] = found.template
        if found.custom:
            updates |= {question.custom: found.custom, question.typed_custom: found.custom}
        if found.framing:
            updates[question.framing] = found.framing
        if found.model:
            models.request(found.model, str(request.session_hash))
            updates[question.menu.model] = found.model
            updates[question.menu.pulse] = gr.update(active=True)
        if picture:
            updates[question.picture] = picture
        if found.example:
            updates[question.picture] = str(EXAMPLES / found.example)
            updates[question.example] = found.example
        if found.tab:
            there = deeper if found.tab in BESIDE_THE_ANSWER else tabs
            updates[there] = gr.Tabs(selected=found.tab)
        return updates

    page.load(
        restore,
        recalled,
        [
            question.labels,
            question.typed_labels,
            question.template,
            question.custom,
            question.typed_custom,
            question.framing,
            question.menu.model,
            question.menu.pulse,
            question.picture,
            question.example,
            deeper,
            tabs,
        ],
        js=RESTORE,
        **LIGHT,
    )
    wire_session_restore(question)
