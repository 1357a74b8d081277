"""Has freed memory kept for the next layer, instead of handed back and asked for again.

glibc returns what is freed at the heap's end to the system beyond a small threshold, and maps large
pieces anew each time. A forward pass allocates and frees some megabytes per layer, so it spends a
fifth to a third of its time on pages that the system clears for it (benchmarks/NOTES.md).
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform

# glibc's malloc.h, and mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 256 << 20  # bytes of freed memory that may stay with the process, at the heap's end
# Larger pieces are mapped by themselves and go back at once: a picture of 100 million pixels does
MAPPED = 32 << 20
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Sets glibc's thresholds for this process; says whether it did.

    It does not where there is another allocator, or where the environment has settled it.
    """
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in VARIABLES):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_THRESHOLD, MAPPED) and libc.mallopt(M_TRIM_THRESHOLD, KEPT))


def give_back_freed_memory() -> None:
    """Has glibc hand back what it keeps, after much was freed that won't be needed again."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
