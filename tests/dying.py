"""Work in a process that is killed, as `kill -9` does it, at a moment of one's choice.

Each is forked from a process that has imported what the work needs, so that a kill costs a moment
and not the seconds that torch takes to import.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

FORKS = """
import json, os, sys, traceback
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            print(os.getpid(), flush=True)
            code = work(*json.loads(line)) or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    # Its number stays its own until nobody wants to kill it any longer
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    print("\\nended", flush=True)  # it may have been killed within a line
    sys.stdin.readline()
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Ended:
    """A process that has ended. code: its exit code, or less than 0: the signal that killed it."""

    number: int
    code: int
    said: list[str]  # the lines it printed whole

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    def wait_for_its_own(self, seconds: float = 300) -> None:
        """Until no process is left of those that it started, which have its session."""
        deadline = time.monotonic() + seconds
        while left := _session(self.number):
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.02)


class Work:
    """What can be begun, and killed."""

    def __init__(self, forks: subprocess.Popen[str]) -> None:
        self._forks = forks

    def run(self, *arguments: Any, kill_after: float | None = None, once: str = "") -> Ended:
        """Runs `work(*arguments)` in a process; kills it after seconds, if it is still there.

        once: begin to count when it has printed this line.
        """
        self._tell(json.dumps(arguments, default=str))
        number = int(self._line())
        said: list[str] = []
        while once and (not said or said[-1] != once):
            said.append(self._line())
            assert said[-1] != "ended", f"it ended before it said {once!r}: {said}"
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(number, signal.SIGKILL)
        while (line := self._line()) != "ended":
            said.append(line)
        self._tell("")
        return Ended(number, int(self._line()), said[:-1])

    def _tell(self, line: str) -> None:
        assert self._forks.stdin is not None
        print(line, file=self._forks.stdin, flush=True)

    def _line(self) -> str:
        assert self._forks.stdout is not None
        line = self._forks.stdout.readline()
        assert line, "the process that forks has ended"
        return line.rstrip("\n")


@contextmanager
def dying(script: str, **environment: str) -> Iterator[Work]:
    """script: what is imported, and the function `work` of JSON values, that returns a code."""
    forks = subprocess.Popen(
        [sys.executable, "-c", script + FORKS],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forks.stdin is not None
    assert forks.stdout is not None
    try:
        yield Work(forks)
    finally:
        forks.stdin.close()
        forks.wait()
        forks.stdout.close()


def _session(wanted: int) -> list[int]:
    """The processes of a session, without those that have ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == wanted and state != "Z":
            found.append(int(path.parent.name))
    return found
