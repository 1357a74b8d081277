"""Out of memory: a batch that its device has too little memory for is run in halves."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from clip_core.errors import NotEnoughMemoryError

# How PyTorch, cuBLAS and Apple's Metal word it where it is no OutOfMemoryError
_MESSAGES = (
    *("out of memory", "alloc_failed", "can't allocate memory", "cannot allocate memory"),
    "not enough memory",
)
TOO_LITTLE_MEMORY = (
    "There is too little memory for this right now: try again, or choose a smaller model."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | NotEnoughMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        message in str(error).lower() for message in _MESSAGES
    )


def split_on_oom(work: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`work` applied to rows [N, ...] -> [N, ...], in as few calls as memory allows.

    work must treat each row by itself. Where a call runs out of memory, its halves are tried, with
    a RuntimeWarning. Raises NotEnoughMemoryError when not even a single row fits.
    """
    try:
        return work(rows)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise NotEnoughMemoryError(TOO_LITTLE_MEMORY) from error
    # Outside the handler: while the error lives, so do the tensors of the call that failed
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    message = f"Too little memory for {len(rows)} rows at once: half as many are run."
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    first, second = rows.tensor_split(2)
    return torch.cat([split_on_oom(work, first), split_on_oom(work, second)])
