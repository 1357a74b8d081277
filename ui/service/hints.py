"""A word of help below the answer, where CLIP is known to mislead. None of them stops anything."""

from __future__ import annotations

from collections.abc import Sequence

from clip_core import Scores, ZeroShotClassifier
from clip_core.explain.caveats import SYNONYMS, contrast, is_other_script, near_labels, winners
from prompts import fill_all
from prompts.templates import single_templates

from .question import Question, shorten, templates_for

MOST_PAIRS = 3
# More labels than this are no question that a person weighs by its words.
MOST_LABELS = 100
# The runner-up is within noise when it wins with so many of the single templates.
NOISE = 0.25


def find_hints(classifier: ZeroShotClassifier, asked: Question, scores: Scores) -> list[str]:
    """Sentences on a question and its answer; most often none. Raises as `score` does."""
    return [
        *hints_on_words(asked.labels),
        *_on_meaning(classifier, asked),
        *_on_the_lead(classifier, asked, scores),
    ]


def hints_on_words(labels: Sequence[str]) -> list[str]:
    """What the labels' words alone tell."""
    hints = []
    for label in labels:
        without = contrast(label)
        if without:
            pair = "the label beside it is the one to compare with."
            if without.casefold() not in {other.casefold() for other in labels}:
                pair = f"put “{shorten(without)}” beside it, so that the two are compared."
            hints.append(f"CLIP hardly reads the denial in “{shorten(label)}”: {pair}")
            break
    foreign = [label for label in labels if is_other_script(label)]
    if foreign:
        hints.append(
            f"CLIP learnt from English captions: “{shorten(foreign[0])}” may mean little to it. "
            "Type it in English."
        )
    return hints


def _on_meaning(classifier: ZeroShotClassifier, asked: Question) -> list[str]:
    if not 1 < len(asked.labels) <= MOST_LABELS:
        return []
    words = [pair[side] for side in (0, 1) for pair in SYNONYMS]
    yardstick = fill_all(templates_for(asked.template), words)
    pairs = near_labels(classifier, asked.labels, asked.prompts, yardstick)
    if not pairs:
        return []
    said = "; ".join(f"“{shorten(a)}” and “{shorten(b)}”" for a, b in pairs[:MOST_PAIRS])
    return [f"These mean nearly the same to the model and share their score: {said}."]


def _on_the_lead(classifier: ZeroShotClassifier, asked: Question, scores: Scores) -> list[str]:
    if not 1 < len(asked.labels) <= MOST_LABELS:
        return []
    best, second = list(scores.to_frame()["label"].head(2))
    prompts = fill_all(single_templates(), [best, second])
    won = winners(classifier.score_each(asked.path, [best, second], prompts, asked.framing))
    if won[second] < NOISE * won.total():
        return []
    return [
        f"“{shorten(best)}” leads by less than a change of template moves: “{shorten(second)}” is "
        f"ahead of it with {won[second]} of {won.total()} templates. See Prompts."
    ]


def contrast_of(labels: Sequence[str]) -> str | None:
    """The label to put beside the first one that denies something, unless it is there."""
    there = {label.casefold() for label in labels}
    found = (contrast(label) for label in labels)
    return next((label for label in found if label and label.casefold() not in there), None)
