"""The tab "Side by side": the same picture asked in two ways, and where the answers differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from clip_core import Scores
from prompts import TemplateError, fill_all
from ui.service.errors import QuestionError
from ui.service.labels import LabelsError, parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import CUSTOM, Question, question_from_page, templates_for
from ui.widgets.chart import format_share, say
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts, template_choices

SAME = "same"
MOST_ROWS = 20
# Differences of a share below this are not marked: bars would look alike.
MARKED = 0.05


def build_side_by_side_tab(
    models: ModelPool,
    question: QuestionParts,
    settled: gr.Textbox,
    tab: gr.Tab,
    answer_question: Callable[[Question], Scores],
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    gr.Markdown("The question as it is, beside one that differs in what you choose here.")
    with gr.Row():
        model = gr.Dropdown(
            label="Other model",
            info="one that is not here is fetched",
            choices=[("the same", SAME), *((models.label(name), name) for name in models.names)],
            value=SAME,
            elem_id="other-model",
            min_width=160,
        )
        template = gr.Dropdown(
            label="Other template",
            info="or type your own",
            choices=[
                ("the same", SAME),
                *(choice for choice in template_choices() if choice[1] != CUSTOM),
            ],
            value=SAME,
            allow_custom_value=True,
            elem_id="other-template",
            min_width=160,
        )
    labels = gr.Textbox(
        label="Other wording of the labels, in the same order",
        placeholder="empty: the same labels",
        lines=3,
        max_lines=5,
        elem_id="other-labels",
    )
    both = gr.HTML(say("Ask something first."), elem_id="both", elem_classes="bare", container=True)

    def fill(*values: Any) -> str:
        *asked, other_model, other_template, other_labels = values
        try:
            first = question_from_page(models, *asked)
            second = other_question(models, first, other_model, other_template, other_labels)
            if (first.model, first.prompts) == (second.model, second.prompts):
                return say("Choose another model, another template or another wording above.")
            return draw_both(answer_question(first), answer_question(second))
        except QuestionError as error:
            return say(str(error))

    controls: list[Any] = [model, template, labels]
    changes = [control.change for control in controls]
    lazy_tab(tab, "side-by-side", settled, question, fill, [both], controls, changes)


def other_question(
    models: ModelPool, first: Question, model: str, template: str, typed: str | None
) -> Question:
    """A question that differs from another in its model, its template, its labels' wording.

    `SAME`, or no text, leaves a part as it is. Raises QuestionError, for a model that is still on
    its way too: it is sent for.
    """
    try:
        labels = parse_labels(typed).labels or first.labels
        template = first.template if template == SAME else template
        prompts = fill_all(templates_for(template), labels)
        model = first.model if model == SAME else model
        if not models.is_ready(model):
            models.request(model)
            raise QuestionError(f"{model} is on its way: press Compare in a moment.")
    except (LabelsError, TemplateError, ValueError) as error:
        raise QuestionError(str(error)) from error
    return replace(first, labels=labels, template=template, prompts=prompts, model=model)


def draw_both(first: Scores, second: Scores) -> str:
    """HTML: each label with its two shares and their difference, the first answer's best first.

    Labels are paired by their place when there are equally many, else by their words.
    """
    rows = _pair(first, second)
    agree = _best(first) == _best(second) if first.labels == second.labels else None
    body = "".join(_draw_row(*row) for row in rows[:MOST_ROWS])
    more = f'<div class="more">{len(rows) - MOST_ROWS:,} more labels.</div>' * (
        len(rows) > MOST_ROWS
    )
    verdict = {
        None: f"“{_best(first)}” wins on the left, “{_best(second)}” on the right.",
        True: f"Both choose “{_best(first)}”.",
        False: f"They disagree: “{_best(first)}” on the left, “{_best(second)}” on the right.",
    }[agree]
    return (
        f'<div class="chart both" role="status"><p>{escape(verdict)}</p><div class="scroll" '
        'tabindex="0"><table><thead><tr><th scope="col">label</th>'
        f'<th scope="col">{escape(_head(first))}</th><th scope="col">{escape(_head(second))}</th>'
        f'<th scope="col">difference</th></tr></thead><tbody>{body}</tbody></table></div>{more}'
        "</div>"
    )


def _pair(first: Scores, second: Scores) -> list[tuple[str, float | None, float | None]]:
    ours, theirs = first.probabilities.tolist(), second.probabilities.tolist()
    if len(ours) == len(theirs):
        rows: list[tuple[str, float | None, float | None]] = [
            (a if a == b else f"{a} / {b}", x, y)
            for a, b, x, y in zip(first.labels, second.labels, ours, theirs, strict=True)
        ]
    else:
        left = dict(zip(first.labels, ours, strict=True))
        right = dict(zip(second.labels, theirs, strict=True))
        rows = [(label, left.get(label), right.get(label)) for label in left | right]
    return sorted(rows, key=lambda row: -1 if row[1] is None else row[1], reverse=True)


def _draw_row(label: str, ours: float | None, theirs: float | None) -> str:
    cells = "".join(
        "<td>not asked</td>"
        if share is None
        else f'<td>{format_share(share)}<div class="track"><div class="bar" '
        f'style="width:{100 * share:.2f}%"></div></div></td>'
        for share in (ours, theirs)
    )
    change, mark = "", ""
    if ours is not None and theirs is not None:
        points = 100 * (theirs - ours)
        if abs(theirs - ours) >= MARKED:
            change = f"{'▲' if points > 0 else '▼'} {abs(points):.1f} points"
            mark = ' class="marked"'
        else:
            change = "about the same"
    head = f'<th scope="row" translate="no">{escape(label)}</th>'
    return f"<tr{mark}>{head}{cells}<td>{change}</td></tr>"


def _best(scores: Scores) -> str:
    return scores.labels[int(scores.logits.argmax())]


def _head(scores: Scores) -> str:
    texts = scores.prompts[0]
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    return f"{scores.model}, “{texts[0]}”{more}"
