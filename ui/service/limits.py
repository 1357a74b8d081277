"""How much a visitor may send at once. The flags of app.py say so before the page is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Limits:
    """file_mb: megabytes of an upload, whatever it holds; pictures: of an album."""

    file_mb: int = 50
    labels: int = 1000
    pictures: int = 1000


LIMITS = Limits()
