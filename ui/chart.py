"""The answer to look at: a bar for each label, and a table; no share is rounded to nothing."""

from __future__ import annotations

import math
from html import escape

import pandas as pd

from clip_core import Scores

TABLE_HEADERS = ["rank", "label", "prompt", "score", "cosine similarity", "logit"]
CHART_LABELS = 10
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


def draw_chart(scores: Scores) -> str:
    """HTML of the best `CHART_LABELS` labels as bars. What people typed is escaped."""
    frame = scores.to_frame()
    rows = [
        f'<div class="row{" best" * (row.rank == 1)}"><div class="words">'
        f'<span class="label">{escape(row.label)}</span>'
        f'<span class="share">{format_share(row.probability)}</span></div>'
        f'<div class="track"><div class="bar" style="width:{100 * row.probability:.2f}%"></div>'
        "</div></div>"
        for row in frame.head(CHART_LABELS).itertuples()
    ]
    if len(frame) == 1:
        more = "One label alone always gets 100 %, so this says nothing: add another."
    else:
        more = "Shares of the score among these labels, not the chance that a label is true."
        if len(frame) > CHART_LABELS:
            more += f" {len(frame) - CHART_LABELS:,} more in the table."
    return f'<div class="chart" role="status">{"".join(rows)}<div class="more">{more}</div></div>'


def say(sentence: str, problem: bool = False) -> str:
    """HTML of a sentence in the chart's place: what is missing, or what is wrong."""
    kind, role = ("problem", "alert") if problem else ("empty", "status")
    return f'<div class="chart" role="{role}"><div class="{kind}">{escape(sentence)}</div></div>'


def to_table(scores: Scores) -> pd.DataFrame:
    """The columns `TABLE_HEADERS`, best label first.

    score: the share among these labels, 0 to 1, to four digits that count.
    """
    frame = scores.to_frame()
    shown = pd.DataFrame(
        {
            "rank": frame["rank"],
            "label": frame["label"],
            "prompt": frame["prompt"],
            "score": [float(f"{value:.4g}") for value in frame["probability"]],
            "cosine similarity": frame["cosine_similarity"].astype(float).round(4),
            "logit": frame["logit"].astype(float).round(3),
        }
    )
    return shown[TABLE_HEADERS]
