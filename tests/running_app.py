"""The real app in a process, for the tests that look at it from outside."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import NamedTuple


class RunningApp(NamedTuple):
    """log: the file that its output goes to; folder: where it keeps what is uploaded."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
