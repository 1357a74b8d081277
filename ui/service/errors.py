"""Errors whose message is shown to the visitor."""

from __future__ import annotations

import logging
from typing import Any

from clip_core.errors import ClipError

from .telemetry import log_event

SOMETHING_WENT_WRONG = "Something went wrong here: try again, or reload the page."


class QuestionError(ClipError, ValueError):
    """Something is wrong; the message is one sentence for the person who asks."""


class IncompleteError(QuestionError):
    """Nothing is wrong, but something is still missing."""


class UnexpectedError(QuestionError):
    """A bug of ours; the message says no more than that something went wrong."""

    def __init__(self, message: str = SOMETHING_WENT_WRONG) -> None:
        super().__init__(message)

    @classmethod
    def logged(cls, error: Exception, **fields: Any) -> UnexpectedError:
        """Logs a bug with its traceback and returns the error to raise from it.

        fields: names and numbers for the log event, nothing that a visitor wrote.
        """
        log_event("problem", logging.ERROR, kind=type(error).__name__, **fields)
        logging.getLogger(__name__).error("An unexpected error", exc_info=error)
        return cls()
