"""The tab "Classify": one image, labels in the visitor's words, and how well each fits."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import pandas as pd

from ui.api.inference import add_endpoints
from ui.service.errors import IncompleteError, QuestionError
from ui.service.export import TABLE_HEADERS, to_table, write_files, write_squares
from ui.service.hints import contrast_of
from ui.service.inference import Inference, translate_errors
from ui.service.labels import parse_labels
from ui.service.question import CUSTOM, Question, shorten
from ui.widgets.chart import chart_message, draw_chart
from ui.widgets.events import INSTANT, PRIVATE, QUEUED
from ui.widgets.lazy_tab import mark_open
from ui.widgets.question_form import (
    QuestionParts,
    add_examples,
    lay_out_question,
    wire_question,
)
from ui.widgets.status_line import describe_run, draw_hints, status_line

from .prompts import build_prompts_tab
from .share import build_share_tab
from .side_by_side import build_side_by_side_tab
from .why import build_why_tab


class AnswerParts(NamedTuple):
    """The components that show an answer."""

    chart: gr.HTML
    csv_file: gr.DownloadButton
    json_file: gr.DownloadButton
    table: gr.Dataframe
    foot: gr.HTML
    hints: gr.HTML
    contrast: gr.Button  # adds the label that a negated one should be compared with
    settled: gr.Textbox  # never shown: its text changes with each answer


@dataclass(frozen=True)
class AnswerView:
    """What the page shows of an answer, or instead of one.

    With the defaults for the rest, a chart is a message that hides the last answer.
    """

    model: str  # answers the question
    awaited: bool = False  # whether another model was chosen, which is not ready
    square: str | None = None  # path: what the model sees of the image
    chart: str | None = None  # HTML; None while the last answer stays
    csv_path: str | None = None
    json_path: str | None = None
    table: pd.DataFrame | None = None
    run: str = ""  # HTML: which model answered, in what time
    hints: list[str] | None = None  # None until they are found: the last ones stay
    contrast: str | None = None  # the label that a negated one should be compared with
    token: str = field(default_factory=lambda: secrets.token_hex(8))  # another for each answer

    def with_problem(self, error: QuestionError) -> AnswerView:
        """The same image, and what is wrong or missing instead of an answer."""
        is_wrong = not isinstance(error, IncompleteError)
        return AnswerView(
            self.model,
            self.awaited,
            self.square,
            chart_message(str(error), is_wrong),
            hints=[],
            token=self.token,
        )

    def to_updates(self, question: QuestionParts, parts: AnswerParts) -> dict[Any, Any]:
        """The updates that show this. Each view's updates are complete, and new objects.

        If a browser receives several updates at once, gradio 6.31 shows the last one alone.
        """
        updates: dict[Any, Any] = {question.square: self.square}
        if self.awaited:
            updates |= {
                question.menu.pulse: gr.update(active=True),
                question.menu.switched: self.model,
            }
        if self.chart is not None:
            updates |= {
                parts.chart: self.chart,
                parts.csv_file: _show(self.csv_path),
                parts.json_file: _show(self.json_path),
                parts.table: _show(self.table),
                parts.foot: self.run,
                parts.settled: self.token,
            }
            if self.table is not None:
                updates[question.menu.answered] = self.model
        if self.hints is not None:
            updates |= {
                parts.hints: gr.update(value=draw_hints(self.hints), visible=bool(self.hints)),
                parts.contrast: gr.update(
                    value=f"Add “{shorten(self.contrast or '')}”",
                    visible=self.contrast is not None,
                ),
            }
        return updates


def answer_question(
    inference: Inference,
    folder: str | Path,
    image: Any,
    labels: str,
    template: str,
    custom: str,
    wanted: str,
    answered: str,
    framing: str,
    with_none: bool,
) -> Iterator[AnswerView]:
    """Answers a question step by step: the square, the scores, the hints; or says what is wrong.

    The arguments after `folder` are the values of `QuestionParts.asked`, and of `with_none`. Until
    the wanted model is ready, the one that answered last goes on.
    """
    model = inference.models.answering(wanted, answered)
    view = AnswerView(model, awaited=model != wanted)
    try:
        with translate_errors(model):
            if image:
                crops = inference.crops(model, image, framing)
                view = replace(view, square=write_squares(crops, folder))
            yield view
            asked = Question.parse(
                image, labels, custom if template == CUSTOM else template, model, framing
            )
            scores = inference.score(asked)
            csv_path, json_path = write_files(scores, asked, folder)
            view = replace(
                view,
                chart=draw_chart(scores, with_none),
                csv_path=csv_path,
                json_path=json_path,
                table=to_table(scores),
                run=status_line(describe_run(scores)),
            )
            yield view
            hints = inference.hints(asked, scores)
            yield replace(view, hints=hints, contrast=contrast_of(asked.labels))
    except QuestionError as error:
        yield view.with_problem(error)


def build_classify_tab(inference: Inference) -> tuple[QuestionParts, gr.Tabs]:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them.

    Returns the question's components, for other tabs to ask about the same image, and the tabs
    beside the answer.
    """
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            question = lay_out_question(inference.models)
        with gr.Column(scale=6, min_width=320), gr.Tabs(elem_id="deeper") as deeper:
            with gr.Tab("Answer", id="answer") as tab:
                mark_open(tab, "answer")
                answer = _lay_out_answer()
                add_examples(question)
            with gr.Tab("Why", id="why") as tab:
                build_why_tab(inference, question, answer.settled, tab)
            with gr.Tab("Prompts", id="prompts") as tab:
                build_prompts_tab(inference, question, answer.settled, tab)
            with gr.Tab("Side by side", id="side-by-side") as tab:
                build_side_by_side_tab(inference, question, answer.settled, tab)
            with gr.Tab("Share", id="share") as tab:
                build_share_tab(inference.models, question, answer.settled, tab)
    wire_question(question, inference.models)
    _wire_answer(inference, question, answer)
    add_endpoints(inference)
    return question, deeper


