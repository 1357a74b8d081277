"""The first tab: one picture, labels in your own words, and how well each fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from clip_core import Scores
from prompts import TemplateError, find_label_set, label_sets, template_sets

from .api import add_endpoint
from .chart import TABLE_HEADERS, draw_chart, say, to_table
from .export import write_files, write_square
from .labels import LabelsError, parse_labels
from .model_menu import (
    LIGHT,
    ModelMenu,
    lay_out_model_menu,
    lay_out_model_status,
    wire_model_menu,
)
from .models import Models
from .notes import describe_run, note, preview
from .question import (
    IncompleteError,
    Question,
    QuestionError,
    answer_with,
    ask,
    see,
    templates_for,
)
from .zerogpu import on_gpu

EXAMPLES = Path(__file__).parent / "examples"
# Ours, or openly licensed: examples/CREDITS.md names each. None that classifies people. The first
# label is the right one.
EXAMPLE_LABELS = {
    "cat.jpg": "cat\ndog\nrabbit\nfox\nteddy bear",
    "coffee.jpg": "cup of coffee\nbowl of soup\nplate\nbottle\nvase",
    "temple.jpg": "temple\nbridge\nlighthouse\nwaterfall\nboat",
    "flower.jpg": "flower\ncar\ndog\nteapot\nboat",
    "chart.png": "bar chart\npie chart\nmap\ndiagram\ntable",
    "diagram.png": "diagram\nbar chart\nmap\nphoto\npage of text",
}
CUSTOM = "custom"
TYPING_PAUSE_MS = 400

# Ends a pause after typing with the text, and one that more typing cut short with no change.
SETTLE = f"""(text, settled) => {{
  const typed = (window.clipTyped ??= {{}});
  const mine = (typed.BOX = (typed.BOX ?? 0) + 1);
  return new Promise((done) => setTimeout(
    () => done([mine === typed.BOX ? text : settled]), {TYPING_PAUSE_MS}));
}}"""


class QuestionParts(NamedTuple):
    """The components a person asks with."""

    picture: gr.Image
    square: gr.Image  # filled by the answer: what the model sees of the picture
    labels: gr.Textbox
    labels_note: gr.HTML
    template: gr.Dropdown
    menu: ModelMenu
    custom: gr.Textbox
    template_note: gr.HTML
    compare: gr.Button
    # What was typed, once the person paused.
    typed_labels: gr.Textbox
    typed_custom: gr.Textbox


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
            question = _lay_out_question(models)
        with gr.Column(scale=6, min_width=320):
            answer = _lay_out_answer()
            _add_starts(question)
    _wire_notes(question)
    wire_model_menu(question.menu, question.template, models)

    @on_gpu
    def answer_question(asked: Question) -> Scores:
        return answer_with(models, asked)

    _wire_answer(question, answer, models, answer_question)
    add_endpoint(answer_question, question.picture, question.labels, models)
    return question


def _lay_out_question(models: Models) -> QuestionParts:
    first = models.answering(models.default)
    with gr.Row():
        picture = gr.Image(
            label="Picture",
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard", "webcam"],
            height=240,
            buttons=["fullscreen"],
            elem_id="picture",
            placeholder="Drop a picture here, paste one, or click to choose",
            scale=3,
            min_width=160,
        )
        square = gr.Image(
            label="The model sees",
            interactive=False,
            height=240,
            buttons=[],
            elem_id="square",
            alt_text="The square of the picture that the model sees",
            scale=2,
            min_width=90,
        )
    labels = gr.Textbox(
        label="Labels: one a line, or on one line with commas",
        # As many at most: fitting its height to a thousand lines stops the browser for seconds.
        lines=5,
        max_lines=5,
        placeholder="cat\ndog\ncup of coffee",
        elem_id="labels",
    )
    labels_note = gr.HTML(note(parse_labels("").note()), elem_id="labels-note", elem_classes="bare")
    with gr.Row():
        template = gr.Dropdown(
            label="Prompt template",
            choices=_template_choices(),
            value=models.default_template(first),
            elem_id="template",
            scale=3,
            min_width=220,  # on a phone a line of its own: the sets have long titles
        )
        model = lay_out_model_menu(models)
    custom = gr.Textbox(
        label="Your template",
        info="Exactly one {}; {a} becomes a or an",
        value="a photo of {a} {}.",
        max_length=300,
        visible=False,
        elem_id="custom-template",
    )
    return QuestionParts(
        picture=picture,
        square=square,
        labels=labels,
        labels_note=labels_note,
        template=template,
        menu=lay_out_model_status(model, models),
        custom=custom,
        template_note=gr.HTML(
            describe("", models.default_template(first), "")[1],
            elem_id="template-note",
            elem_classes="bare",
        ),
        compare=gr.Button("Compare", variant="primary", elem_id="compare"),
        typed_labels=gr.Textbox(visible="hidden", elem_id="typed-labels"),
        typed_custom=gr.Textbox(custom.value, visible="hidden", elem_id="typed-custom"),
    )


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


def _add_starts(question: QuestionParts) -> None:
    """Pictures and lists of labels that fill the question by one click."""
    examples = gr.Dataset(
        label="Or try one of these",
        components=[gr.Image(visible=False)],
        samples=[[str(EXAMPLES / name)] for name in EXAMPLE_LABELS],
        type="index",
        layout="gallery",
        elem_id="examples",
    )
    lists = [found for found in label_sets().values() if not found.about_people]
    ready = gr.Dropdown(
        label="Or start from a list of labels",
        choices=[(found.title, found.name) for found in lists],
        value=None,
        elem_id="label-set",
    )

    def take_example(index: int) -> tuple[str, str, str]:
        name, text = list(EXAMPLE_LABELS.items())[index]
        return str(EXAMPLES / name), text, text

    def take_list(name: str | None) -> tuple[Any, Any, Any]:
        if name is None:
            return gr.skip(), gr.skip(), gr.skip()
        chosen = find_label_set(name)
        text = "\n".join(chosen.labels)
        return text, text, chosen.template_set or gr.skip()

    examples.click(
        take_example, examples, [question.picture, question.labels, question.typed_labels], **LIGHT
    )
    ready.input(
        take_list, ready, [question.labels, question.typed_labels, question.template], **LIGHT
    )


def _wire_notes(question: QuestionParts) -> None:
    """What follows what is typed or chosen at once, before any model is asked."""
    for box, typed in (
        (question.labels, question.typed_labels),
        (question.custom, question.typed_custom),
    ):
        box.change(
            None,
            [box, typed],
            [typed],
            js=SETTLE.replace("BOX", str(typed.elem_id).replace("-", "_")),
            trigger_mode="multiple",
            show_progress="hidden",
            api_visibility="private",
        )
    gr.on(
        [question.typed_labels.change, question.template.change, question.typed_custom.change],
        describe,
        [question.typed_labels, question.template, question.typed_custom],
        [question.labels_note, question.template_note, question.custom],
        trigger_mode="always_last",
        **LIGHT,
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
        image: Any, text: str, chosen: str, custom: str, wanted: str, answered: str
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
                square = write_square(see(models, model, image), folder)
            yield {question.square: square}
            asked = ask(image, text, custom if chosen == CUSTOM else chosen, model)
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
            question.menu.switched.change,
            question.compare.click,
        ],
        answer,
        [
            question.picture,
            question.labels,
            question.template,
            question.custom,
            question.menu.model,
            question.menu.answered,
        ],
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


def describe(text: str | None, chosen: str, custom_text: str | None) -> tuple[str, str, Any]:
    """Notes on the labels and on the exact prompts, and whether the template's field is open."""
    try:
        parsed = parse_labels(text)
        labels, labels_note = parsed.labels, note(parsed.note())
    except LabelsError as error:
        labels, labels_note = (), note(str(error), problem=True)
    try:
        templates = templates_for(custom_text if chosen == CUSTOM else chosen)
        template_note = preview(templates, labels)
    except TemplateError as error:
        template_note = note(str(error), problem=True)
    return labels_note, template_note, gr.update(visible=chosen == CUSTOM)


def _template_choices() -> list[tuple[str, str]]:
    choices = [(template_set.title, name) for name, template_set in template_sets().items()]
    singles = sum("{}" in name for _, name in choices)
    return [*choices[:singles], ("custom: write your own", CUSTOM), *choices[singles:]]
