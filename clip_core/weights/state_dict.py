"""Conversion of state dicts from the names of open_clip and transformers to the published ones.

Sources of the names: open_clip (`CLIP`, `CustomTextCLIP`), which kept those that openai/CLIP
published, and transformers (`CLIPModel`), which stores queries, keys and values separately and
transposes its projections.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clip_core.errors import CheckpointError
from clip_core.model import count_blocks

from .reader import LazyTensor, TensorFile


def to_published_names(stored: TensorFile) -> TensorFile:
    """Renames the tensors of any of these layouts to the published names.

    Raises CheckpointError for a tensor of transformers' layout that is missing or that no CLIP has.
    """
    if any(name.startswith(("vision_model.", "text_model.")) for name in stored):
        return _from_transformers(stored)
    if "text.token_embedding.weight" in stored:  # open_clip's CustomTextCLIP
        stored = {name.removeprefix("text."): value for name, value in stored.items()}
    # Old versions saved the causal mask, which is not a weight
    return {name: value for name, value in stored.items() if name != "attn_mask"}


_TRANSFORMERS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_TRANSFORMERS_NORMS = {
    "visual.ln_pre": "vision_model.pre_layrnorm",  # their spelling
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
_TRANSFORMERS_LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def _from_transformers(stored: TensorFile) -> TensorFile:
    named: TensorFile = {}
    # Old versions saved the numbers of the positions, which are not weights
    unused = {name for name in stored if not name.endswith(".position_ids")}

    def take(name: str) -> LazyTensor:
        if name not in stored:
            raise CheckpointError(f"These weights lack the tensor {name!r}.")
        unused.discard(name)
        return stored[name]

    for ours, theirs in _TRANSFORMERS.items():
        tensor = take(theirs)
        named[ours] = _transposed(tensor) if ours in ("visual.proj", "text_projection") else tensor
    for kind in ("weight", "bias"):
        for ours, theirs in _TRANSFORMERS_NORMS.items():
            named[f"{ours}.{kind}"] = take(f"{theirs}.{kind}")
        for our_tower, their_tower in (("visual.", "vision_model."), ("", "text_model.")):
            for i in range(count_blocks(stored, f"{their_tower}encoder.layers.")):
                block = f"{our_tower}transformer.resblocks.{i}"
                layer = f"{their_tower}encoder.layers.{i}"
                for ours, theirs in _TRANSFORMERS_LAYER.items():
                    named[f"{block}.{ours}.{kind}"] = take(f"{layer}.{theirs}.{kind}")
                parts = [take(f"{layer}.self_attn.{part}_proj.{kind}") for part in "qkv"]
                named[f"{block}.attn.in_proj_{kind}"] = _joined(parts)
    if unused:
        raise CheckpointError(f"These weights hold a tensor that no CLIP has: {min(unused)!r}.")
    return named


def _transposed(tensor: LazyTensor) -> LazyTensor:
    def read(dtype: torch.dtype) -> Tensor:
        return tensor.read(dtype).t().contiguous()

    return LazyTensor(tensor.shape[::-1], tensor.dtype, read)


def _joined(parts: list[LazyTensor]) -> LazyTensor:
    """The parts concatenated along the first axis."""

    def read(dtype: torch.dtype) -> Tensor:
        return torch.cat([part.read(dtype) for part in parts])

    rows = sum(part.shape[0] for part in parts)
    return LazyTensor((rows, *parts[0].shape[1:]), parts[0].dtype, read)
