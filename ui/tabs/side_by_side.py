"""The tab "Side by side": the same image asked in two ways, and where the answers differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from clip_core import Scores
from clip_core.errors import InputError
from prompts import TemplateError, fill_all
from ui.service.errors import QuestionError
from ui.service.inference import Inference
from ui.service.labels import LabelsError, parse_labels
from ui.service.model_pool import ModelPool
from ui.service.question import Question, templates_for
from ui.widgets.chart import chart_message
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts, template_choices
from ui.widgets.render import render

SAME = "same"
MOST_ROWS = 20
# A smaller difference of a share is not marked: the bars would look alike
MARKED = 0.05


def build_side_by_side_tab(
    inference: Inference, question: QuestionParts, settled: gr.Textbox, tab: gr.Tab
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    models = inference.models
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
            choices=[("the same", SAME), *template_choices(with_custom=False)],
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
    both = gr.HTML(
        chart_message("Ask something first."), elem_id="both", elem_classes="bare", container=True
    )

    def fill(*values: Any) -> str:
        *asked, other_model, other_template, other_labels = values
        try:
            first = Question.from_page(models, *asked)
            second = other_question(models, first, other_model, other_template, other_labels)
            if (first.model, first.prompts) == (second.model, second.prompts):
                return chart_message(
                    "Choose another model, another template or another wording above."
                )
            return draw_both(inference.score(first), inference.score(second))
        except QuestionError as error:
            return chart_message(str(error))

    controls: list[Any] = [model, template, labels]
    changes = [control.change for control in controls]
    lazy_tab(tab, "side-by-side", settled, question, fill, [both], controls, changes)


def other_question(
    models: ModelPool, first: Question, model: str, template: str, typed: str | None
) -> Question:
    """A question that differs from another in its model, its template, the wording of its labels.

    `SAME`, or no text, leaves a part as it is. Raises QuestionError, also if the model is not ready
    yet: then it is requested.
    """
    try:
        labels = parse_labels(typed).labels or first.labels
        template = first.template if template == SAME else template
        prompts = fill_all(templates_for(template), labels)
        model = first.model if model == SAME else model
        if not models.is_ready(model):
            models.request(model)
            raise QuestionError(f"{model} is on its way: press Compare in a moment.")
    except (LabelsError, TemplateError, InputError) as error:
        raise QuestionError(str(error)) from error
    return replace(first, labels=labels, template=template, prompts=prompts, model=model)


def draw_both(first: Scores, second: Scores) -> str:
    """HTML: each label with its two shares and their difference, the first answer's best first.

    Labels are paired by their place if there are equally many, else by their words.
    """
    rows = _pair(first, second)
    agree = _best(first) == _best(second) if first.labels == second.labels else None
    verdict = {
        None: f"“{_best(first)}” wins on the left, “{_best(second)}” on the right.",
        True: f"Both choose “{_best(first)}”.",
        False: f"They disagree: “{_best(first)}” on the left, “{_best(second)}” on the right.",
    }[agree]
    return render(
        "side_by_side",
        verdict=verdict,
        first=_head(first),
        second=_head(second),
        rows=rows[:MOST_ROWS],
        more=len(rows) - MOST_ROWS,
    )


class Row(NamedTuple):
    """A label with its shares in the two answers; None in the one that lacks the label."""

    label: str
    shares: tuple[float | None, float | None]

    @property
    def difference(self) -> float | None:
        """The second share minus the first; None if the label is in one answer alone."""
        first, second = self.shares
        return None if first is None or second is None else second - first

    @property
    def is_marked(self) -> bool:
        """Whether the bars show that the shares differ."""
        return self.difference is not None and abs(self.difference) >= MARKED

    @property
    def change(self) -> str:
        """The difference in words."""
        if self.difference is None:
            return ""
        if not self.is_marked:
            return "about the same"
        return f"{'▲' if self.difference > 0 else '▼'} {100 * abs(self.difference):.1f} points"


def _pair(first: Scores, second: Scores) -> list[Row]:
    left, right = first.probabilities.tolist(), second.probabilities.tolist()
    if len(left) == len(right):
        rows = [
            Row(a if a == b else f"{a} / {b}", (x, y))
            for a, b, x, y in zip(first.labels, second.labels, left, right, strict=True)
        ]
    else:
        ours = dict(zip(first.labels, left, strict=True))
        theirs = dict(zip(second.labels, right, strict=True))
        rows = [Row(label, (ours.get(label), theirs.get(label))) for label in ours | theirs]
    return sorted(
        rows, key=lambda row: -1 if row.shares[0] is None else row.shares[0], reverse=True
    )


def _best(scores: Scores) -> str:
    return scores.labels[int(scores.logits.argmax())]


def _head(scores: Scores) -> str:
    texts = scores.prompts[0]
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    return f"{scores.model}, “{texts[0]}”{more}"
