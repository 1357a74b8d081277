"""Long lists of short phrases, kept readable in the source."""

from __future__ import annotations


def listed(text: str) -> list[str]:
    """The phrases of `text`, which are parted by "|" and may be spread over lines."""
    return "".join(line.strip() for line in text.splitlines()).split("|")
