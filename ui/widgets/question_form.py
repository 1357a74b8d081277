"""Question form: an image, labels, a template, a model, and the notes below them."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from prompts import TemplateError, find_label_set, label_sets, template_sets
from ui.service.examples import EXAMPLE_LABELS, EXAMPLES
from ui.service.labels import LabelsError, parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import BEST, CUSTOM, templates_for

from .events import INSTANT, SILENT
from .model_menu import ModelMenu, lay_out_model_menu, lay_out_model_status, wire_model_menu
from .status_line import preview, status_line

FRAMING_CHOICES = [
    ("best for the model", BEST),
    ("centre crop", "crop"),
    ("pad", "pad"),
    ("squash", "squash"),
    ("five crops, averaged", "crops"),
]


class QuestionParts(NamedTuple):
    """Components of the question form."""

    picture: gr.Image
    square: gr.Image  # what the model sees of the image; filled by the answer
    labels: gr.Textbox
    labels_note: gr.HTML
    template: gr.Dropdown
    menu: ModelMenu
    custom: gr.Textbox
    template_note: gr.HTML
    framing: gr.Radio
    with_none: gr.Checkbox  # whether the answer says that none of the labels fits
    compare: gr.Button
    example: gr.Textbox  # never shown: the image's name if it is one of the page's examples
    # Never shown: what was typed, once typing has paused
    typed_labels: gr.Textbox
    typed_custom: gr.Textbox

    @property
    def asked(self) -> list[Component]:
        """The inputs of `Question.from_page`, in its order."""
        return [
            self.picture,
            self.labels,
            self.template,
            self.custom,
            self.menu.model,
            self.menu.answered,
            self.framing,
        ]


def lay_out_question(models: ModelPool) -> QuestionParts:
    """Adds the form's components to the Blocks in whose context it is called."""
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
        # Fixed height: fitting it to a thousand lines blocks the browser for seconds
        lines=5,
        max_lines=5,
        placeholder="cat\ndog\ncup of coffee",
        elem_id="labels",
    )
    labels_note = gr.HTML(
        status_line(parse_labels("").note()), elem_id="labels-note", elem_classes="bare"
    )
    with gr.Row():
        template = gr.Dropdown(
            label="Prompt template",
            choices=template_choices(),
            value=models.default_template(first),
            elem_id="template",
            scale=3,
            min_width=220,  # on a phone, a line of its own: the sets have long titles
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
    status = lay_out_model_status(model, models)
    template_note = gr.HTML(
        describe("", models.default_template(first), "")[1],
        elem_id="template-note",
        elem_classes="bare",
    )
    with gr.Accordion("More choices", open=False, elem_id="more"):
        framing = gr.Radio(
            label="The square",
            info="CLIP sees a square: how is the picture made one?",
            choices=FRAMING_CHOICES,
            value=BEST,
            elem_id="framing",
        )
        with_none = gr.Checkbox(
            label="Say when none of these fits",
            info="Shares always name a winner, even where no label is right",
            value=True,
            elem_id="with-none",
        )
    return QuestionParts(
        picture=picture,
        square=square,
        labels=labels,
        labels_note=labels_note,
        template=template,
        menu=status,
        custom=custom,
        template_note=template_note,
        framing=framing,
        with_none=with_none,
        compare=gr.Button("Compare", variant="primary", elem_id="compare"),
        example=gr.Textbox(visible="hidden", elem_id="example"),
        typed_labels=gr.Textbox(visible="hidden", elem_id="typed-labels"),
        typed_custom=gr.Textbox(custom.value, visible="hidden", elem_id="typed-custom"),
    )


def add_examples(question: QuestionParts) -> None:
    """Adds images and lists of labels that fill the form by one click."""
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

    def take_example(index: int) -> tuple[str, str, str, str]:
        name, text = list(EXAMPLE_LABELS.items())[index]
        return str(EXAMPLES / name), text, text, name

    def take_list(name: str | None) -> tuple[Any, Any, Any]:
        if name is None:
            return gr.skip(), gr.skip(), gr.skip()
        chosen = find_label_set(name)
        text = "\n".join(chosen.labels)
        return text, text, chosen.template_set or gr.skip()

    examples.click(
        take_example,
        examples,
        [question.picture, question.labels, question.typed_labels, question.example],
        **INSTANT,
    )
    question.picture.input(None, None, question.example, js="() => ''", **SILENT)
    ready.input(
        take_list, ready, [question.labels, question.typed_labels, question.template], **INSTANT
    )


def wire_question(question: QuestionParts, models: ModelPool) -> None:
    """Updates the notes as the visitor types and chooses. Needs no model."""
    for box, typed in (
        (question.labels, question.typed_labels),
        (question.custom, question.typed_custom),
    ):
        box.change(
            None,
            [box, typed],
            [typed],
            js=f"(text, settled) => clip.settle('{typed.elem_id}', text, settled)",
            trigger_mode="multiple",
            **SILENT,
        )
    gr.on(
        [question.typed_labels.change, question.template.change, question.typed_custom.change],
        describe,
        [question.typed_labels, question.template, question.typed_custom],
        [question.labels_note, question.template_note, question.custom],
        trigger_mode="always_last",
        **INSTANT,
    )
    wire_model_menu(question.menu, question.template, models)


def describe(text: str | None, chosen: str, custom_text: str | None) -> tuple[str, str, Any]:
    """Notes on the labels and on the exact prompts, and whether the field for a template shows."""
    try:
        parsed = parse_labels(text)
        labels, labels_note = parsed.labels, status_line(parsed.note())
    except LabelsError as error:
        labels, labels_note = (), status_line(str(error), problem=True)
    try:
        templates = templates_for(custom_text if chosen == CUSTOM else chosen)
        template_note = preview(templates, labels)
    except TemplateError as error:
        template_note = status_line(str(error), problem=True)
    return labels_note, template_note, gr.update(visible=chosen == CUSTOM)


def template_choices(with_custom: bool = True) -> list[tuple[str, str]]:
    """Choices for a menu of templates: the text and the value of each.

    with_custom: whether `CUSTOM` is one of them, after the single templates.
    """
    choices = [(template_set.title, name) for name, template_set in template_sets().items()]
    singles = sum("{}" in name for _, name in choices)
    custom = [("custom: write your own", CUSTOM)] if with_custom else []
    return [*choices[:singles], *custom, *choices[singles:]]
