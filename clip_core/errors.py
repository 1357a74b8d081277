"""Errors meant for people: each message is one sentence that says what was wrong and what to do."""

from __future__ import annotations


class ClipError(Exception):
    """Base of every error whose message is meant for a person. Anything else is a bug."""


class CheckpointError(ClipError, RuntimeError):
    """A file can't be used as CLIP weights; the message is one sentence that says why."""


class DownloadError(ClipError, RuntimeError):
    """A file can't be had; the message is one sentence that says why and what to do."""


class ImageError(ClipError, ValueError):
    """A picture can't be used; the message is one sentence for the person who chose it."""


class TextTooLongError(ClipError, RuntimeError):
    """A text has more tokens than the context holds; `text`, `tokens`, `context_length` say which.

    A RuntimeError, as the reference raises.
    """

    def __init__(self, text: str, tokens: int, context_length: int) -> None:
        self.text, self.tokens, self.context_length = text, tokens, context_length
        shown = text if len(text) <= 200 else text[:200] + "..."
        super().__init__(
            f"Input {shown!r} is too long for context length {context_length}: it has {tokens} "
            "tokens with its start and end; shorten it, or pass truncate=True to cut it."
        )


class StoreError(ClipError, ValueError):
    """Features can't be kept or found there; the message is one sentence."""


class InputError(ClipError, ValueError):
    """What the caller asks for can't be done: an option, a label, a file to read or to write."""


class NotEnoughMemoryError(ClipError, RuntimeError):
    """Not even one image or text fits into memory beside the model."""