def _lay_out_answer() -> AnswerParts:
    chart = gr.HTML(
        chart_message("The answer appears here as soon as there is a picture and a label or two."),
        elem_id="chart",
        elem_classes="bare",
        container=True,
    )
    gr.HTML(
        '<p id="announced" class="spoken" aria-live="polite" translate="no"></p>',
        elem_id="announcer",
        elem_classes="bare",
    )
    hints = gr.HTML("", elem_id="hints", elem_classes="bare", visible=False)
    contrast = gr.Button("", size="sm", visible=False, elem_id="contrast")
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
        chart,
        csv_file,
        json_file,
        table,
        foot=gr.HTML("", elem_id="foot", elem_classes="bare"),
        hints=hints,
        contrast=contrast,
        settled=gr.Textbox(visible="hidden", elem_id="settled"),
    )


def _wire_answer(inference: Inference, question: QuestionParts, parts: AnswerParts) -> None:
    """Answers when the question changes, and when the button is pressed."""
    folder = parts.csv_file.GRADIO_CACHE  # where gradio deletes files that are a day old

    def answer(*values: Any) -> Iterator[dict[Any, Any]]:
        for view in answer_question(inference, folder, *values):
            yield view.to_updates(question, parts)

    def add_contrast(text: str | None) -> tuple[str, str]:
        labels = parse_labels(text).labels
        other = contrast_of(labels)
        more = "\n".join([*labels, *([other] if other else [])])
        return more, more

    menu = question.menu
    gr.on(
        [
            question.picture.change,
            question.typed_labels.change,
            question.template.change,
            question.typed_custom.change,
            question.framing.change,
            question.with_none.change,
            menu.switched.change,
            question.compare.click,
        ],
        answer,
        [*question.asked, question.with_none],
        [question.square, *parts, menu.answered, menu.pulse, menu.switched],
        show_progress_on=parts.chart,
        **QUEUED,
    )
    parts.settled.change(None, None, None, js="clip.announceAnswer", **PRIVATE)
    parts.contrast.click(
        add_contrast, question.labels, [question.labels, question.typed_labels], **INSTANT
    )


def _show(value: Any) -> Any:
    """The update of a component that is hidden when it has no value."""
    return gr.update(value=value, visible=value is not None)
