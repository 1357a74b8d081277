"""What a person typed as labels -> the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import QuestionError
from .limits import LIMITS

# No text this long fits a 77-token context, and splitting one into tokens takes quadratic time.
MAX_LABEL_CHARACTERS = 2000
# Of all labels: each stands in up to 80 prompts, and all of those in memory at once.
MAX_CHARACTERS = 200_000

# Characters that nobody sees: controls that are no white space, the mark that some editors begin a
# file with, and those that turn the direction of whatever is shown after them. The tokenizer drops
# most of them too.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\u202a-\u202e\u2066-\u2069]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class LabelsError(QuestionError):
    """The labels can't be used."""


@dataclass(frozen=True)
class Labels:
    """The labels in the order typed, and how many were left out as repetitions."""

    labels: tuple[str, ...]
    repeated: int

    def note(self) -> str:
        """One line on what was understood, for the page."""
        count = len(self.labels)
        if not count:
            return "No labels yet: type at least two."
        words = f"{count:,} label{'s' * (count != 1)}"
        if self.repeated:
            words += f"; {self.repeated:,} repeated left out"
        if count == 1:
            words += ". One label alone always gets 100 %: add another to compare it with"
        return words + "."


def parse_labels(text: str | Sequence[str] | None) -> Labels:
    """Labels one a line, or on a single line between semicolons, or else between commas.

    Blank ones fold away. So do repetitions, whatever their capitals and spaces, since the models
    read lower-case text. A list of strings is taken item by item, one label each.

    Raises LabelsError above as many labels as are `LIMITS`, for one above `MAX_LABEL_CHARACTERS`,
    and for all above `MAX_CHARACTERS`.
    """
    if text is None:
        text = ""
    typed = (
        split_labels(strip_control_characters(text))
        if isinstance(text, str)
        else [strip_control_characters(str(i)) for i in text]
    )
    typed = [folded for label in typed if (folded := " ".join(label.split()))]
    labels: dict[str, str] = {}
    for label in typed:
        labels.setdefault(label.casefold(), label)  # the first spelling stays, in its place
        if len(label) > MAX_LABEL_CHARACTERS:
            raise LabelsError(
                f"The label “{label[:40]}…” has {len(label):,} characters: shorten it to a few "
                "words."
            )
    if len(labels) > LIMITS.labels:
        raise LabelsError(
            f"These are {len(labels):,} labels; at most {LIMITS.labels:,} can be compared at once."
        )
    total = sum(map(len, labels.values()))
    if total > MAX_CHARACTERS:
        raise LabelsError(
            f"The labels have {total:,} characters together; at most {MAX_CHARACTERS:,} can be "
            "compared at once."
        )
    return Labels(tuple(labels.values()), len(typed) - len(labels))


def strip_control_characters(text: str) -> str:
    """A text that can be shown and written to any file.

    Without the characters that nobody sees; half a pair of surrogates, which no UTF-8 can hold,
    becomes the sign for what can't be read.
    """
    return _LONE_SURROGATE.sub("\ufffd", _UNSEEN.sub("", text))


def split_labels(text: str) -> list[str]:
    """The pieces of a text: its lines, or the parts of its only line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        return lines
    separator = "[;；]" if re.search("[;；]", lines[0]) else "[,，、]"
    return re.split(separator, lines[0])
