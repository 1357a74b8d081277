"""How much memory models may take: what a person says, or a share of what the machine has."""

from __future__ import annotations

import re
import sys

import psutil
import torch

from clip_core.inference import cgroup

from .zerogpu import ON_ZEROGPU

SHARE = 0.5  # the rest is for pictures, features, and everyone else on the machine
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str) -> int:
    """ "8GB", "800 MB" or a number of bytes -> bytes. Raises ValueError with one sentence."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text, re.IGNORECASE)
    unit = found[2].upper() if found else ""
    if not found or (unit and not unit.endswith("B")) or float(found[1]) <= 0:
        raise ValueError(f"{text!r} is no amount of memory: write it as 8GB, 800MB or in bytes.")
    return int(float(found[1]) * UNITS[unit])


def default_budget(device: torch.device) -> int:
    """Bytes: half of the GPU's memory on CUDA, else of the machine's or the container's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1] * SHARE)
    memory = psutil.virtual_memory().total
    limit = cgroup.memory_limit()
    if limit is not None:
        memory = min(memory, limit)
    return int(memory * SHARE)


def free_memory(device: torch.device) -> int:
    """Bytes that could be had now: of the GPU on CUDA, else of the machine or the container."""
    if device.type == "cuda":
        if ON_ZEROGPU:  # which has no GPU as long as no question is asked
            return sys.maxsize
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    free = psutil.virtual_memory().available
    left = cgroup.free_memory()
    return free if left is None else min(free, left)


def readable(number: float) -> str:
    """Bytes as a person reads them: 353 MB, 1.7 GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"
