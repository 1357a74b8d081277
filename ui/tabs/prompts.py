"""The tab "Prompts": how the answer moves with the template, when the picture stays as it is."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from clip_core import Scores
from clip_core.explain.caveats import winners
from prompts import fill_all
from prompts.templates import single_templates
from ui.service.errors import QuestionError
from ui.service.model_pool import ModelPool
from ui.service.question import question_from_page, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.chart import format_share, say
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts

MOST_LABELS = 8


def build_prompts_tab(
    models: ModelPool, question: QuestionParts, settled: gr.Textbox, tab: gr.Tab
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    plot = gr.HTML(
        say("Ask something first."), elem_id="words", elem_classes="bare", container=True
    )

    @on_gpu
    def answer_each(asked: Any, templates: tuple[str, ...]) -> list[Scores]:
        with translate_errors(asked), models.use(asked.model) as classifier:
            prompts = fill_all(templates, asked.labels)
            return classifier.score_each(asked.path, asked.labels, prompts, asked.framing)

    def fill(*values: Any) -> str:
        try:
            asked = question_from_page(models, *values)
            templates = single_templates()
            if asked.template not in templates and len(asked.prompts[0]) == 1:
                templates += (asked.template,)
            return draw_dots(answer_each(asked, templates), templates, asked.template)
        except QuestionError as error:
            return say(str(error))

    lazy_tab(tab, "words", settled, question, fill, [plot])


def draw_dots(answers: list[Scores], templates: tuple[str, ...], chosen: str) -> str:
    """HTML: a line for each label, on it a dot for each template at the label's share.

    answers: one for each template. chosen: the template on the page, whose dot is ringed.
    """
    shares = {
        label: [float(answer.probabilities[i]) for answer in answers]
        for i, label in enumerate(answers[0].labels)
    }
    ordered = sorted(shares, key=lambda label: -sum(shares[label]))
    won = winners(answers)
    rows = "".join(
        _draw_row(label, shares[label], templates, chosen) for label in ordered[:MOST_LABELS]
    )
    more = len(ordered) - MOST_LABELS
    rest = f'<div class="more">{more:,} more labels in the table.</div>' if more > 0 else ""
    axis = "<div class='axis' aria-hidden='true'><span>0 %</span><span>100 %</span></div>"
    return (
        f'<div class="chart dots" role="group" aria-label="Shares by template">'
        f"<p>{escape(_summary(won, len(templates)))}</p>{rows}{axis}{rest}"
        f"{_table(shares, ordered, templates, answers)}</div>"
    )


def _summary(won: Any, count: int) -> str:
    (best, times), *others = won.most_common()
    if not others:
        return f"All {count} templates agree on “{best}”: the picture decides, not the prompt."
    rivals = ", ".join(f"“{label}” with {number}" for label, number in others[:3])
    return (
        f"“{best}” wins with {times} of {count} templates, {rivals}: here the prompt decides as "
        "well as the picture."
    )


def _draw_row(label: str, shares: list[float], templates: tuple[str, ...], chosen: str) -> str:
    low, high = format_share(min(shares)), format_share(max(shares))
    dots = "".join(
        f'<i class="dot{" chosen" * (template == chosen)}" style="left:{100 * share:.2f}%" '
        f'title="{escape(template)}: {format_share(share)}"></i>'
        for template, share in sorted(
            zip(templates, shares, strict=True), key=lambda x: x[0] == chosen
        )
    )
    return (
        '<div class="row"><div class="words">'
        f'<span class="label" translate="no">{escape(label)}</span>'
        f'<span class="share">{low} to {high}</span></div>'
        f'<div class="line" translate="no">{dots}</div></div>'
    )


def _table(
    shares: dict[str, list[float]],
    ordered: list[str],
    templates: tuple[str, ...],
    answers: list[Scores],
) -> str:
    head = "".join(f'<th scope="col" translate="no">{escape(label)}</th>' for label in ordered)
    body = ""
    for i, template in enumerate(templates):
        best = int(answers[i].probabilities.argmax())
        cells = "".join(
            f"<td{' class=best' * (label == answers[i].labels[best])}>"
            f"{format_share(shares[label][i])}</td>"
            for label in ordered
        )
        body += f'<tr><th scope="row" translate="no">{escape(template)}</th>{cells}</tr>'
    return (
        '<details><summary>All shares</summary><div class="scroll" tabindex="0">'
        f'<table><thead><tr><th scope="col">template</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></details>"
    )
