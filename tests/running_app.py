"""The real app in a process, for the tests that look at it from outside."""

from __future__ import annotations

import random
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class RunningApp(NamedTuple):
    """log: the file that its output goes to; folder: where it keeps what is uploaded."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path


def free_port() -> int:
    """A port that nothing listens at.

    Below those that the system gives to whoever connects, which would be taken again before the app
    is there.
    """
    while True:
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return int(free.getsockname()[1])
