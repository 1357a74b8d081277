"""What the page does with one picture before the model, and what counts as right."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clip_core.errors import ImageError
from clip_core.images.decode import NO_MEMORY, open_image
from clip_core.preprocess import FRAMINGS, squares

ROOT = Path(__file__).parents[2]
SIDE = 224
LARGE = 1_000_000  # pixels
LONGEST_SENTENCE = 400
RIGHT, ERROR, FAILURE = "right", "error", "failure"


class Verdict(NamedTuple):
    """How a trial ended, and with which words."""

    kind: str  # one of those above
    words: str = ""


def try_picture(source: str | Path | bytes) -> Verdict:
    """Opens a picture and makes it square: in every way, or in one where it is large."""
    try:
        image = open_image(source)
        framings = FRAMINGS if image.width * image.height < LARGE else FRAMINGS[:1]
        seen = [square for framing in framings for square in squares(image, SIDE, framing)]
    except ImageError as error:
        return judge(str(error), [str(source)] if not isinstance(source, bytes) else [])
    except Exception as error:  # whatever else comes is what is looked for
        return Verdict(FAILURE, repr(error)[:300])
    wrong = [square for square in seen if (square.mode, square.size) != ("RGB", (SIDE, SIDE))]
    return Verdict(FAILURE, f"{wrong[0]}") if wrong else Verdict(RIGHT)


class _Lines(logging.Handler):
    """Keeps what the loggers say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def in_silence(trial: Callable[..., Verdict], *given: Any) -> Verdict:
    """A trial's verdict; a failure where it left warnings or lines of a logger as well.

    Nobody who runs the page can do anything about a stranger's file.
    """
    lines = _Lines()
    logging.getLogger().addHandler(lines)
    try:
        with warnings.catch_warnings(record=True) as shown:
            verdict = trial(*given)
    finally:
        logging.getLogger().removeHandler(lines)
    said = [*(str(warning.message) for warning in shown), *lines.said]
    if said and verdict.kind != FAILURE:
        return Verdict(FAILURE, f"in the log: {said[0]}"[:300])
    return verdict


def judge(sentence: str, secrets: Sequence[str] = ()) -> Verdict:
    """Whether an error's words are one sentence that tells nothing about this machine."""
    words = sentence[:300]
    bad = (
        *(["lines"] if len(sentence.splitlines()) != 1 else []),
        *(["too long"] if len(sentence) > LONGEST_SENTENCE else []),
        *(["no end"] if not sentence.endswith(".") else []),
        *(["memory"] if sentence == NO_MEMORY else []),
        *[each for each in (str(ROOT), "site-packages", "Traceback", *secrets) if each in sentence],
    )
    return Verdict(FAILURE, f"{', '.join(bad)}: {words}") if bad else Verdict(ERROR, words)
