"""The tab "How it works": the method on the visitor's own image and prompt, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from clip_core.explain.introspect import LayerTrace, ModuleNode, TokenRow
from ui.service.errors import IncompleteError, QuestionError
from ui.service.inference import Inference
from ui.service.question import Question
from ui.widgets.chart import chart_message
from ui.widgets.events import QUEUED
from ui.widgets.question_form import QuestionParts
from ui.widgets.render import render
from ui.widgets.similarity_table import READINGS, draw_similarity_table

METHOD = (
    "Two towers turn a picture and a text into a list of numbers each, of one length. Training "
    "([section 2.3 of the paper](https://arxiv.org/abs/2103.00020)) made the lists of a picture "
    "and its caption point the same way, and those of strangers apart."
)
YOURS = "The first pair is your picture and the prompt of its best label."
EXAMPLES_ALONE = (
    "These are examples: with a picture and two labels on the first tab, yours are the first pair."
)


def build_how_it_works_tab(inference: Inference, question: QuestionParts, tab: gr.Tab) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    gr.Markdown(METHOD)
    gr.Markdown("## Pictures against captions")
    reading = gr.Radio(
        list(READINGS), value="cosine similarity", label="Read the matrix as", elem_id="reading"
    )
    parts = [
        gr.HTML(
            chart_message("Computed when this tab is opened."),
            elem_id="matrix",
            elem_classes=["how", "bare"],
        )
    ]
    for title, name in (
        ("The prompt as tokens", "tokens"),
        ("From the picture to its features", "stages"),
        ("The model’s parts", "tree"),
    ):
        gr.Markdown(f"## {title}")
        parts.append(gr.HTML("", elem_id=name, elem_classes=["how", "bare"]))

    def fill(*values: Any) -> tuple[str, str, str, str]:
        *fields, how = values
        try:
            model = inference.models.answering(
                fields[question.asked.index(question.menu.model)],
                fields[question.asked.index(question.menu.answered)],
            )
            try:
                asked = Question.from_page(inference.models, *fields)
            except IncompleteError:  # no image or no labels: the examples alone
                asked = None
            trace = inference.trace(model, asked)
        except QuestionError as error:
            return chart_message(str(error), problem=True), "", "", ""
        note = f"<p>{YOURS if trace.is_yours else EXAMPLES_ALONE}</p>"
        return (
            note + draw_similarity_table(trace.similarities, trace.squares, trace.captions, how),
            draw_tokens(trace.tokens),
            draw_layers(trace.image, trace.text),
            draw_module_tree(trace.tree),
        )

    gr.on(
        [tab.select, reading.input],
        fill,
        [*question.asked, reading],
        parts,
        show_progress_on=parts[0],
        **QUEUED,
    )


def draw_tokens(row: TokenRow) -> str:
    """HTML of a prompt's tokens in order, each with its number; the end of text stands out."""
    return render("tokens", row=row, used=len(row.tokens))


def draw_layers(image: Sequence[LayerTrace], text: Sequence[LayerTrace]) -> str:
    """HTML of the shapes on the way through each tower."""
    return render("layers", image=image, text=text)


def draw_module_tree(root: ModuleNode) -> str:
    """HTML of the model's modules, each opened by a click."""
    return render("module_tree", part=root)
