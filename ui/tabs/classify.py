"""The first tab: one picture, labels in your own words, and how well each fits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gradio as gr

from clip_core import Scores
from ui.api.inference import add_endpoints
from ui.service.errors import IncompleteError, QuestionError
from ui.service.export import TABLE_HEADERS, to_table, write_files, write_squares
from ui.service.hints import contrast_of, draw_hints, find_hints
from ui.service.inference import Inference
from ui.service.labels import parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import (
    CUSTOM,
    ON_MODEL,
    Question,
    model_crops,
    parse_question,
    score,
    shorten,
    translate_errors,
)
from ui.service.zerogpu import on_gpu
from ui.widgets.chart import draw_chart, say
from ui.widgets.cumulative import cumulative_updates
from ui.widgets.lazy_tab import mark_open
from ui.widgets.model_menu import LIGHT
from ui.widgets.question_form import QuestionParts, add_starts, lay_out_question, wire_question
from ui.widgets.status_line import describe_run, status_line

from .prompts import build_prompts_tab
from .share import build_share_tab
from .side_by_side import build_side_by_side_tab
from .why import build_why_tab

ANNOUNCE = """() => {
  const [label, share] = ['.best :is(.label, .name)', '.best .share'].map(
    (part) => document.querySelector('#chart ' + part)?.textContent);
  const other = document.querySelector('#chart .empty')?.textContent; // a problem is an alert
  document.querySelector('#announced').textContent = label ? `${label}: ${share}` : other ?? '';
}"""


class AnswerParts(NamedTuple):
    """The components an answer fills, in this order."""

    chart: gr.HTML
    csv_file: gr.DownloadButton
    json_file: gr.DownloadButton
    table: gr.Dataframe
    foot: gr.HTML
    hints: gr.HTML
    contrast: gr.Button  # adds the label that a denial is to be compared with
    settled: gr.Textbox  # never seen: another text after each answer


def build_classify_tab(models: ModelPool) -> tuple[QuestionParts, gr.Tabs]:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them.

    Returns the components of the question, for the other tabs to ask about the same picture, and
    the tabs beside the answer.
    """

    @on_gpu
    def answer_question(asked: Question) -> Scores:
        return score(models, asked)

    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            question = lay_out_question(models)
        with gr.Column(scale=6, min_width=320), gr.Tabs(elem_id="deeper") as deeper:
            with gr.Tab("Answer", id="answer") as tab:
                mark_open(tab, "answer")
                answer = _lay_out_answer()
                add_starts(question)
            with gr.Tab("Why", id="why") as tab:
                build_why_tab(models, question, answer.settled, tab, answer_question)
            with gr.Tab("Prompts", id="prompts") as tab:
                build_prompts_tab(models, question, answer.settled, tab)
            with gr.Tab("Side by side", id="side-by-side") as tab:
                build_side_by_side_tab(models, question, answer.settled, tab, answer_question)
            with gr.Tab("Share", id="share") as tab:
                build_share_tab(models, question, answer.settled, tab)
    wire_question(question, models)

    @on_gpu
    def find(asked: Question, scores: Scores) -> list[str]:
        with translate_errors(asked), models.use(asked.model) as classifier:
            return find_hints(classifier, asked, scores)

    _wire_answer(question, answer, models, answer_question, find)
    # An element that comes with its text is not read out: one that was there before is.
    answer.settled.change(None, None, None, js=ANNOUNCE, api_visibility="private")
    add_endpoints(Inference(models))
    return question, deeper


def _lay_out_answer() -> AnswerParts:
    chart = gr.HTML(
        say("The answer appears here as soon as there is a picture and a label or two."),
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


def _wire_answer(
    question: QuestionParts,
    parts: AnswerParts,
    models: ModelPool,
    answer_question: Callable[[Question], Scores],
    find: Callable[[Question, Scores], list[str]],
) -> None:
    """Answers by itself when the question changes, and on the button."""
    hidden = gr.update(value=None, visible=False)
    nothing = {
        parts.csv_file: hidden,
        parts.json_file: hidden,
        parts.table: hidden,
        parts.foot: "",
        parts.hints: gr.update(value="", visible=False),
        parts.contrast: gr.update(visible=False),
    }
    folder = parts.csv_file.GRADIO_CACHE  # where gradio deletes what is a day old

    @cumulative_updates
    def answer(
        image: Any,
        text: str,
        chosen: str,
        custom: str,
        wanted: str,
        answered: str,
        framing: str,
        with_none: bool,
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
                square = write_squares(model_crops(models, model, image, framing), folder)
            yield {question.square: square}
            asked = parse_question(
                image, text, custom if chosen == CUSTOM else chosen, model, framing
            )
            scores = answer_question(asked)
            csv_path, json_path = write_files(scores, asked, folder)
        except QuestionError as error:
            problem = not isinstance(error, IncompleteError)
            yield nothing | {
                question.square: square,
                parts.chart: say(str(error), problem),
                parts.settled: secrets.token_hex(8),
            }
            return
        except Exception:  # the last question's answer must not stand under this one
            said = "Something went wrong here with this question: try again."
            yield nothing | {parts.chart: say(said, True), parts.settled: secrets.token_hex(8)}
            raise
        yield {
            parts.chart: draw_chart(scores, with_none),
            parts.csv_file: gr.update(value=csv_path, visible=True),
            parts.json_file: gr.update(value=json_path, visible=True),
            parts.table: gr.update(value=to_table(scores), visible=True),
            parts.foot: status_line(describe_run(scores)),
            question.menu.answered: model,
            parts.settled: secrets.token_hex(8),
        }
        hints = find(asked, scores)
        other = contrast_of(asked.labels)
        yield {
            parts.hints: gr.update(value=draw_hints(hints), visible=bool(hints)),
            parts.contrast: gr.update(
                value=f"Add “{shorten(other or '')}”", visible=other is not None
            ),
        }

    gr.on(
        [
            question.picture.change,
            question.typed_labels.change,
            question.template.change,
            question.typed_custom.change,
            question.framing.change,
            question.with_none.change,
            question.menu.switched.change,
            question.compare.click,
        ],
        answer,
        [*question.asked, question.with_none],
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
        **ON_MODEL,
        show_progress="minimal",
        show_progress_on=parts.chart,
        api_visibility="private",
    )

    def add_contrast(text: str | None) -> tuple[str, str]:
        labels = parse_labels(text).labels
        other = contrast_of(labels)
        more = "\n".join([*labels, *([other] if other else [])])
        return more, more

    parts.contrast.click(
        add_contrast, question.labels, [question.labels, question.typed_labels], **LIGHT
    )
