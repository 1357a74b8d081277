"""The first tab: one picture, labels in your own words, and how well each fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gradio as gr

from clip_core import Scores

from .api import add_endpoint
from .chart import TABLE_HEADERS, draw_chart, say, to_table
from .export import write_files, write_squares
from .form import QuestionParts, add_starts, lay_out_question, wire_question
from .models import Models
from .notes import describe_run, note
from .question import CUSTOM, IncompleteError, Question, QuestionError, answer_with, ask, see
from .zerogpu import on_gpu


class AnswerParts(NamedTuple):
    """The components an answer fills, in this order."""

    chart: gr.HTML
    csv_file: gr.DownloadButton
    json_file: gr.DownloadButton
    table: gr.Dataframe
    foot: gr.HTML


def build_classify_tab(models: Models) -> QuestionParts:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them.

    Returns the components of the question, for the other tabs to ask about the same picture.
    """
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            question = lay_out_question(models)
        with gr.Column(scale=6, min_width=320):
            answer = _lay_out_answer()
            add_starts(question)
    wire_question(question, models)

    @on_gpu
    def answer_question(asked: Question) -> Scores:
        return answer_with(models, asked)

    _wire_answer(question, answer, models, answer_question)
    add_endpoint(answer_question, question.picture, question.labels, models)
    return question


def _lay_out_answer() -> AnswerParts:
    chart = gr.HTML(
        say("The answer appears here as soon as there is a picture and a label or two."),
        elem_id="chart",
        elem_classes="bare",
        container=True,
    )
    with gr.Row():
        csv_file = gr.DownloadButton(
            "Table as CSV", size="sm", visible=False, min_width=120, elem_id="csv"
        )
        json_file = gr.DownloadButton(
            "All as JSON", size="sm", visible=False, min_width=120, elem_id="json"
        )
    table = gr.Dataframe(
        headers=TABLE_HEADERS,
        datatype=["number", "str", "str", "number", "number", "number"],
        label="All labels, best first",
        show_label=False,
        interactive=False,
        visible=False,
        wrap=True,
        max_height=330,
        buttons=["fullscreen", "copy"],
        column_widths=["60px", "130px", "165px", "105px", "95px", "75px"],
        elem_id="table",
    )
    return AnswerParts(
        chart, csv_file, json_file, table, gr.HTML("", elem_id="foot", elem_classes="bare")
    )


def _wire_answer(
    question: QuestionParts,
    parts: AnswerParts,
    models: Models,
    answer_question: Callable[[Question], Scores],
) -> None:
    """Answers by itself when the question changes, and on the button."""
    hidden = gr.update(value=None, visible=False)
    nothing = {
        parts.csv_file: hidden,
        parts.json_file: hidden,
        parts.table: hidden,
        parts.foot: "",
    }
    folder = parts.csv_file.GRADIO_CACHE  # where gradio deletes what is a day old

    def answer(
        image: Any,
        text: str,
        chosen: str,
        custom: str,
        wanted: str,
        answered: str,
        framing: str,
    ) -> Iterator[dict[Any, Any]]:
        """Checks a question and answers it, or says what is missing, where the chart stands.

        Until the wanted model is there, the one that answered last goes on.
        """
        square = None  # a picture that can't be opened must not leave the last one's square
        try:
            model = models.answering(wanted, answered)
            if model != wanted:  # on its way, or put out of memory: looked after until it is there
                yield {question.menu.pulse: gr.update(active=True), question.menu.switched: model}
            if image:
                square = write_squares(see(models, model, image, framing), folder)
            yield {question.square: square}
            asked = ask(image, text, custom if chosen == CUSTOM else chosen, model, framing)
            scores = answer_question(asked)
        except QuestionError as error:
            problem = not isinstance(error, IncompleteError)
            yield nothing | {question.square: square, parts.chart: say(str(error), problem)}
            return
        csv_path, json_path = write_files(scores, asked, folder)
        yield {
            parts.chart: draw_chart(scores),
            parts.csv_file: gr.update(value=csv_path, visible=True),
            parts.json_file: gr.update(value=json_path, visible=True),
            parts.table: gr.update(value=to_table(scores), visible=True),
            parts.foot: note(describe_run(scores)),
            question.menu.answered: model,
        }

    gr.on(
        [
            question.picture.change,
            question.typed_labels.change,
            question.template.change,
            question.typed_custom.change,
            question.framing.change,
            question.menu.switched.change,
            question.compare.click,
        ],
        answer,
        question.asked,
        [
            question.square,
            *parts,
            question.menu.answered,
            question.menu.pulse,
            question.menu.switched,
        ],
        # Pictures come as uploaded, undecoded: our opener knows more formats and words its errors.
        preprocess=False,
        # One at a time and in order, so that an old answer never follows a newer one.
        trigger_mode="always_last",
        concurrency_id="model",
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=parts.chart,
        api_visibility="private",
    )
