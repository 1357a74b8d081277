"""The answer to look at: a bar for each label, and a table; no share is rounded to nothing."""

from __future__ import annotations

import math
from html import escape

from clip_core import Scores

CHART_LABELS = 10
NONE_MEANS = (
    "A guess of its own, not a share: in a test where half of all lists lacked the right label, so "
    "many of those that scored like this one did."
)
NONE_UNFITTED = (
    "Whether none of these fits is not said: no threshold was fitted for this model yet "
    "(python -m clip_core calibrate)."
)
SMALLEST_SHOWN = 1e-6  # 0.0001 %


def format_share(probability: float) -> str:
    """A share, 0 to 1, in per cent: one decimal from 1 % up, two digits that count below."""
    if probability < SMALLEST_SHOWN:
        return "< 0.0001 %" if probability > 0 else "0 %"
    percent = 100 * probability
    if percent < 1:
        return f"{percent:.{1 - math.floor(math.log10(percent))}f} %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 100 else "100 %"


def draw_chart(scores: Scores, with_none: bool = True) -> str:
    """HTML of the best `CHART_LABELS` labels as bars. What people typed is escaped.

    with_none: whether "None of these" has a row, where the model was fitted for it.
    """
    frame = scores.to_frame()
    none = scores.none_of_these if with_none else None
    doubtful = none is not None and none.is_none
    rows = [
        _draw_row(row.label, row.probability, "best" if row.rank == 1 and not doubtful else "")
        for row in frame.head(CHART_LABELS).itertuples()
    ]
    if len(frame) == 1:
        more = "One label alone always gets 100 %, so this says nothing: add another."
        if none is not None:
            more = "One label alone always gets 100 %. Whether it fits, the row below says."
    else:
        more = "Shares of the score among these labels, not the chance that a label is true."
        if len(frame) > CHART_LABELS:
            more += f" {len(frame) - CHART_LABELS:,} more in the table."
    parts = [*rows, f'<div class="more">{more}</div>']
    if none is not None:
        name = "Perhaps none of these" if doubtful else "None of these"
        parts += [
            _draw_row(name, none.chance, "none best" if doubtful else "none"),
            f'<div class="more">{NONE_MEANS}</div>',
        ]
    elif with_none:
        parts.append(f'<div class="more">{NONE_UNFITTED}</div>')
    return f'<div class="chart">{"".join(parts)}</div>'


def _draw_row(label: str, share: float, kind: str) -> str:
    # What a person typed is never translated, and "None of these" is no label.
    name = 'class="name"' if "none" in kind else 'class="label" translate="no"'
    return (
        f'<div class="row {kind}"><div class="words">'
        f"<span {name}>{escape(label)}</span>"
        f'<span class="share">{format_share(share)}</span></div>'
        f'<div class="track"><div class="bar" style="width:{100 * share:.2f}%"></div>'
        "</div></div>"
    )


def say(sentence: str, problem: bool = False) -> str:
    """HTML of a sentence in the chart's place: what is missing, or what is wrong."""
    kind, role = ("problem", "alert") if problem else ("empty", "status")
    return f'<div class="chart" role="{role}"><div class="{kind}">{escape(sentence)}</div></div>'
