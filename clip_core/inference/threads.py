"""Number of CPU cores this process may use, and of threads for a forward pass."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from clip_core.errors import InputError

from . import cgroup

SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
# The matrix products of one image are too small for more; a guess, no such machine was at hand
MOST_THREADS = 16
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # read by PyTorch itself


def available_cores() -> int:
    """How many cores this process may use, by its CPU affinity and its container's quota."""
    allowed = len(_affinity())
    quota = cgroup.cpu_quota()
    # Rounded down: a process that exceeds its quota is stopped for the rest of each period
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def choose_threads(asked: int | None = None) -> tuple[int, str]:
    """Sets PyTorch's number of CPU threads; returns it, and the reason in words.

    asked: takes precedence over the environment variables, and these over the default: one thread
    for each physical core, at most `MOST_THREADS`. Raises InputError if `asked` is less than 1.
    """
    if asked is not None:
        if asked < 1:
            raise InputError("There must be one thread or more.")
        torch.set_num_threads(asked)
        return asked, "as was asked for"
    named = [name for name in VARIABLES if os.environ.get(name)]
    if named:
        return torch.get_num_threads(), f"as {named[0]} says"
    cores = available_cores()
    threads = min(cores, _physical_cores(), MOST_THREADS)
    torch.set_num_threads(threads)
    return threads, "1 core is available" if cores == 1 else f"{cores} cores are available"


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores() -> int:
    """Counts hyper-threads of one core once: a matrix product gains nothing by the second."""
    cores = set()
    for number in _affinity():
        try:
            cores.add(Path(SIBLINGS.format(number)).read_text().strip())
        except OSError:  # not Linux, or hidden
            cores.add(str(number))
    return len(cores)
