"""What a model needs to know and its tensors do not tell: activation, heads, image statistics."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .preprocess import MEAN, STD

ACTIVATIONS = ("quick_gelu", "gelu")


VOCAB_SIZE = 49408  # the BPE vocabulary of openai/CLIP, simple_tokenizer.py


@dataclass(frozen=True)
class Config:
    """The defaults are those of the weights that openai/CLIP published."""

    activation: str = "quick_gelu"  # of both Transformers: one of `ACTIVATIONS`
    vision_heads: int | None = None  # None: 64 channels a head
    text_heads: int | None = None
    image_mean: tuple[float, ...] = MEAN  # red, green, blue in 0..1
    image_std: tuple[float, ...] = STD

    def to_metadata(self) -> dict[str, str]:
        """As a safetensors file's notes: the fields' names, and values in JSON."""
        return {name: json.dumps(value) for name, value in vars(self).items()}
