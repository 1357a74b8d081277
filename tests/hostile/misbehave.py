"""What the watcher is tested with; in a module of its own, which another process can import."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection


def misbehave(what: str, seed: int, first: int, count: int, pipe: Connection) -> None:
    """The first input hangs, the second ends the process, the third goes right."""
    for number in range(first, count):
        pipe.send(f"kind: {number}")
        if number == 0:
            time.sleep(60)
        if number == 1:
            os._exit(3)
        pipe.send(("right", "", 0.5, 7.0))
