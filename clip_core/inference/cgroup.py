"""Limits that a container's control groups (cgroup, versions 2 and 1) set for CPU and memory."""

from __future__ import annotations

import re
from pathlib import Path

# Quota and period in microseconds: version 2 keeps both in one file, version 1 in two
CPU_FILES = (
    (Path("/sys/fs/cgroup/cpu.max"),),
    (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
)
# The limit and, beside it, the file that says how much is in use
MEMORY_FILES = (
    (Path("/sys/fs/cgroup/memory.max"), "memory.current"),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), "memory.usage_in_bytes"),
)


def cpu_quota() -> float | None:
    """How many cores the container may use, as a fraction; None for no limit."""
    for paths in CPU_FILES:
        try:
            quota, period = " ".join(path.read_text() for path in paths).split()
            if float(quota) > 0 and float(period) > 0:
                return float(quota) / float(period)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def memory_limit() -> int | None:
    """Bytes of memory that the container may use; None for no limit."""
    for limit, _ in MEMORY_FILES:
        try:
            return int(limit.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def free_memory() -> int | None:
    """Bytes of memory that the container has left; None for no limit."""
    for limit, used in MEMORY_FILES:
        try:
            left = int(limit.read_text()) - int(limit.with_name(used).read_text())
            stat = limit.with_name("memory.stat").read_text()
        except (OSError, ValueError):
            continue
        # The kernel drops cached files when memory runs short. The first such line counts
        cached = re.search(r"^(?:total_)?inactive_file (\d+)$", stat, re.MULTILINE)
        return left + (int(cached[1]) if cached else 0)
    return None
