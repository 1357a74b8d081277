"""The tab "Camera": the labels against what the camera sees, frame by frame.

A frame is one short request that never waits: while the model answers another frame, it is dropped.
So the camera takes no place in the queue of those who ask about images.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from pathlib import Path
from typing import Any

import gradio as gr

from ui.service.errors import QuestionError
from ui.service.inference import Inference
from ui.service.model_pool import ModelPool
from ui.service.question import CUSTOM, Question
from ui.service.zerogpu import ON_ZEROGPU
from ui.widgets.chart import chart_message, draw_chart
from ui.widgets.events import SILENT
from ui.widgets.question_form import QuestionParts
from ui.widgets.render import render

SCRIPT = Path(__file__).parents[1].joinpath("static/camera.js").read_text(encoding="utf-8")
LARGEST_FRAME = 2_000_000  # characters of base64: the page's own frames have some 30,000
WAIT_AFTER_PROBLEM = 1000  # milliseconds until the next frame
BEFORE = "The answer moves with what the camera sees, as soon as it is started."
NOT_HERE = (
    "On this host each answer asks for a GPU of its own, which a camera would use up: take a "
    "picture under Classify instead."
)


def build_camera_tab(inference: Inference, question: QuestionParts, tab: gr.Tab) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    if ON_ZEROGPU:
        gr.HTML(chart_message(NOT_HERE))
        return
    turn = threading.Lock()

    def answer_frame(frame: dict[str, str]) -> dict[str, Any]:
        """Answers a frame; "busy" while another is being answered."""
        if not turn.acquire(blocking=False):
            return {"busy": True}
        try:
            scores = inference.score(read_frame(inference.models, frame))
        except QuestionError as error:
            message = chart_message(str(error))
            return {"chart": message, "best": "", "model": "", "wait": WAIT_AFTER_PROBLEM}
        finally:
            turn.release()
        best = scores.labels[int(scores.logits.argmax())]
        none = scores.none_of_these
        return {
            "chart": draw_chart(scores),
            "best": "" if none is not None and none.is_none else best,
            "model": scores.model,
        }

    gr.HTML(
        html_template=render("camera", message=chart_message(BEFORE)),
        js_on_load=SCRIPT,
        server_functions=[answer_frame],
        elem_id="camera",
        elem_classes="bare",
    )
    labels = gr.Textbox(
        label="Labels: one a line, or on one line with commas",
        info="The same as under Classify, as are the template and the model",
        lines=5,
        max_lines=5,
        elem_id="camera-labels",
    )
    others = gr.Textbox(visible="hidden", elem_id="camera-asked")  # camera.js sends its text
    menu = question.menu
    tab.select(
        None,
        [
            question.labels,
            question.template,
            question.custom,
            menu.model,
            menu.answered,
            question.framing,
        ],
        [labels, others],
        js="clip.cameraQuestion",
        **SILENT,
    )
    labels.blur(
        None, labels, [question.labels, question.typed_labels], js="clip.shareLabels", **SILENT
    )


def read_frame(models: ModelPool, frame: Any) -> Question:
    """The question in what the browser sent. Raises QuestionError, with one sentence."""
    try:
        template, custom, wanted, answered, framing = map(str, json.loads(frame["asked"]))
        text, labels = frame["image"], str(frame["labels"])
        if len(text) > LARGEST_FRAME:
            raise QuestionError("The camera's picture is too large: choose a smaller one.")
        image = base64.b64decode(text, validate=True)
        model = models.answering(wanted, answered)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        if isinstance(error, QuestionError):
            raise
        raise QuestionError("This frame can't be read: load the page again.") from error
    return Question.parse(image, labels, custom if template == CUSTOM else template, model, framing)
