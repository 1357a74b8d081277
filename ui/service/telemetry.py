"""What is told of the page's work, for logs and for metrics alike.

Each event is a record of one logger, with its figures as fields: which model, how long, how many,
which kind of error. Of a picture or a label itself nothing is ever told.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import datetime, timezone
from typing import Any

LEVELS = ("debug", "info", "warning", "error")

LOGGER = logging.getLogger("clip_page")
LOGGER.propagate = False  # other packages' handlers would print the events once more
LOGGER.addHandler(logging.NullHandler())


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Tells that something happened. fields: figures and names, nothing of a visitor's."""
    LOGGER.log(level, event, extra={"fields": fields})


def seconds_since(started: float) -> float:
    """Seconds, to the millisecond, since a `time.perf_counter()`."""
    return round(time.perf_counter() - started, 3)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, event, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        head = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        return json.dumps(head | getattr(record, "fields", {}), ensure_ascii=False)


def write_logs(level: str) -> None:
    """Has events of this level and above, one of `LEVELS`, written to the standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.setLevel(level.upper())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)  # each handler has a level of its own: metrics count everything
