"""A file of weights, whatever its format and layout -> a CLIP model of its tensors' shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_core.config import Config
from clip_core.efficientnet import EfficientNetLite
from clip_core.errors import CheckpointError
from clip_core.model import (
    CLIP,
    HEAD_WIDTH,
    ModifiedResNet,
    VisionTransformer,
    convert_weights,
    count_blocks,
)

from .config_files import OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG, from_metadata, read_config
from .reader import INTEGERS, TensorFile, read_file
from .state_dict import to_published_names

# The tensor that only this tower has -> the tower. A new tower is a new class and a line here.
TOWERS: dict[str, Any] = {
    "proj": VisionTransformer,
    "attnpool.c_proj.weight": ModifiedResNet,
    "prototypes": EfficientNetLite,
}

# The widest ViT whose heads have 64 channels in every release: L/14. Wider ones (H, g and bigG of
# open_clip's) have 80, 88 and 104, which no tensor tells.
WIDEST_OF_64 = 1024


@dataclass(frozen=True)
class Checkpoint:
    """What a file held: the tensors by their published names, and what they don't tell."""

    weights: TensorFile
    config: Config = field(default_factory=Config)
    integers: dict[str, int] = field(default_factory=dict)  # those of `INTEGERS` that it names
    metadata: dict[str, str] = field(default_factory=dict)  # a safetensors file's own notes

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(math.prod(stored.shape) for stored in self.weights.values())


def read_checkpoint(path: str | Path, config: Config | None = None) -> Checkpoint:
    """A TorchScript archive, state dict or safetensors file, its tensors still waiting in it.

    Layouts: the published names, open_clip's, transformers'. config: what the tensors don't tell;
    if not given, what the file's own notes say, or an open_clip_config.json or config.json beside
    it, or else that of the published weights.

    Raises CheckpointError for a file that is missing, broken, of another kind, or no CLIP.
    """
    path = Path(path)
    stored, metadata = read_file(path)
    integers = {
        name: int(stored.pop(name).read(torch.int64)) for name in INTEGERS if name in stored
    }
    if config is None:
        config = from_metadata(metadata)
    if config is None and not integers:  # published archives, which have these, need none
        is_transformers = any(name.startswith("vision_model.") for name in stored)
        beside = path.with_name(TRANSFORMERS_CONFIG if is_transformers else OPEN_CLIP_CONFIG)
        config = read_config(beside) if beside.is_file() else None
    return Checkpoint(to_published_names(stored), config or Config(), integers, metadata)


def build_model(
    checkpoint: Checkpoint,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> CLIP:
    """A model in evaluation mode with the checkpoint's tensors as its parameters.

    The shape is read from the tensors, and the tower from which tensors there are. dtype: float32,
    or what the matrix products run in, as `convert_weights` does it. What is stored in the right
    dtype stays mapped from the file on the CPU; the rest is read, changed and moved one by one.

    Raises CheckpointError when the tensors don't make a CLIP, naming the first that is missing,
    odd, of the wrong shape, or holds what is no number.
    """
    weights = checkpoint.weights
    model = outline(checkpoint)
    if dtype != torch.float32:
        convert_weights(model, dtype)
    wanted = model.state_dict()
    _check_names(wanted, weights)
    tensors = {}
    for name, place in wanted.items():
        tensor = weights[name].read(place.dtype).reshape(place.shape)
        if tensor.is_floating_point() and not math.isfinite(tensor.sum(dtype=torch.float32)):
            raise CheckpointError(
                f"The tensor {name!r} holds values that are no numbers (NaN or infinite): "
                "the file is broken."
            )
        tensors[name] = tensor.to(device)
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def outline(checkpoint: Checkpoint) -> CLIP:
    """The model that a checkpoint makes, on the meta device: shapes alone, no tensor is read.

    Raises CheckpointError when the shapes make no CLIP.
    """
    config = checkpoint.config
    shapes = {name: stored.shape for name, stored in checkpoint.weights.items()}
    visual = {name[7:]: shape for name, shape in shapes.items() if name.startswith("visual.")}
    towers = [tower for mark, tower in TOWERS.items() if mark in visual]
    if not towers:
        raise CheckpointError(
            "These weights are no CLIP that is known here: none of the tensors "
            + ", ".join(f"visual.{mark}" for mark in TOWERS)
            + " is among them."
        )
    try:
        with torch.device("meta"):
            try:
                tower = towers[0].for_shapes(visual, config)
            except KeyError as error:
                raise KeyError(f"visual.{error.args[0]}") from error
            width = shapes["ln_final.weight"][0]
            model = CLIP(
                embed_dim=shapes["text_projection"][1],
                visual=tower,
                context_length=shapes["positional_embedding"][0],
                vocab_size=shapes["token_embedding.weight"][0],
                transformer_width=width,
                transformer_heads=config.text_heads or width // HEAD_WIDTH,
                transformer_layers=count_blocks(shapes, "transformer.resblocks."),
                activation=config.activation,
            )
    except KeyError as error:
        raise CheckpointError(f"These weights lack the tensor {error.args[0]!r}.") from error
    except (IndexError, ValueError, RuntimeError, ZeroDivisionError, AssertionError) as error:
        raise CheckpointError(f"These weights have shapes that make no CLIP: {error}") from error
    if model.visual.output_dim != model.text_projection.shape[1]:
        raise CheckpointError(
            f"The image tower of these weights ends in {model.visual.output_dim} dimensions, "
            f"the text tower in {model.text_projection.shape[1]}: they don't belong together."
        )
    if (
        isinstance(model.visual, VisionTransformer)
        and config.vision_heads is None
        and model.visual.transformer.width > WIDEST_OF_64
    ):
        raise CheckpointError(
            "The number of attention heads of so wide a ViT can't be told from its weights: put "
            "its config.json or open_clip_config.json beside the file."
        )
    return model


def _check_names(wanted: dict[str, Tensor], weights: TensorFile) -> None:
    for name, place in wanted.items():
        if name not in weights:
            raise CheckpointError(f"These weights lack the tensor {name!r}.")
        # A scalar may be saved as one element
        if weights[name].shape not in (tuple(place.shape), *([(1,)] if place.ndim == 0 else [])):
            raise CheckpointError(
                f"The tensor {name!r} has the shape {weights[name].shape}, "
                f"where the others call for {tuple(place.shape)}."
            )
    for name in weights:
        if name not in wanted:
            raise CheckpointError(f"These weights hold a tensor that no CLIP has: {name!r}.")
