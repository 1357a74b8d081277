"""Settings of a model that its tensors don't tell: activation, heads, image statistics."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .preprocess import MEAN, STD

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class Config:
    """Such settings of one model. The defaults fit the weights that openai/CLIP published."""

    activation: str = "quick_gelu"  # of both Transformers: one of `ACTIVATIONS`
    vision_heads: int | None = None  # None: 64 channels a head
    text_heads: int | None = None
    image_mean: tuple[float, ...] = MEAN  # red, green, blue in 0..1
    image_std: tuple[float, ...] = STD

    def to_metadata(self) -> dict[str, str]:
        """The metadata of a safetensors file: the fields' names, and their values in JSON."""
        return {name: json.dumps(value) for name, value in vars(self).items()}
