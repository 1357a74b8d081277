"""One thread in which a server's models run, so that its visitors don't fight for its cores.

PyTorch gives every thread that calls it threads of its own for the work inside: with a visitor in
each, the same cores would be asked for several times over, and each forward pass waits for the
slowest of them. Here all wait in one line. Pictures that stand in it at the same time go through as
one batch; nobody waits for a batch to fill.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from .threads import available_cores

MOST_ROWS = 8  # pictures in a batch: with more, a picture takes no less time (benchmarks/NOTES.md)
MOST_DECODING = 4  # pictures opened at once: at their largest, each takes a gigabyte meanwhile

Result = TypeVar("Result")

_known: weakref.WeakSet[Batcher] = weakref.WeakSet()


@dataclass(eq=False)  # tensors don't compare as one
class _Job:
    """What is to be run. rows: None for what can't be joined with others."""

    work: Callable[..., Any]
    rows: Tensor | None = None
    future: Future[Any] = field(default_factory=Future)


class Batcher:
    """First come, first served, in one thread, which starts with the first job.

    decoding: to be held by who opens a picture, so that no more do than there are cores and memory
    for. Safe to share by threads and, as it starts anew there, by copies of the process.
    """

    def __init__(self) -> None:
        self.begin()
        _known.add(self)

    def begin(self) -> None:
        """Forgets who waited: in a copy of the process, which has no threads."""
        self.decoding = threading.BoundedSemaphore(min(available_cores(), MOST_DECODING))
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises, after those who came before; at once from its own thread.

        It runs in inference mode.
        """
        if threading.current_thread() is self._thread:
            return work()
        return self._wait_for(_Job(work))

    def run_rows(self, work: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """As `run`, of work that treats each row [N, ...] by itself and gives [N, ...].

        Rows that wait for equal work are run in one call, `MOST_ROWS` at most.
        """
        if threading.current_thread() is self._thread:
            return work(rows)
        return self._wait_for(_Job(work, rows))

    def _wait_for(self, job: _Job) -> Any:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="models", daemon=True)
                self._thread.start()
            self._jobs.append(job)
            self._changed.notify()
        return job.future.result()

    @torch.inference_mode()
    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                jobs = self._take()
            _run_together(jobs)
            del jobs  # while it waits, nobody's picture stays in memory

    def _take(self) -> list[_Job]:
        """The first in line, and those who can go with it."""
        first = self._jobs.popleft()
        if first.rows is None:
            return [first]
        taken, count = [first], len(first.rows)
        for job in list(self._jobs):
            if (
                job.rows is not None
                and job.work == first.work
                and job.rows.shape[1:] == first.rows.shape[1:]
                and job.rows.device == first.rows.device
                and count + len(job.rows) <= MOST_ROWS
            ):
                self._jobs.remove(job)
                taken.append(job)
                count += len(job.rows)
        return taken


def _run_together(jobs: list[_Job]) -> None:
    try:
        if jobs[0].rows is None:
            jobs[0].future.set_result(jobs[0].work())
            return
        rows = [job.rows for job in jobs if job.rows is not None]
        found = jobs[0].work(torch.cat(rows) if len(rows) > 1 else rows[0])
        for job, part in zip(jobs, found.split([len(each) for each in rows]), strict=True):
            job.future.set_result(part)
    except BaseException as error:  # whoever waits has to hear of it, and the line goes on
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
            return
        for job in jobs:  # one may have spoilt it for the others
            _run_together([job])


def _begin_anew() -> None:
    for turns in _known:
        turns.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
