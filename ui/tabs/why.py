"""The tab "Why": heat maps of the image regions that speak for one or two labels."""

from __future__ import annotations

from typing import Any

import gradio as gr

from clip_core import draw_heat_map
from ui.service.errors import QuestionError
from ui.service.export import write_heat_map
from ui.service.inference import Inference
from ui.service.question import Question
from ui.widgets.chart import chart_message
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts
from ui.widgets.status_line import status_line

BEST_LABEL = "the best"
NO_LABEL = "none"
BEFORE = "Ask something first: the parts of the picture that speak for a label are shown here."
HELP = (
    "Bright parts speak for the label more than for your other labels. A map says where the model "
    "looks, not whether it is right."
)


def build_why_tab(
    inference: Inference, question: QuestionParts, settled: gr.Textbox, tab: gr.Tab
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    note = gr.HTML(chart_message(BEFORE), elem_id="why-note", elem_classes="bare")
    with gr.Row():
        first = gr.Dropdown(
            [BEST_LABEL], value=BEST_LABEL, label="Label", elem_id="why-first", min_width=140
        )
        second = gr.Dropdown(
            [NO_LABEL], value=NO_LABEL, label="Beside it", elem_id="why-second", min_width=140
        )
        opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity", min_width=140)
    with gr.Row():
        images = [
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

    def fill(*values: Any) -> dict[Any, Any]:
        *fields, wanted, beside, strength = values
        updates = {image: gr.update(value=None, visible=False) for image in images}
        try:
            asked = Question.from_page(inference.models, *fields)
            scores = inference.score(asked)
            square, maps = inference.heat_maps(asked)
            best = scores.labels[int(scores.logits.argmax())]
            chosen = [wanted if wanted in asked.labels else best]
            if beside in asked.labels and beside != chosen[0]:
                chosen.append(beside)
            for image, label in zip(images, chosen, strict=False):
                heat_map = draw_heat_map(square, maps[asked.labels.index(label)], strength)
                path = write_heat_map(heat_map, asked, label, folder)
                updates[image] = gr.update(value=path, label=label, visible=True)
        except QuestionError as error:
            hidden = {image: gr.update(value=None, visible=False) for image in images}
            return {note: chart_message(str(error)), **hidden}
        return {
            note: status_line(HELP, is_live=False),
            first: _offer(BEST_LABEL, asked.labels, wanted),
            second: _offer(NO_LABEL, asked.labels, beside),
            **updates,
        }

    lazy_tab(
        tab,
        "why",
        settled,
        question,
        fill,
        [note, first, second, *images],
        [first, second, opacity],
        [first.input, second.input, opacity.release],
    )


def _offer(default: str, labels: tuple[str, ...], chosen: str) -> Any:
    """A menu of labels. Its value changes only if it must: the visitor may just choose another."""
    choices = [default, *labels]
    if chosen in choices:
        return gr.update(choices=choices)
    return gr.update(choices=choices, value=default)
