"""Questions: an image, labels and a template, checked before a model answers them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from clip_core import CheckpointError, ImageError, Scores, TextTooLongError
from clip_core.inference.batcher import MOST_ROWS
from clip_core.inference.oom import is_out_of_memory
from clip_core.preprocess import FRAMINGS
from prompts import TemplateError, fill_all, template_sets, validate
from prompts.templates import single_templates

from .errors import IncompleteError, QuestionError
from .labels import parse_labels, strip_control_characters
from .model_pool import ModelPool
from .telemetry import log_event, seconds_since
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


def score(models: ModelPool, question: Question) -> Scores:
    """Scores a question. Raises QuestionError, with one sentence, where the model can't."""
    started = time.perf_counter()
    with translate_errors(question), models.use(question.model) as classifier:
        scores = classifier.score(
            question.path, question.labels, question.prompts, question.framing
        )
    log_event(
        "answer",
        model=question.model,
        seconds=seconds_since(started),
        labels=len(scores.labels),
        labels_kept=scores.cached.texts,
        picture_kept=scores.cached.image,
    )
    return scores


@contextmanager
def translate_errors(question: Question) -> Iterator[None]:
    """Raises what goes wrong with a model as QuestionError, with one sentence."""
    try:
        yield
    except QuestionError:
        raise
    except (CheckpointError, ImageError, TextTooLongError, ValueError) as error:
        log_event("problem", kind=type(error).__name__, model=question.model)
        raise QuestionError(_sentence(error, question)) from error
    except Exception as error:
        log_event("problem", logging.ERROR, kind=type(error).__name__, model=question.model)
        if is_out_of_memory(error):
            raise QuestionError(
                "There is too little memory for this right now: try again, or choose a smaller "
                "model."
            ) from error
        raise


def _sentence(error: Exception, question: Question) -> str:
    if isinstance(error, TextTooLongError):
        # The longest of those that hold it: a short label may be a part of others' prompts
        label = max(
            (label for label in question.labels if label in error.text), key=len, default=""
        )
        return (
            f"The label “{shorten(label)}” has {error.tokens} tokens in its prompt, and the model "
            f"reads at most {error.context_length}: shorten it."
        )
    if isinstance(error, CheckpointError):
        return f"The model {question.model} could not be loaded. {error}"
    return str(error)


def model_crops(
    models: ModelPool, model: str, image: Mapping[str, Any], framing: str = BEST
) -> list[Image.Image]:
    """The squares of an uploaded picture that a model sees. Raises QuestionError."""
    try:
        with models.use(model) as classifier:
            return classifier.squares(uploaded_path(image), None if framing == BEST else framing)
    except CheckpointError as error:
        raise QuestionError(f"The model {model} could not be loaded. {error}") from error
    except (ImageError, ValueError) as error:
        raise QuestionError(str(error)) from error


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


# For callers that have not changed to `Question` and `Inference` yet
parse_question = Question.parse
question_from_page = Question.from_page
