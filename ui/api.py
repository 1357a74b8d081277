"""The one public endpoint: /classify(image, labels, template, model, framing)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from clip_core import Scores

from .chart import TABLE_HEADERS, to_table
from .models import Models
from .question import BEST, Question, QuestionError, ask


def add_endpoint(
    answer_question: Callable[[Question], Scores],
    picture: gr.Image,
    labels: gr.Textbox,
    models: Models,
) -> None:
    """Adds the endpoint to the Blocks in whose context it is called.

    It has components of its own, never shown, so that its defaults and what it returns don't hang
    on how the page looks.
    """
    first = models.default
    template = gr.Textbox(models.default_template(first), label="Template", visible=False)
    model = gr.Textbox(first, label="Model", visible=False)
    framing = gr.Textbox(BEST, label="Framing", visible=False)
    shares = gr.Label(label="Scores", visible=False)
    table = gr.Dataframe(headers=TABLE_HEADERS, label="Table", visible=False)

    def classify(
        image: Any,
        labels: str | Sequence[str],
        template: str,
        model: str,
        framing: str = BEST,
    ) -> tuple[dict[str, float], pd.DataFrame]:
        """Scores labels against a picture.

        image: the picture, uploaded. labels: one a line, or on one line between commas or
        semicolons. template: a text that holds {} once, or the name of a set such as imagenet-7.
        model: the name of a model. framing: how the picture is made square: crop, pad, squash,
        crops (five, averaged), or best, the one that measured best for the model. Returns the share
        of each label among these labels, and a table: rank, label, prompt, score (the share, 0 to
        1), cosine similarity, logit.
        """
        try:
            scores = answer_question(ask(image, labels, template, model, framing))
        except QuestionError as error:
            # Gradio shows an error's text as HTML
            raise gr.Error(escape(str(error), quote=False), print_exception=False) from error
        shares = zip(scores.labels, scores.probabilities.tolist(), strict=True)
        return dict(shares), to_table(scores)

    gr.Button(visible=False).click(
        classify,
        [picture, labels, template, model, framing],
        [shares, table],
        api_name="classify",
        api_visibility="public",
        preprocess=False,
        concurrency_id="model",
        concurrency_limit=1,
    )
