"""Weights laid out once for the CPU they run on.

Before a matrix product of few rows, a CPU's library copies the weight into the order that its
kernel reads, and that costs as much as the product. Done once, it is never paid again. The layout
is oneDNN's (uxlfoundation/oneDNN), by the operators that PyTorch's own compiler uses.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_ROWS = 320  # with many more MKL is as quick, its copying included (benchmarks/NOTES.md)
CLOSE = 1e-4  # of what the operators give to F.linear's, for the trial


class Linear:
    """alpha (x @ weight.T) + beta bias, for a weight [out, in] that changes no more.

    pack: has the weight twice, the second time laid out for few rows, on a CPU in float32.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        pack: bool,
        alpha: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._alpha, self._beta = alpha, beta
        self._packed: Any = None
        if pack and weight.device.type == "cpu" and weight.dtype == torch.float32 and can_pack():
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight * alpha, None)
            self._packed_bias = self._bias * beta

    @property
    def extra_bytes(self) -> int:
        """The memory that the second layout takes."""
        return 0 if self._packed is None else self._weight.numel() * self._weight.element_size()

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, in] -> [rows, out]."""
        if self._packed is not None and len(x) <= FEW_ROWS:
            return torch.ops.mkldnn._linear_pointwise(
                x, self._packed, self._packed_bias, "none", [], ""
            )
        return torch.addmm(self._bias, x, self._weight.t(), alpha=self._alpha, beta=self._beta)


@functools.cache
def can_pack() -> bool:
    """Whether this PyTorch has the operators, and they compute what they should."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, generator=generator) for shape in ((3, 64), (128, 64), (128,))
    )
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        found = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # not in this version, or not as here
        return False
    return torch.allclose(found, F.linear(x, weight, bias), atol=CLOSE)


def fold_batch_norms(module: nn.Module, pairs: dict[str, str]) -> None:
    """Multiplies batch norms into the convolutions before them, in place, for evaluation.

    pairs: names within `module`, convolution -> batch norm. The norm becomes an identity.
    """
    for convolution, norm in pairs.items():
        pair = getattr(module, convolution), getattr(module, norm)
        setattr(module, convolution, nn.utils.fusion.fuse_conv_bn_eval(*pair))
        setattr(module, norm, nn.Identity())
