"""The tab "Why": which parts of the picture speak for a label, for one or two labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from clip_core import Scores, draw_heat_map, heat_maps
from ui.service.errors import QuestionError
from ui.service.export import write_heat_map
from ui.service.model_pool import ModelPool
from ui.service.question import Question, question_from_page, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.chart import say
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts

BEST_LABEL = "the best"
NO_LABEL = "none"
BEFORE = "Ask something first: the parts of the picture that speak for a label are shown here."
HELP = (
    "Bright parts speak for the label more than for your other labels. A map says where the model "
    "looks, not whether it is right."
)


def build_why_tab(
    models: ModelPool,
    question: QuestionParts,
    settled: gr.Textbox,
    tab: gr.Tab,
    answer_question: Callable[[Question], Scores],
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    note = gr.HTML(say(BEFORE), elem_id="why-note", elem_classes="bare")
    with gr.Row():
        first = gr.Dropdown(
            [BEST_LABEL], value=BEST_LABEL, label="Label", elem_id="why-first", min_width=140
        )
        second = gr.Dropdown(
            [NO_LABEL], value=NO_LABEL, label="Beside it", elem_id="why-second", min_width=140
        )
        opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity", min_width=140)
    with gr.Row():
        maps = [
            gr.Image(
                label="Heat map",
                visible=False,
                interactive=False,
                format="png",
                buttons=["download", "fullscreen"],
                elem_id=f"map-{place}",
                alt_text="Heat map",
                min_width=200,
            )
            for place in ("first", "second")
        ]
    folder = note.GRADIO_CACHE

    @on_gpu
    def look(asked: Question) -> tuple[Image.Image, np.ndarray]:
        with translate_errors(asked), models.use(asked.model) as classifier:
            squares = classifier.squares(asked.path, asked.framing)
            maps = heat_maps(classifier, asked.path, asked.labels, asked.prompts, asked.framing)
            return squares[len(squares) // 2], maps

    def fill(*values: Any) -> tuple[Any, ...]:
        *asked, wanted, beside, strength = values
        hidden = gr.update(value=None, visible=False)
        try:
            ready = question_from_page(models, *asked)
            scores = answer_question(ready)
            square, found = look(ready)
            best = scores.labels[int(scores.logits.argmax())]
            chosen = [wanted if wanted in ready.labels else best]
            if beside in ready.labels and beside != chosen[0]:
                chosen.append(beside)
            drawn = []
            for label in chosen:
                heat = found[ready.labels.index(label)]
                path = write_heat_map(draw_heat_map(square, heat, strength), ready, label, folder)
                drawn.append(gr.update(value=path, label=label, visible=True))
        except QuestionError as error:
            return say(str(error)), gr.skip(), gr.skip(), hidden, hidden
        return (
            f'<div class="note">{HELP}</div>',
            _offer(BEST_LABEL, ready.labels, wanted),
            _offer(NO_LABEL, ready.labels, beside),
            *drawn,
            *[hidden] * (len(maps) - len(drawn)),
        )

    lazy_tab(
        tab,
        "why",
        settled,
        question,
        fill,
        [note, first, second, *maps],
        [first, second, opacity],
        [first.input, second.input, opacity.release],
    )


def _offer(first: str, labels: tuple[str, ...], chosen: str) -> Any:
    """A menu of labels. Its value is touched only where it must be: another may just be chosen."""
    choices = [first, *labels]
    if chosen in choices:
        return gr.update(choices=choices)
    return gr.update(choices=choices, value=first)
