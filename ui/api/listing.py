"""The endpoints that need no model: /prompts, /tokens, /models, /templates and /label_sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from clip_core.tokenizer import END, START, tokenizer
from prompts import fill_all, find_label_set, label_sets, template_sets
from ui.service.errors import QuestionError
from ui.service.labels import MAX_LABEL_CHARACTERS, parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import templates_for

from .publish import AT_ONCE, publish

CONTEXT_LENGTH = 77  # of the published models and the bundled one


def add_catalogue(models: ModelPool) -> None:
    """Adds the endpoints to the Blocks in whose context it is called."""

    def list_models() -> list[dict[str, Any]]:
        """Lists the models that the other tools take as model.

        Returns:
            A list of models, each with name, default (whether it answers when none is named),
                loaded, stage (absent, downloading, loading, ready or failed), default_template and
                default_framing. One that is absent is fetched when it is asked.
        """
        return [
            {
                "name": name,
                "default": name == models.default,
                "loaded": models.is_ready(name),
                "stage": models.entry(name).stage,
                "default_template": models.default_template(name),
                "default_framing": models.default_framing(name),
            }
            for name in models.names
        ]

    publish(list_models, [], [_json("Models")], name="models", **AT_ONCE)
    template = gr.Textbox(models.default_template(models.default), label="Template", visible=False)
    publish(prompts, [_text("Labels"), template], [_json("Prompts")], **AT_ONCE)
    publish(tokens, [_text("Text")], [_json("Tokens")], **AT_ONCE)
    publish(templates, [], [_json("Template sets")], **AT_ONCE)
    publish(
        list_label_sets,
        [_text("Name", "")],
        [_json("Label sets")],
        name="label_sets",
        **AT_ONCE,
    )


def prompts(labels: str | Sequence[str], template: str) -> list[dict[str, Any]]:
    """Fills labels into a template: the exact texts that CLIP would compare with a picture.

    Args:
        labels: The labels, one a line, or on one line between commas or semicolons.
        template: A text that holds {} once, as "a photo of a {}.", or the name of a set of
            templates, such as imagenet-7; {a} before {} becomes a or an.

    Returns:
        A list with label and prompts (a list of texts) for each label.
    """
    parsed = parse_labels(labels).labels
    if not parsed:
        raise QuestionError("Type at least one label to get its prompts.")
    filled = fill_all(templates_for(template), parsed)
    return [{"label": label, "prompts": texts} for label, texts in zip(parsed, filled, strict=True)]


def tokens(text: str) -> dict[str, Any]:
    """Splits a text into the tokens that CLIP reads, and tells whether it fits.

    Args:
        text: The text, at most 2,000 characters.

    Returns:
        tokens (a list of number and text, with the start and end tokens), count (how many),
            context_length (how many a model reads), fits (whether they are no more than that).
    """
    text = str(text or "")
    if len(text) > MAX_LABEL_CHARACTERS:
        raise QuestionError(
            f"The text has {len(text):,} characters: shorten it to {MAX_LABEL_CHARACTERS:,} at "
            "most."
        )
    known = tokenizer()
    numbers = [known.encoder[START], *known.encode(text), known.encoder[END]]
    return {
        "tokens": [{"number": number, "text": known.decode([number])} for number in numbers],
        "count": len(numbers),
        "context_length": CONTEXT_LENGTH,
        "fits": len(numbers) <= CONTEXT_LENGTH,
    }


def templates() -> list[dict[str, Any]]:
    """Lists the prompt templates and the sets of them that the other tools take as template.

    Returns:
        A list of sets, each with name (what to pass as template), title, templates, source and
            licence.
    """
    return [
        {
            "name": found.name,
            "title": found.title,
            "templates": list(found.templates),
            "source": found.source,
            "licence": found.licence,
        }
        for found in template_sets().values()
    ]


def list_label_sets(name: str = "") -> list[dict[str, Any]]:
    """Lists the ready-made lists of labels, or gives the labels of one.

    Args:
        name: The name of a list, to get its labels; empty to get all lists without their labels.

    Returns:
        A list of label sets, each with name, title, count, template_set (the templates that go
            with it), source, licence and, for one that was named, labels.
    """
    # Those about people are not offered on the page either
    offered = [each for each in label_sets().values() if not each.about_people]
    found = [find_label_set(name)] if name else offered
    return [
        {
            "name": each.name,
            "title": each.title,
            "count": len(each.labels),
            "template_set": each.template_set,
            "source": each.source,
            "licence": each.licence,
        }
        | ({"labels": list(each.labels)} if name else {})
        for each in found
    ]


def _text(label: str, value: str | None = None) -> gr.Textbox:
    return gr.Textbox(value, label=label, visible=False)


def _json(label: str) -> gr.JSON:
    return gr.JSON(label=label, visible=False)
