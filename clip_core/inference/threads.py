"""How many cores there are for this process, and how many of them a model is to use."""

from __future__ import annotations

import os
from pathlib import Path

import torch

# Where a container is told how much of the processor it may use: control groups, version 2 (quota
# and period in one file) and version 1.
QUOTAS = (
    (Path("/sys/fs/cgroup/cpu.max"),),
    (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
)
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
# One picture's products are too small for more; a guess, as no such machine was at hand.
MOST_THREADS = 16
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # read by PyTorch itself


def available_cores() -> int:
    """The cores that this process may run on, as its affinity and its container allow."""
    allowed = len(_affinity())
    quota = _quota()
    # Rounded down: whoever uses more than his share is stopped for the rest of each period
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def choose_threads(asked: int | None = None) -> tuple[int, str]:
    """Sets how many threads a forward pass uses on a CPU, and returns it with why.

    asked: by a person, who knows best. Else what the environment says, else one for each physical
    core, `MOST_THREADS` at most. Raises ValueError for less than one.
    """
    if asked is not None:
        if asked < 1:
            raise ValueError("There must be one thread or more.")
        torch.set_num_threads(asked)
        return asked, "as was asked for"
    named = [name for name in VARIABLES if os.environ.get(name)]
    if named:
        return torch.get_num_threads(), f"as {named[0]} says"
    cores = available_cores()
    threads = min(cores, _physical(), MOST_THREADS)
    torch.set_num_threads(threads)
    return threads, "1 core is available" if cores == 1 else f"{cores} cores are available"


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    """Cores, as a fraction; None for no limit."""
    for paths in QUOTAS:
        try:
            quota, period = " ".join(path.read_text() for path in paths).split()
            if float(quota) > 0 and float(period) > 0:
                return float(quota) / float(period)
        except (OSError, ValueError):  # no such file here, or "max"
            continue
    return None


def _physical() -> int:
    """Cores apart from those that share one's units: a product gains nothing by the second."""
    cores = set()
    for number in _affinity():
        try:
            cores.add(Path(SIBLINGS.format(number)).read_text().strip())
        except OSError:  # not Linux, or hidden
            cores.add(str(number))
    return len(cores)
