"""The names that others give CLIP's tensors -> the published ones (openai/CLIP), which are ours.

Sources of the names: open_clip (`CLIP`, `CustomTextCLIP`) and transformers (`CLIPModel`). open_clip
kept the published names. transformers keeps queries, keys and values apart and its projections
transposed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clip_core.errors import CheckpointError
from clip_core.model import count_blocks

from .reader import LazyTensor, TensorFile

# A tensor's prefix that marks another kind of model -> what that is.
_OTHER_KINDS = {
    "text_decoder.": "a CoCa model, whose text tower also writes captions",
    "logit_bias": "a SigLIP model, which scores each label by a sigmoid",
    "vision_model.head.": "a SigLIP model, whose image tower pools by attention",
    "visual.trunk.": "a model with an image tower of timm's",
    "text.transformer.embeddings.": "a model with another text tower, from transformers",
    "text.transformer.encoder.": "a model with another text tower, from transformers",
    "text_encoder.": "a model with another text tower",
}


def to_published_names(stored: TensorFile) -> TensorFile:
    """Tensors under any of these layouts' names -> under the published ones.

    Raises CheckpointError for a model of another kind, and for a tensor that its layout calls for
    and the file lacks.
    """
    for mark, kind in _OTHER_KINDS.items():
        name = next((name for name in stored if name.startswith(mark)), None)
        if name:
            raise CheckpointError(f"This is {kind} (by its tensor {name!r}); only CLIP runs here.")
    if any(name.startswith(("vision_model.", "text_model.")) for name in stored):
        return _from_transformers(stored)
    if "text.token_embedding.weight" in stored:  # open_clip's CustomTextCLIP
        stored = {name.removeprefix("text."): value for name, value in stored.items()}
    # The causal mask is no weight; versions of long ago saved it.
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
    # Which places there are, for versions that saved it
    left = {name for name in stored if not name.endswith(".position_ids")}

    def take(name: str) -> LazyTensor:
        if name not in stored:
            raise CheckpointError(f"These weights lack the tensor {name!r}.")
        left.discard(name)
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
    if left:
        raise CheckpointError(f"These weights hold a tensor that no CLIP has: {min(left)!r}.")
    return named


def _transposed(tensor: LazyTensor) -> LazyTensor:
    def read(dtype: torch.dtype) -> Tensor:
        return tensor.read(dtype).t().contiguous()

    return LazyTensor(tensor.shape[::-1], tensor.dtype, read)


def _joined(parts: list[LazyTensor]) -> LazyTensor:
    """One after the other along the first axis."""

    def read(dtype: torch.dtype) -> Tensor:
        return torch.cat([part.read(dtype) for part in parts])

    rows = sum(part.shape[0] for part in parts)
    return LazyTensor((rows, *parts[0].shape[1:]), parts[0].dtype, read)
