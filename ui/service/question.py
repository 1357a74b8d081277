"""Questions: an image, labels and a template, checked before a model answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_core.inference.batcher import MOST_ROWS
from clip_core.preprocess import FRAMINGS
from prompts import TemplateError, fill_all, template_sets, validate
from prompts.templates import single_templates

from .errors import IncompleteError, QuestionError
from .labels import parse_labels, strip_control_characters
from .model_pool import ModelPool
from .uploaded import uploaded_path
from .zerogpu import ON_ZEROGPU

# How many questions are answered at once: their images go through the model as one batch. On
# ZeroGPU each answer has a process, and with it the GPU, to itself.
ON_MODEL: dict[str, Any] = {
    "concurrency_id": "model",
    "concurrency_limit": 1 if ON_ZEROGPU else MOST_ROWS,
}
CUSTOM = "custom"  # the choice of the template menu for a template of one's own
BEST = "best"  # stands for the framing that measured best for the model


@dataclass(frozen=True)
class Question:
    """An image, labels and prompts that have been checked, for one model."""

    path: str | bytes  # of the image; or its bytes, which are never stored
    picture: str  # the file's name as the visitor knows it
    labels: tuple[str, ...]
    template: str  # as the visitor chose: a template, or the name of a set
    prompts: list[list[str]]
    model: str
    framing: str | None = None  # None: the one that measured best for the model

    @classmethod
    def from_page(
        cls,
        models: ModelPool,
        image: Mapping[str, Any] | None,
        labels: str | None,
        chosen: str,
        custom: str,
        wanted: str,
        answered: str,
        framing: str,
    ) -> Question:
        """The question on the page, for the model that can answer it now.

        image: as gradio's file data; the others are the values of the page's components. Raises
        QuestionError as `parse` does.
        """
        model = models.answering(wanted, answered)
        return cls.parse(image, labels, custom if chosen == CUSTOM else chosen, model, framing)

    @classmethod
    def parse(
        cls,
        image: Mapping[str, Any] | bytes | None,
        labels: str | Sequence[str] | None,
        template: str,
        model: str,
        framing: str = BEST,
    ) -> Question:
        """Checks a question: an image as gradio's file data or as bytes, labels as typed.

        template: one that holds {}, or the name of a set. framing: `BEST`, or one of the model's.
        Raises QuestionError, or IncompleteError while the image or the labels are missing.
        """
        framed = check_framing(framing)
        if not image:
            raise IncompleteError("Drop in a picture to get an answer.")
        found = parse_labels(labels).labels
        try:
            templates = templates_for(template)
        except TemplateError as error:
            raise QuestionError(str(error)) from error
        if not found:
            raise IncompleteError("Type at least two labels to get an answer.")
        if isinstance(image, bytes):
            path: str | bytes = image
            picture = "frame"
        else:
            path = uploaded_path(image)
            picture = strip_control_characters(str(image.get("orig_name") or Path(path).name))
        return cls(path, picture, found, template, fill_all(templates, found), model, framed)

    def single_templates(self) -> tuple[str, ...]:
        """The single templates that are offered, and this question's own if it is another one."""
        offered = single_templates()
        is_other = self.template not in offered and len(self.prompts[0]) == 1
        return (*offered, self.template) if is_other else offered


def check_framing(framing: str) -> str | None:
    """The framing for a classifier, None for `BEST`. Raises QuestionError for an unknown one."""
    if framing not in (BEST, *FRAMINGS):
        raise QuestionError(
            f"There is no square {framing!r}: choose {BEST}, {', '.join(FRAMINGS[:-1])} or "
            f"{FRAMINGS[-1]}."
        )
    return None if framing == BEST else framing


def templates_for(template: str | None) -> tuple[str, ...]:
    """The templates that a choice stands for: those of a set by its name, or the text itself.

    Raises TemplateError, with one sentence, for a text that is no template.
    """
    if not template:
        raise TemplateError("The template is empty: write one that holds {} once.")
    sets = template_sets()
    if template in sets:
        return sets[template].templates
    validate(template)
    return (template,)


def shorten(text: str, limit: int = 60) -> str:
    """A text cut for a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
