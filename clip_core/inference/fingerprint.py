"""Fingerprints (SHA-256) of all that a tower's features depend on: keys of caches on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.model import CLIP

TEXT_FORM = "1"  # raise it when texts become features in another way


@torch.inference_mode()
def image_fingerprint(tower: nn.Module, *details: object) -> str:
    """The fingerprint of an image tower, as hexadecimal digits.

    It covers the tower's modules and numbers of heads, its tensors and their dtypes: equal tensors
    give other features under another activation. details: whatever else the features depend on.
    """
    digest = hashlib.sha256(" ".join(map(str, details)).encode())
    for name, module in tower.named_modules():
        heads = getattr(module, "num_heads", None)
        digest.update(f"{name} {type(module).__name__} {heads}\n".encode())
    _update(digest, tower.state_dict())
    return digest.hexdigest()


@torch.inference_mode()
def text_fingerprint(model: CLIP) -> bytes:
    """The fingerprint of a model's text tower. `TEXT_FORM` stands for the published vocabulary."""
    block: Any = model.transformer.resblocks[0]
    heads, activation = block.attn.num_heads, type(block.mlp.gelu).__name__
    digest = hashlib.sha256(f"{TEXT_FORM} {model.context_length} {heads} {activation}".encode())
    state = model.state_dict()
    _update(digest, {name: state[name] for name in state if not name.startswith("visual.")})
    return digest.digest()


def _update(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
