"""Lines of small print: notes, progress, previews of prompts, hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clip_core import Scores
from prompts import fill_all

from .render import render

PREVIEW_LABELS, PREVIEW_PROMPTS = 10, 7


class ProgressBar(NamedTuple):
    """A progress bar: how much of a total is done."""

    done: int
    total: int
    label: str  # for screen readers


def status_line(
    sentence: str,
    problem: bool = False,
    progress: ProgressBar | None = None,
    is_live: bool = True,
) -> str:
    """HTML of a sentence in small print.

    problem: makes it stand out. is_live: whether screen readers read each change of it.
    """
    return render(
        "status_line", sentence=sentence, problem=problem, progress=progress, is_live=is_live
    )


def preview(templates: Sequence[str], labels: Sequence[str]) -> str:
    """HTML of the exact prompts that will be scored: the first one, the others on a click."""
    prompts = fill_all(tuple(templates), tuple(labels))
    items = [
        (label, texts[:PREVIEW_PROMPTS], max(len(texts) - PREVIEW_PROMPTS, 0))
        for label, texts in list(zip(labels, prompts, strict=False))[:PREVIEW_LABELS]
    ]
    return render(
        "prompt_preview",
        first=prompts[0][0] if labels else templates[0],
        more_templates=len(templates) - 1,
        items=items,
        more_labels=len(labels) - PREVIEW_LABELS,
    )


def describe_run(scores: Scores) -> str:
    """One line: which model answered on which device, how long it took, what was cached."""
    picture = "from the cache" if scores.cached.image else "computed"
    return (
        f"Answered by the model “{scores.model}” on {scores.device} in "
        f"{scores.seconds * 1000:,.0f} ms. Picture {picture}; {scores.cached.texts:,} of "
        f"{len(scores.labels):,} labels from the cache."
    )


def draw_hints(hints: Sequence[str]) -> str:
    """HTML of hints, one a line; empty for none."""
    return render("hints", hints=hints) if hints else ""
