"""Memory budget of the models: a number of bytes, or a share of what the machine has."""

from __future__ import annotations

import re
import sys

import psutil
import torch

from clip_core.errors import CheckpointError, InputError
from clip_core.inference import cgroup

from .zerogpu import ON_ZEROGPU

SHARE = 0.5  # the rest is for images, features and other programs
INSTEAD = "Choose a smaller model, or try again later."
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str) -> int:
    """ "8GB", "800 MB" or a number of bytes -> bytes. Raises InputError with one sentence."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text, re.IGNORECASE)
    unit = found[2].upper() if found else ""
    if not found or (unit and not unit.endswith("B")) or float(found[1]) <= 0:
        raise InputError(f"{text!r} is no amount of memory: write it as 8GB, 800MB or in bytes.")
    return int(float(found[1]) * UNITS[unit])


def default_budget(device: torch.device) -> int:
    """Half of the memory of the GPU on CUDA, else of the machine or the container, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1] * SHARE)
    memory = psutil.virtual_memory().total
    limit = cgroup.memory_limit()
    if limit is not None:
        memory = min(memory, limit)
    return int(memory * SHARE)


def free_memory(device: torch.device) -> int:
    """Bytes that are free now: on the GPU with CUDA, else in the machine or the container."""
    if device.type == "cuda":
        if ON_ZEROGPU:  # there is no GPU to ask until a question is answered
            return sys.maxsize
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    free = psutil.virtual_memory().available
    left = cgroup.free_memory()
    return free if left is None else min(free, left)


def readable(number: float) -> str:
    """Bytes as a person reads them: 353 MB, 1.7 GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


class MemoryBudget:
    """The bytes that models may take together, on one device and in one dtype."""

    def __init__(self, limit: int | None, device: torch.device, dtype: torch.dtype) -> None:
        self.limit = limit or default_budget(device)
        self._device, self._dtype = device, dtype

    def size_of(self, parameters: int) -> int:
        """Bytes that a model with so many parameters takes."""
        return parameters * self._dtype.itemsize

    def left(self, taken: int) -> int:
        """Bytes that can be had now, when models take `taken` already."""
        return min(self.limit - taken, free_memory(self._device))

    def check_limit(self, name: str, size: int, taken: int) -> None:
        """Raises CheckpointError for a model that never fits beside `taken` bytes."""
        if size + taken > self.limit:
            raise CheckpointError(
                f"{name} takes {readable(size)} of memory, and models may take "
                f"{readable(self.limit)} here: choose a smaller one, or raise --memory."
            )

    def check_free(self, name: str, size: int, evictable: int) -> None:
        """Raises CheckpointError when eviction can't make the machine have enough free memory."""
        free = free_memory(self._device) + evictable
        if size > free:
            raise CheckpointError(
                f"{name} takes {readable(size)} of memory, and {readable(free)} are free here "
                f"now. {INSTEAD}"
            )
