"""Public endpoints that need a model: /classify and those that look deeper into its answer.

docs/api.md describes them; `listing.py` has the endpoints that need no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from gradio.utils import get_upload_folder

from clip_core.explain.heatmap import draw_heat_map
from ui.service.errors import QuestionError
from ui.service.export import TABLE_HEADERS, to_table, write_heat_map
from ui.service.inference import Inference
from ui.service.labels import parse_labels
from ui.service.question import BEST, ON_MODEL, Question

from .listing import add_catalogue
from .publish import publish

DIGITS = 6  # decimals in JSON
OPACITY = 0.6
# Descriptions of parameters that endpoints share
DOCS = {
    "image": "The picture.",
    "labels": "The labels to choose between, at least two: one a line, or on one line between "
    "commas or semicolons.",
    "template": "A text that holds {} once, where the label goes, or the name of a set of "
    "templates such as imagenet-7.",
    "model": "The name of a model.",
    "framing": "How the picture is made square: crop, pad, squash, crops (five, averaged), or "
    "best, the one that measured best for the model.",
}


def add_endpoints(inference: Inference) -> None:
    """Adds all endpoints to the Blocks in whose context it is called.

    They have hidden components of their own, so that their defaults and their answers don't depend
    on how the page looks.
    """
    models, endpoints = inference.models, Endpoints(inference)
    image, *images = (
        gr.Image(label=label, type="filepath", image_mode=None, visible=False)
        for label in ("Picture", *(f"Picture {number}" for number in range(1, 5)))
    )
    template = _text("Template", models.default_template(models.default))
    choice = (_text("Model", models.default), _text("Framing", BEST))
    asked = (image, _text("Labels"), template, *choice)
    typed = _text("Labels: one a line, or on one line with commas")
    opacity = gr.Number(OPACITY, label="Opacity", minimum=0, maximum=1, visible=False)
    for function, inputs, outputs in (
        (
            endpoints.classify,
            (image, typed, template, *choice),
            (gr.Label(label="Scores", visible=False), _table()),
        ),
        (endpoints.none_of_these, asked, (_json("None of these"),)),
        (
            endpoints.heat_map,
            (image, _text("Label"), _text("Other labels", ""), template, *choice, opacity),
            (gr.Image(label="Heat map", format="png", visible=False), _json("Map")),
        ),
        (endpoints.by_template, asked, (_table("template"),)),
        (endpoints.hints, asked, (_json("Hints"),)),
        (
            endpoints.similarity,
            (*images, _text("Texts"), _text("Template", "{}"), *choice),
            (_json("Similarities"),),
        ),
    ):
        publish(function, inputs, outputs, docs=DOCS, **ON_MODEL)
    add_catalogue(models)


class Endpoints:
    """The functions behind the endpoints. People and assistants read their docstrings."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def classify(
        self,
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> tuple[dict[str, float], pd.DataFrame]:
        """Scores labels, in anyone's own words, against a picture: which fits best, and by how far.

        A score is a share among these labels, not the chance that a label is true: some label
        always wins.

        Returns:
            The share of each label among these labels, 0 to 1.
            A table, best first: rank, label, prompt, score (the share), cosine similarity, logit.
        """
        scores = self._inference.score(Question.parse(image, labels, template, model, framing))
        shares = zip(scores.labels, scores.probabilities.tolist(), strict=True)
        return dict(shares), to_table(scores)

    def none_of_these(
        self,
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> dict[str, Any]:
        """Says whether any of the labels fits the picture, where classify always names a winner.

        Args:
            labels: The labels, one or more: one a line, or on one line between commas or
                semicolons.

        Returns:
            model, fitted (whether this model was fitted for it; else the rest is null), is_none
                (whether perhaps no label fits), chance (0 to 1, where half of all lists lack the
                right label), score and threshold (a score below it means that none fits).
        """
        scores = self._inference.score(Question.parse(image, labels, template, model, framing))
        none = scores.none_of_these
        return {
            "model": scores.model,
            "fitted": none is not None,
            "is_none": none and none.is_none,
            "chance": none and round(none.chance, DIGITS),
            "score": none and round(none.score, DIGITS),
            "threshold": none and none.threshold,
        }

    def heat_map(
        self,
        image: Any,
        label: str,
        others: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
        opacity: float = OPACITY,
    ) -> tuple[str, dict[str, Any]]:
        """Shows which parts of a picture speak for a label more than for other labels.

        It says where the model looks, not whether it is right.

        Args:
            label: The label to look for.
            others: The labels it is compared with, one a line, or on one line between commas or
                semicolons; empty for none.
            framing: How the picture is made square: crop, pad, squash, crops (the middle one of
                five), or best, the one that measured best for the model.
            opacity: How much the map covers the picture, 0 to 1.

        Returns:
            A PNG of the square that the model sees, with the map over it: the brighter, the more.
            The map in numbers: label, model, height, width, and grid (rows from the top, each from
                the left, 0 to 1).
        """
        (label,) = parse_labels([label or ""]).labels or ("",)
        if not label:
            raise QuestionError("Name the label to look for.")
        if not isinstance(opacity, int | float) or not 0 <= opacity <= 1:
            raise QuestionError("The opacity must be a number from 0 to 1.")
        labels = [label, *parse_labels(others).labels]
        question = Question.parse(image, labels, template, model, framing)
        square, (heat, *_) = self._inference.heat_maps(question)
        drawn = draw_heat_map(square, heat, opacity)
        return write_heat_map(drawn, question, label, get_upload_folder()), {
            "label": label,
            "model": question.model,
            "height": heat.shape[0],
            "width": heat.shape[1],
            "grid": _rounded(heat),
        }

    def by_template(
        self,
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> pd.DataFrame:
        """Asks the same question with each single prompt template: does the wording decide?

        Where all templates agree, the picture decides; where they don't, the prompt does as well.

        Args:
            template: A template of your own to try beside the single ones that are there: a text
                that holds {} once. A set of several templates adds nothing.

        Returns:
            A table, a row for each label in each template, best first within a template: template
                and the columns of classify's table.
        """
        question = Question.parse(image, labels, template, model, framing)
        templates = question.single_templates()
        answers = self._inference.score_each(question, templates)
        tables = [
            to_table(answer).assign(template=each)
            for each, answer in zip(templates, answers, strict=True)
        ]
        return pd.concat(tables, ignore_index=True)[["template", *TABLE_HEADERS]]

    def hints(
        self,
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> list[str]:
        """Says where CLIP is known to mislead about such labels and such an answer.

        It knows denials ("no", "not", "without"), labels that are not in Latin script, labels that
        mean nearly the same to the model, and a lead within what a change of template moves.

        Returns:
            A list of sentences, most often empty.
        """
        question = Question.parse(image, labels, template, model, framing)
        return self._inference.hints(question, self._inference.score(question))

    def similarity(
        self,
        image_1: Any,
        image_2: Any = None,
        image_3: Any = None,
        image_4: Any = None,
        texts: str | Sequence[str] = "",
        template: str = "{}",
        model: str = "",
        framing: str = BEST,
    ) -> dict[str, Any]:
        """Compares one to four pictures with texts: the matrix that CLIP was trained on.

        Args:
            image_1: The first picture.
            image_2: A second picture, if any.
            image_3: A third picture, if any.
            image_4: A fourth picture, if any.
            texts: The texts, one a line, or on one line between commas or semicolons.
            template: A text that holds {} once, where each text goes, or the name of a set of
                templates; {} alone leaves the texts as they are.
            framing: How a picture is made square: crop, pad, squash, crops (five, averaged), or
                best, the one that measured best for the model.

        Returns:
            model, pictures, texts, and four matrices with a row for each picture and a column for
                each text: cosine_similarities, logits, softmax_over_texts (a picture's shares sum
                to 1) and softmax_over_pictures (a text's shares sum to 1).
        """
        images = [image for image in (image_1, image_2, image_3, image_4) if image] or [None]
        questions = [Question.parse(image, texts, template, model, framing) for image in images]
        found = self._inference.similarity(questions)
        return {
            "model": questions[0].model,
            "pictures": [question.picture for question in questions],
            "texts": list(questions[0].labels),
            "cosine_similarities": _rounded(found.cosine_similarities),
            "logits": _rounded(found.logits),
            "softmax_over_texts": _rounded(found.per_image),
            "softmax_over_pictures": _rounded(found.per_text),
        }


def _text(label: str, value: str | None = None) -> gr.Textbox:
    return gr.Textbox(value, label=label, visible=False)


def _json(label: str) -> gr.JSON:
    return gr.JSON(label=label, visible=False)


def _table(*first: str) -> gr.Dataframe:
    return gr.Dataframe(headers=[*first, *TABLE_HEADERS], label="Table", visible=False)


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(float(value), DIGITS) for value in row] for row in values]
