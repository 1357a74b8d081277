"""Bar chart of an answer, or a sentence in its place."""

from __future__ import annotations

from clip_core import Scores

from .render import render

CHART_LABELS = 10
NONE = "None of these"
PERHAPS_NONE = "Perhaps none of these"
NONE_MEANS = (
    "A guess of its own, not a share: in a test where half of all lists lacked the right label, so "
    "many of those that scored like this one did."
)
NONE_UNFITTED = (
    "Whether none of these fits is not said: no threshold was fitted for this model yet "
    "(python -m clip_core calibrate)."
)
ONE_LABEL = "One label alone always gets 100 %, so this says nothing: add another."
ONE_LABEL_OR_NONE = "One label alone always gets 100 %. Whether it fits, the row below says."
SHARES_MEAN = "Shares of the score among these labels, not the chance that a label is true."


def draw_chart(scores: Scores, with_none: bool = True) -> str:
    """HTML of the best `CHART_LABELS` labels as bars.

    with_none: whether "None of these" has a row, if a threshold was fitted for the model.
    """
    frame = scores.to_frame()
    none = scores.none_of_these if with_none else None
    if len(frame) == 1:
        note = ONE_LABEL if none is None else ONE_LABEL_OR_NONE
    else:
        note = SHARES_MEAN
        if len(frame) > CHART_LABELS:
            note += f" {len(frame) - CHART_LABELS:,} more in the table."
    doubtful = none is not None and none.is_none
    return render(
        "chart",
        rows=list(frame.head(CHART_LABELS).itertuples()),
        note=note,
        verdict=none,
        doubtful=doubtful,
        none_name=PERHAPS_NONE if doubtful else NONE,
        none_note=NONE_MEANS if none is not None else NONE_UNFITTED if with_none else "",
    )


def chart_message(sentence: str, problem: bool = False) -> str:
    """HTML of a sentence in the place of a chart: what is missing, or what is wrong."""
    return render("chart_message", sentence=sentence, problem=problem)
