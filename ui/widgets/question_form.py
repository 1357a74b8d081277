"""What a person asks with: a picture, labels, a template, a model; and what follows at once."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from prompts import TemplateError, find_label_set, label_sets, template_sets
from ui.service.examples import EXAMPLE_LABELS, EXAMPLES
from ui.service.labels import LabelsError, parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import BEST, CUSTOM, templates_for

from .model_menu import LIGHT, ModelMenu, lay_out_model_menu, lay_out_model_status, wire_model_menu
from .status_line import preview, status_line

FRAMING_CHOICES = [
    ("best for the model", BEST),
    ("centre crop", "crop"),
    ("pad", "pad"),
    ("squash", "squash"),
    ("five crops, averaged", "crops"),
]
TYPING_PAUSE_MS = 400

# The gallery's buttons hold pictures without a name.
NAME_EXAMPLES = f"""() => {{
  const names = {json.dumps([text.split(chr(10))[0] for text in EXAMPLE_LABELS.values()])};
  document.querySelectorAll('#examples button.gallery-item').forEach(
    (button, i) => button.setAttribute('aria-label', `Example: ${{names[i]}}`));
}}"""

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
    framing: gr.Radio
    with_none: gr.Checkbox  # whether the answer says that none of the labels fits
    compare: gr.Button
    example: gr.Textbox  # never seen: the picture's name when it is one of the page's own
    # What was typed, once the person paused.
    typed_labels: gr.Textbox
    typed_custom: gr.Textbox

    @property
    def asked(self) -> list[Component]:
        """What `question.question_from_page` takes, in its order."""
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


def add_starts(question: QuestionParts) -> None:
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
        **LIGHT,
    )
    question.picture.input(
        None,
        None,
        question.example,
        js="() => ''",
        show_progress="hidden",
        api_visibility="private",
    )
    ready.input(
        take_list, ready, [question.labels, question.typed_labels, question.template], **LIGHT
    )


def wire_question(question: QuestionParts, models: ModelPool) -> None:
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
    wire_model_menu(question.menu, question.template, models)


def describe(text: str | None, chosen: str, custom_text: str | None) -> tuple[str, str, Any]:
    """Notes on the labels and on the exact prompts, and whether the template's field is open."""
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


def template_choices() -> list[tuple[str, str]]:
    """The lines of a menu of templates, and what each stands for."""
    choices = [(template_set.title, name) for name, template_set in template_sets().items()]
    singles = sum("{}" in name for _, name in choices)
    return [*choices[:singles], ("custom: write your own", CUSTOM), *choices[singles:]]
