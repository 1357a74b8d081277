"""Memory that a layer frees is there for the next, without the system's help."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAULTS = """
import resource, sys, torch
from clip_core.inference.malloc import keep_freed_memory
print(keep_freed_memory())
for count in range(40):
    if count == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers = [torch.ones(2 << 20) for _ in range(4)]  # 8 MB each
    del layers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 20 * 4 * (8 << 20) // 4096  # that these layers touch

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def run(**environment: str) -> tuple[str, int]:
    """Whether it was set, and how many pages the system had to give in the second half."""
    found = subprocess.run(
        [sys.executable, "-c", FAULTS],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    said, faults = found.stdout.split()
    return said, int(faults)


def test_freed_memory_is_used_again() -> None:
    said, faults = run()
    assert said == "True"
    assert faults < PAGES / 20


def test_the_environment_goes_first() -> None:
    said, faults = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert said == "False"
    assert faults > PAGES / 2
