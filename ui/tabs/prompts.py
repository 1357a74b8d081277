"""The tab "Prompts": prompt sensitivity, how the answer changes with the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import gradio as gr

from clip_core import Scores
from clip_core.explain.caveats import winners
from prompts.templates import single_templates
from ui.service.errors import QuestionError
from ui.service.inference import Inference
from ui.service.question import Question
from ui.widgets.chart import chart_message
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts
from ui.widgets.render import render

MOST_LABELS = 8


def build_prompts_tab(
    inference: Inference, question: QuestionParts, settled: gr.Textbox, tab: gr.Tab
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    plot = gr.HTML(
        chart_message("Ask something first."), elem_id="words", elem_classes="bare", container=True
    )

    def fill(*values: Any) -> str:
        try:
            asked = Question.from_page(inference.models, *values)
            templates = single_templates()
            if asked.template not in templates and len(asked.prompts[0]) == 1:
                templates += (asked.template,)
            return draw_dots(inference.score_each(asked, templates), templates, asked.template)
        except QuestionError as error:
            return chart_message(str(error))

    lazy_tab(tab, "words", settled, question, fill, [plot])


def draw_dots(answers: Sequence[Scores], templates: Sequence[str], chosen: str) -> str:
    """HTML: a line for each label, and on it a dot at the label's share with each template.

    answers: one for each template. chosen: the template on the page, whose dot is ringed.
    """
    shares = {
        label: [float(answer.probabilities[i]) for answer in answers]
        for i, label in enumerate(answers[0].labels)
    }
    labels = sorted(shares, key=lambda label: -sum(shares[label]))
    rows = [
        (
            label,
            [
                {"template": template, "share": share, "is_chosen": template == chosen}
                for template, share in zip(templates, shares[label], strict=True)
            ],
        )
        for label in labels[:MOST_LABELS]
    ]
    table = [
        (template, [(shares[label][i], label == _best(answer)) for label in labels])
        for i, (template, answer) in enumerate(zip(templates, answers, strict=True))
    ]
    return render(
        "dots",
        summary=_summary(winners(answers), len(templates)),
        rows=rows,
        more=len(labels) - MOST_LABELS,
        labels=labels,
        table=table,
    )


def _best(scores: Scores) -> str:
    return scores.labels[int(scores.probabilities.argmax())]


def _summary(won: Counter[str], count: int) -> str:
    (best, times), *others = won.most_common()
    if not others:
        return f"All {count} templates agree on “{best}”: the picture decides, not the prompt."
    rivals = ", ".join(f"“{label}” with {number}" for label, number in others[:3])
    return (
        f"“{best}” wins with {times} of {count} templates, {rivals}: here the prompt decides as "
        "well as the picture."
    )
