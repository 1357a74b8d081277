"""The precision that the teacher and the text tower run in, which the processor decides."""

from __future__ import annotations

import torch


def quick_dtype() -> torch.dtype:
    """bfloat16 where the processor has instructions for it; elsewhere float32.

    Without them bfloat16 is emulated, and takes several times as long as float32.
    """
    # torch.cpu.get_capabilities is newer than the oldest torch supported
    has_instructions = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_instructions else torch.float32


def autocast() -> torch.autocast:
    """A context in which matrix products run in `quick_dtype`."""
    dtype = quick_dtype()
    return torch.autocast("cpu", dtype, enabled=dtype is not torch.float32)
