"""Plots of a comparison: confusion matrices and calibration, by matplotlib.

It is imported where it is used: it takes half a second, which the page's start would wait for.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .statistics import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS_DRAWN = 40  # those with the most mistakes: more would be illegible
NUMBERS_UP_TO = 20  # labels whose cells have room for a number
LONGEST_LABEL = 24
LINES_DRAWN = 6
DOTS_PER_INCH = 110
# Safe for colour-blind readers: Okabe and Ito, Color Universal Design, 2008
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw_confusion(result: Result, labels: Sequence[str]) -> bytes:
    """PNG: true labels in rows, answers in columns; darker is a larger share of the row."""
    matrix = result.confusion
    mistakes = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:LABELS_DRAWN])
    matrix, count = matrix[np.ix_(shown, shown)], len(shown)
    shares = matrix / np.maximum(result.confusion[shown].sum(axis=1, keepdims=True), 1)
    side = 3.2 + 0.28 * count
    figure = _figure(side + 0.6, side)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [_plain(labels[i]) for i in shown]
    axes.set_xticks(range(count), names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(count), names, fontsize=8, parse_math=False)
    axes.set_xlabel("answered")
    axes.set_ylabel("right")
    title = _plain(result.name, 60)
    if count < len(labels):
        title += f"\nthe {count} of {len(labels)} labels with most mistakes"
    axes.set_title(title, fontsize=10, parse_math=False)
    if count <= NUMBERS_UP_TO:
        for row, column in np.argwhere(matrix > 0):
            color = "white" if shares[row, column] > 0.55 else "black"
            number = axes.text(column, row, str(matrix[row, column]), fontsize=8, color=color)
            number.set_horizontalalignment("center")
            number.set_verticalalignment("center")
    return _to_png(figure)


def draw_calibration(results: Sequence[Result]) -> bytes:
    """PNG of a reliability diagram: accuracy of the answers against their probability."""
    figure = _figure(5.6, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="gray", linewidth=1, label="as it should be")
    for result, color in zip(results[:LINES_DRAWN], COLORS, strict=False):
        bins = result.calibration
        name = f"{_plain(result.name, 36)}: ECE {100 * result.ece:.1f} %"
        axes.plot(bins["confidence"], bins["accuracy"], color=color, linewidth=1.2, label=name)
        sizes = 12 + 180 * bins["pictures"] / bins["pictures"].sum()
        axes.scatter(bins["confidence"], bins["accuracy"], s=sizes, color=color, alpha=0.7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("probability of the answer")
    axes.set_ylabel("part that is right")
    for text in axes.legend(fontsize=7.5, loc="best").get_texts():
        text.set_parse_math(False)
    return _to_png(figure)


def _plain(text: str, longest: int = LONGEST_LABEL) -> str:
    line = " ".join(text.split()) or "(empty)"
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _figure(width: float, height: float) -> Figure:
    """width, height: inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


def _to_png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    FigureCanvasAgg(figure)  # not pyplot, whose figures all threads share
    written = io.BytesIO()
    with warnings.catch_warnings():
        # Characters that no font here has become boxes; the table beside has the text
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(written, format="png")
    return written.getvalue()
