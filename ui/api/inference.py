"""The public endpoints that ask a model: /classify and what goes deeper on the same question.

docs/api.md describes them; `catalogue.py` has those that need no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
import torch
from PIL import Image

from clip_core import Scores
from clip_core.explain.heatmap import draw_heat_map, heat_maps
from clip_core.explain.similarity import compare
from prompts import fill_all
from prompts.templates import single_templates
from ui.service.errors import QuestionError
from ui.service.export import write_heat_map
from ui.service.hints import find_hints
from ui.service.labels import parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import BEST, ON_MODEL, Question, parse_question, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.chart import TABLE_HEADERS, to_table

from .listing import add_catalogue
from .publish import publish

DIGITS = 6  # of what JSON says
OPACITY = 0.6


def add_endpoints(
    answer_question: Callable[[Question], Scores],
    picture: gr.Image,
    labels: gr.Textbox,
    models: ModelPool,
) -> None:
    """Adds the endpoints to the Blocks in whose context it is called.

    They have components of their own, never shown, so that their defaults and what they return
    don't hang on how the page looks.
    """
    _add_classify(answer_question, picture, labels, models)
    _add_none_of_these(answer_question, models)
    _add_heat_map(models)
    _add_by_template(models)
    _add_hints(answer_question, models)
    _add_similarity(models)
    add_catalogue(models)


def _add_classify(
    answer_question: Callable[[Question], Scores],
    picture: gr.Image,
    labels: gr.Textbox,
    models: ModelPool,
) -> None:
    def classify(
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> tuple[dict[str, float], pd.DataFrame]:
        """Scores labels, in anyone's own words, against a picture: which fits best, and by how far.

        A score is a share among these labels, not the chance that a label is true: some label
        always wins.

        Args:
            image: The picture.
            labels: The labels to choose between, at least two: one a line, or on one line between
                commas or semicolons.
            template: A text that holds {} once, where the label goes, or the name of a set of
                templates such as imagenet-7.
            model: The name of a model.
            framing: How the picture is made square: crop, pad, squash, crops (five, averaged), or
                best, the one that measured best for the model.

        Returns:
            The share of each label among these labels, 0 to 1.
            A table, best first: rank, label, prompt, score (the share), cosine similarity, logit.
        """
        scores = answer_question(parse_question(image, labels, template, model, framing))
        shares = zip(scores.labels, scores.probabilities.tolist(), strict=True)
        return dict(shares), to_table(scores)

    publish(
        classify,
        [picture, labels, *_choices(models)],
        [
            gr.Label(label="Scores", visible=False),
            gr.Dataframe(headers=TABLE_HEADERS, label="Table", visible=False),
        ],
        **ON_MODEL,
    )


def _add_none_of_these(answer_question: Callable[[Question], Scores], models: ModelPool) -> None:
    def none_of_these(
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> dict[str, Any]:
        """Says whether any of the labels fits the picture, where classify always names a winner.

        Args:
            image: The picture.
            labels: The labels, one or more: one a line, or on one line between commas or
                semicolons.
            template: A text that holds {} once, where the label goes, or the name of a set of
                templates such as imagenet-7.
            model: The name of a model.
            framing: How the picture is made square: crop, pad, squash, crops (five, averaged), or
                best, the one that measured best for the model.

        Returns:
            model, fitted (whether this model was fitted for it; else the rest is null), is_none
                (whether perhaps no label fits), chance (0 to 1, where half of all lists lack the
                right label), score and threshold (a score below it means that none fits).
        """
        scores = answer_question(parse_question(image, labels, template, model, framing))
        none = scores.none_of_these
        return {
            "model": scores.model,
            "fitted": none is not None,
            "is_none": none and none.is_none,
            "chance": none and round(none.chance, DIGITS),
            "score": none and round(none.score, DIGITS),
            "threshold": none and none.threshold,
        }

    publish(
        none_of_these,
        [_picture(), _labels(), *_choices(models)],
        [gr.JSON(label="None of these", visible=False)],
        **ON_MODEL,
    )


def _add_heat_map(models: ModelPool) -> None:
    @on_gpu
    def look(asked: Question) -> tuple[Image.Image, np.ndarray]:
        with translate_errors(asked), models.use(asked.model) as classifier:
            squares = classifier.squares(asked.path, asked.framing)
            maps = heat_maps(classifier, asked.path, asked.labels, asked.prompts, asked.framing)
            return squares[len(squares) // 2], maps[0]

    drawn = gr.Image(label="Heat map", format="png", visible=False)

    def heat_map(
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
            image: The picture.
            label: The label to look for.
            others: The labels it is compared with, one a line, or on one line between commas or
                semicolons; empty for none.
            template: A text that holds {} once, where the label goes, or the name of a set of
                templates such as imagenet-7.
            model: The name of a model.
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
        compared = [label, *parse_labels(others).labels]
        asked = parse_question(image, compared, template, model, framing)
        square, heat = look(asked)
        path = write_heat_map(
            draw_heat_map(square, heat, opacity), asked, label, drawn.GRADIO_CACHE
        )
        return path, {
            "label": label,
            "model": asked.model,
            "height": heat.shape[0],
            "width": heat.shape[1],
            "grid": _rounded(heat),
        }

    publish(
        heat_map,
        [
            _picture(),
            gr.Textbox(label="Label", visible=False),
            gr.Textbox("", label="Other labels", visible=False),
            *_choices(models),
            gr.Number(OPACITY, label="Opacity", minimum=0, maximum=1, visible=False),
        ],
        [drawn, gr.JSON(label="Map", visible=False)],
        **ON_MODEL,
    )


def _add_by_template(models: ModelPool) -> None:
    @on_gpu
    def answer_each(asked: Question, templates: tuple[str, ...]) -> list[Scores]:
        with translate_errors(asked), models.use(asked.model) as classifier:
            filled = fill_all(templates, asked.labels)
            return classifier.score_each(asked.path, asked.labels, filled, asked.framing)

    def by_template(
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> pd.DataFrame:
        """Asks the same question with each single prompt template: does the wording decide?

        Where all templates agree, the picture decides; where they don't, the prompt does as well.

        Args:
            image: The picture.
            labels: The labels to choose between, at least two: one a line, or on one line between
                commas or semicolons.
            template: A template of your own to try beside the single ones that are there: a text
                that holds {} once. A set of several templates adds nothing.
            model: The name of a model.
            framing: How the picture is made square: crop, pad, squash, crops (five, averaged), or
                best, the one that measured best for the model.

        Returns:
            A table, a row for each label in each template, best first within a template: template
                and the columns of classify's table.
        """
        asked = parse_question(image, labels, template, model, framing)
        templates = single_templates()
        if asked.template not in templates and len(asked.prompts[0]) == 1:
            templates += (asked.template,)
        answers = answer_each(asked, templates)
        tables = [
            to_table(answer).assign(template=each)
            for each, answer in zip(templates, answers, strict=True)
        ]
        return pd.concat(tables, ignore_index=True)[["template", *TABLE_HEADERS]]

    publish(
        by_template,
        [_picture(), _labels(), *_choices(models)],
        [gr.Dataframe(headers=["template", *TABLE_HEADERS], label="Table", visible=False)],
        **ON_MODEL,
    )


def _add_hints(answer_question: Callable[[Question], Scores], models: ModelPool) -> None:
    @on_gpu
    def find(asked: Question, scores: Scores) -> list[str]:
        with translate_errors(asked), models.use(asked.model) as classifier:
            return find_hints(classifier, asked, scores)

    def hints(
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> list[str]:
        """Says where CLIP is known to mislead about such labels and such an answer.

        It knows denials ("no", "not", "without"), labels that are not in Latin script, labels that
        mean nearly the same to the model, and a lead within what a change of template moves.

        Args:
            image: The picture.
            labels: The labels to choose between, at least two: one a line, or on one line between
                commas or semicolons.
            template: A text that holds {} once, where the label goes, or the name of a set of
                templates such as imagenet-7.
            model: The name of a model.
            framing: How the picture is made square: crop, pad, squash, crops (five, averaged), or
                best, the one that measured best for the model.

        Returns:
            A list of sentences, most often empty.
        """
        asked = parse_question(image, labels, template, model, framing)
        return find(asked, answer_question(asked))

    publish(
        hints,
        [_picture(), _labels(), *_choices(models)],
        [gr.JSON(label="Hints", visible=False)],
        **ON_MODEL,
    )


def _add_similarity(models: ModelPool) -> None:
    @on_gpu
    def matrix(questions: list[Question]) -> dict[str, Any]:
        first = questions[0]
        with translate_errors(first), models.use(first.model) as classifier:
            images = [classifier.image_features(each.path, each.framing) for each in questions]
            found = compare(
                torch.stack(images),
                classifier.label_features(first.prompts),
                classifier.model.logit_scale,
            )
        return {
            "model": first.model,
            "pictures": [each.picture for each in questions],
            "texts": list(first.labels),
            "cosine_similarities": _rounded(found.cosine_similarities),
            "logits": _rounded(found.logits),
            "softmax_over_texts": _rounded(found.per_image),
            "softmax_over_pictures": _rounded(found.per_text),
        }

    def similarity(
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
            model: The name of a model.
            framing: How a picture is made square: crop, pad, squash, crops (five, averaged), or
                best, the one that measured best for the model.

        Returns:
            model, pictures, texts, and four matrices with a row for each picture and a column for
                each text: cosine_similarities, logits, softmax_over_texts (a picture's shares sum
                to 1) and softmax_over_pictures (a text's shares sum to 1).
        """
        pictures = [image for image in (image_1, image_2, image_3, image_4) if image]
        return matrix(
            [parse_question(image, texts, template, model, framing) for image in pictures or [None]]
        )

    _, model, framing = _choices(models)
    publish(
        similarity,
        [
            *[_picture(f"Picture {number}") for number in range(1, 5)],
            gr.Textbox(label="Texts", visible=False),
            gr.Textbox("{}", label="Template", visible=False),
            model,
            framing,
        ],
        [gr.JSON(label="Similarities", visible=False)],
        **ON_MODEL,
    )


def _picture(label: str = "Picture") -> gr.Image:
    return gr.Image(label=label, type="filepath", image_mode=None, visible=False)


def _labels() -> gr.Textbox:
    return gr.Textbox(label="Labels", visible=False)


def _choices(models: ModelPool) -> tuple[gr.Textbox, gr.Textbox, gr.Textbox]:
    """What an endpoint need not be told: template, model and framing."""
    first = models.default
    return (
        gr.Textbox(models.default_template(first), label="Template", visible=False),
        gr.Textbox(first, label="Model", visible=False),
        gr.Textbox(BEST, label="Framing", visible=False),
    )


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(float(value), DIGITS) for value in row] for row in values]
