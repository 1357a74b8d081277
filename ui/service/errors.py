"""Errors whose message is shown to the visitor."""

from __future__ import annotations

from clip_core.errors import ClipError


class QuestionError(ClipError, ValueError):
    """Something is wrong; the message is one sentence for the person who asks."""


class IncompleteError(QuestionError):
    """Nothing is wrong, but something is still missing."""
