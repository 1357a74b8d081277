"""Contenders beside each other: that they agree, then how long each takes, interleaved."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

AGREE = 1e-5  # largest difference of normalised features from the reference's
# Before each run: ONNX Runtime's threads go on spinning after its own, and would take the cores
# from whoever comes next (NOTES.md)
PAUSE = 0.15


@dataclass
class Row:
    """One piece of work. seconds: of each run, by contender, in interleaved rounds.

    base: the contender that ratios are to. bar: what the ratio should be at least, None where the
    row has no bar. differences: largest difference of normalised features, by contender.
    """

    work: str
    base: str
    bar: float | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Seconds."""
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> tuple[float, float]:
        """The first and the third quartile, in seconds."""
        taken = sorted(self.seconds[name])
        if len(taken) < 4:
            return taken[0], taken[-1]
        low, _, high = statistics.quantiles(taken, n=4)
        return low, high

    def ratio(self, name: str) -> float:
        """How many times as fast as the base: ratio of medians."""
        return self.median(self.base) / self.median(name)


def race(
    row: Row,
    contenders: dict[str, Callable[[], Tensor | None]],
    rounds: int,
    before: dict[str, Callable[[], object]] | None = None,
    tolerance: float = AGREE,
) -> Row:
    """Runs all in turn: once to see that they agree with the base, then `rounds` times for time.

    rounds: 0 times that first run, of work that takes minutes. before: what is done before each
    timed run of a contender, untimed (to forget caches). Raises RuntimeError where features differ
    by more than `tolerance`.
    """
    before = before or {}
    answers: dict[str, Tensor] = {}
    with torch.inference_mode():
        for name, run in contenders.items():
            before.get(name, _nothing)()
            started = time.perf_counter()
            found = run()
            if not rounds:
                row.seconds[name] = [time.perf_counter() - started]
            if isinstance(found, Tensor):
                answers[name] = F.normalize(found.float().cpu(), dim=-1)
        for name, found in answers.items():
            difference = (found - answers[row.base]).abs().max().item()
            row.differences[name] = difference
            if not difference <= tolerance:
                raise RuntimeError(f"{row.work}: {name} differs from {row.base} by {difference:g}")
        for _ in range(rounds):
            for name, run in contenders.items():
                before.get(name, _nothing)()
                time.sleep(PAUSE)
                started = time.perf_counter()
                run()
                row.seconds.setdefault(name, []).append(time.perf_counter() - started)
    said = ", ".join(f"{name} {1000 * row.median(name):,.1f} ms" for name in contenders)
    print(f"{row.work}: {said}", file=sys.stderr, flush=True)
    return row


def _nothing() -> None:
    return None
