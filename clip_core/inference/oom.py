"""A forward pass that its device has too little memory for: in halves, and at last on the CPU."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

# How PyTorch, cuBLAS and Apple's Metal say so where it is no OutOfMemoryError
_SAID = (
    *("out of memory", "alloc_failed", "can't allocate memory", "cannot allocate memory"),
    "not enough memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was too little memory, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)


def split_on_oom(
    work: Callable[[Tensor], Tensor],
    rows: Tensor,
    at_last: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """`work` of rows [N, ...] -> [N, ...], each row by itself, in as few calls as memory allows.

    Where a call lacks memory its halves are tried, down to single rows; one that doesn't fit either
    is given to `at_last`. What comes back lies where `work` puts it, or on the CPU if any of it
    came from `at_last`. Draws a RuntimeWarning that says so. Raises what `work` raised for a single
    row where there is no `at_last`.
    """
    try:
        return work(rows)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or (len(rows) == 1 and at_last is None):
            raise
    # Here and not above: as long as the error lives, so do the tensors of the call that failed
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(rows) == 1:
        assert at_last is not None
        said = "Too little memory for a single row: the CPU runs it."
        warnings.warn(said, RuntimeWarning, stacklevel=2)
        return at_last(rows)
    said = f"Too little memory for {len(rows)} rows at once: half as many are run."
    warnings.warn(said, RuntimeWarning, stacklevel=2)
    first, second = rows.tensor_split(2)
    return together(
        [split_on_oom(work, first, at_last), split_on_oom(work, second, at_last)], torch.cat
    )


def together(tensors: Sequence[Tensor], join: Callable[[list[Tensor]], Tensor]) -> Tensor:
    """Tensors joined where they lie; on the CPU if not all lie on one device."""
    if len({tensor.device for tensor in tensors}) > 1:
        return join([tensor.cpu() for tensor in tensors])
    return join(list(tensors))


def copy_to_cpu(model: Model) -> Model:
    """The model in float32 on the CPU. Shares with it what is there and float32 already.

    Nothing is allocated on the device that the model is on.
    """
    copies: dict[int, object] = {}
    for parameter in model.parameters():
        copies[id(parameter)] = nn.Parameter(parameter.detach().cpu().float(), requires_grad=False)
    for buffer in model.buffers():
        there = buffer.detach().cpu()
        copies[id(buffer)] = there.float() if there.is_floating_point() else there
    return copy.deepcopy(model, copies).eval()
