"""The whole page: a title, and the tabs."""

from __future__ import annotations

import gradio as gr

from .classify import build_classify_tab
from .models import Models

TITLE = "CLIP zero-shot: a picture, labels in your own words"
# Uploads and answers are deleted when they are a day old; looked for every hour.
DELETE_CACHE = (3600, 86400)


def build_page(models: Models, queue_size: int) -> gr.Blocks:
    """The page over some models. queue_size: how many questions may wait; more are told so."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.Markdown(
            f"# {TITLE}\nHow well does each label fit? Nothing is trained: the model compares the "
            "picture with your words.",
            elem_id="title",
        )
        with gr.Tabs(elem_id="tabs"), gr.Tab("Classify", id="classify"):
            build_classify_tab(models)
    # Always a size of our own: on ZeroGPU gradio would let one question wait and refuse the next.
    return page.queue(max_size=queue_size, api_open=False)
