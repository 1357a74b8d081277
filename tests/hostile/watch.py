"""Runs trials in a process with limits of memory and time, and starts another where one ends it."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.hostile.pictures import picture
from tests.hostile.texts import text
from tests.hostile.verdicts import FAILURE, ROOT, in_silence, try_picture

MEMORY = 3 << 30  # bytes that an input may take on top of the process with all its libraries
SECONDS = 10.0  # of the processor that an input may take
WAIT = 90.0  # seconds for one input, on a machine that does other things too
SECONDS_TO_START = 300.0  # of the process, and of making an input
PICTURES, TEXTS = "pictures", "texts"
TOO_LONG = "took too long"


@dataclass(frozen=True)
class Outcome:
    """What one input led to."""

    number: int
    description: str
    verdict: str
    words: str
    seconds: float
    megabytes: float  # at most in use at once, on top of what was before

    @property
    def kind(self) -> str:
        """What was done, without to which file."""
        return self.description.partition(":")[0]


def watch(
    what: str,
    seed: int,
    count: int,
    deadline: float | None = None,
    wait: float = WAIT,
    target: Callable[..., None] | None = None,
) -> Iterator[Outcome]:
    """Tries inputs 0 to count - 1, or as many as there are before a time of `time.monotonic`.

    wait: seconds until an input counts as hanging. target: what runs in the process, `work` unless
    a test says else.
    """
    number = 0
    while number < count:
        for outcome in _in_one_process(target or work, what, seed, number, count, wait):
            yield outcome
            number = outcome.number + 1
            if deadline is not None and time.monotonic() > deadline:
                return


def _in_one_process(
    target: Callable[..., None], what: str, seed: int, first: int, count: int, wait: float
) -> Iterator[Outcome]:
    """Until all is tried, or an input has ended the process: that one is the last outcome."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=target, args=(what, seed, first, count, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        for number in range(first, count):
            description = f"not made: number {number}"
            try:
                if not ours.poll(SECONDS_TO_START):
                    raise TimeoutError
                description = ours.recv()
                if not ours.poll(wait):
                    raise TimeoutError
                yield Outcome(number, description, *ours.recv())
            except TimeoutError:
                yield Outcome(number, description, FAILURE, TOO_LONG, wait, 0.0)
                return
            except EOFError:
                process.join()
                words = f"ended the process with {process.exitcode}"
                yield Outcome(number, description, FAILURE, words, 0.0, 0.0)
                return
    finally:
        process.kill()
        process.join()
        ours.close()


def work(what: str, seed: int, first: int, count: int, pipe: Connection) -> None:
    """In the process: for each input sends its description, then how it went."""
    if what == TEXTS:
        from tests.hostile.trials import try_text  # noqa: PLC0415  (slow, and for this alone)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The page takes a picture from where uploads lie and from its examples alone
        sound, given = (
            ROOT / "ui/examples/horse.png",
            folder / "picture.txt",
        )  # a wrong ending, for all
        if what == TEXTS:
            try_text("a cat", sound, folder)  # reads the vocabulary
        limit = _memory("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(first, count):
            if what == PICTURES:
                description, data = picture(seed, number)
                given.write_bytes(data)
            else:
                description, typed = text(seed, number)
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
            before, started = _memory("VmRSS"), time.process_time()
            pipe.send(description)
            try:
                if what == PICTURES:
                    verdict = in_silence(try_picture, given)
                else:
                    verdict = in_silence(try_text, typed, sound, folder)
            except MemoryError:
                verdict = (FAILURE, "MemoryError")
            seconds = time.process_time() - started
            if seconds > SECONDS:
                verdict = (FAILURE, TOO_LONG)
            pipe.send((*verdict, seconds, (_memory("VmHWM") - before) / 1e6))


def _memory(name: str) -> int:
    """Bytes of this process: VmSize, VmRSS, or VmHWM, the peak of the latter."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
