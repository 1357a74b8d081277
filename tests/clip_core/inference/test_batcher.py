"""One line for all who ask: in order, joined where they can be, and no one spoils another's."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from clip_core.inference.batcher import MOST_ROWS, Batcher


class Gate:
    """Holds the line until all who are to stand in it do."""

    def __init__(self, turns: Batcher) -> None:
        self._open, self._turns = threading.Event(), turns
        running = threading.Event()

        def hold() -> None:
            running.set()
            self._open.wait()

        self._first = threading.Thread(target=turns.run, args=(hold,))
        self._first.start()
        running.wait()

    def release(self, waiting: int) -> None:
        while len(self._turns._jobs) < waiting:
            time.sleep(0.001)
        self._open.set()
        self._first.join()


def run_all(turns: Batcher, jobs: list[Callable[[], object]]) -> list[object]:
    """What each returns or raises, all of them waiting when the first begins."""

    def caught(job: Callable[[], object]) -> object:
        try:
            return job()
        except Exception as error:
            return error

    gate = Gate(turns)
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = []
        for number, job in enumerate(jobs, start=1):
            found.append(pool.submit(caught, job))
            while len(turns._jobs) < number:
                time.sleep(0.001)
        gate.release(len(jobs))
        return [each.result(timeout=300) for each in found]


def test_first_come_first_served_in_one_thread() -> None:
    turns, seen = Batcher(), []

    def job(number: int) -> Callable[[], object]:
        return lambda: turns.run(lambda: seen.append((number, threading.get_ident())))

    run_all(turns, [job(number) for number in range(5)])
    assert [number for number, _ in seen] == [0, 1, 2, 3, 4]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_rows_that_wait_together_go_together_and_come_back_to_their_own() -> None:
    turns, sizes = Batcher(), []

    def double(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return 2 * rows

    rows = [torch.full((count, 3), float(count)) for count in (1, 2, 1, 3, 5)]
    found = run_all(turns, [lambda each=each: turns.run_rows(double, each) for each in rows])
    assert all(torch.equal(two, 2 * one) for one, two in zip(rows, found, strict=True))
    assert sizes == [7, 5]
    assert MOST_ROWS == 8


def test_only_equal_work_on_equal_shapes_is_joined() -> None:
    turns, calls = Batcher(), []

    def one(rows: Tensor) -> Tensor:
        calls.append(("one", tuple(rows.shape)))
        return rows

    def other(rows: Tensor) -> Tensor:
        calls.append(("other", tuple(rows.shape)))
        return rows

    jobs = [(one, 3), (other, 3), (one, 4), (one, 3)]
    run_all(turns, [lambda w=w, n=n: turns.run_rows(w, torch.ones(1, n)) for w, n in jobs])
    assert calls == [("one", (2, 3)), ("other", (1, 3)), ("one", (1, 4))]


def test_one_that_fails_spoils_it_for_no_other() -> None:
    turns = Batcher()

    def root(rows: Tensor) -> Tensor:
        if (rows < 0).any():
            raise ValueError("below zero")
        return rows.sqrt()

    found = run_all(
        turns, [lambda n=n: turns.run_rows(root, torch.full((1,), n)) for n in (4.0, -1.0, 9.0)]
    )
    assert (found[0].item(), found[2].item()) == (2.0, 3.0)
    assert str(found[1]) == "below zero"
    with pytest.raises(ZeroDivisionError):
        turns.run(lambda: 1 // 0)
    assert turns.run(lambda: "goes on") == "goes on"


def test_work_may_ask_for_a_turn_itself() -> None:
    turns = Batcher()
    inner = turns.run(lambda: turns.run(lambda: turns.run_rows(torch.neg, torch.ones(1, 1))))
    assert inner.item() == -1


def test_work_keeps_no_gradients() -> None:
    weight = torch.ones(1, requires_grad=True)
    doubled = Batcher().run(lambda: 2 * weight)
    assert doubled.is_inference()


def _ask(turns: Batcher, results: multiprocessing.Queue) -> None:
    results.put(turns.run(lambda: "answered"))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no copies of processes here"
)
def test_a_copy_of_the_process_has_a_line_of_its_own() -> None:
    turns = Batcher()
    assert turns.run(lambda: 1) == 1
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    copy = context.Process(target=_ask, args=(turns, results))
    copy.start()
    assert results.get(timeout=300) == "answered"
    copy.join(timeout=300)
    assert turns.run(lambda: 2) == 2
