"""What a tower's features hang on, as a digest: the name of what is kept of it on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    import hashlib


@torch.inference_mode()
def update_with_tower(digest: hashlib._Hash, tower: nn.Module) -> None:
    """Adds an image tower's parts, its weights and their dtype to a digest.

    Not only the tensors: the same ones make other features with another activation or number of
    heads, which no tensor tells.
    """
    for name, module in tower.named_modules():
        heads = getattr(module, "num_heads", None)
        digest.update(f"{name} {type(module).__name__} {heads}\n".encode())
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
