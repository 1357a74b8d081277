"""One safetensors file, float16, that `clip_core.load` reads."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from clip_core import CLIP

from .precision import quick_dtype

# Chosen on the choosing halves of the held-out pictures (evaluate.py prints the fit).
LOGIT_SCALE = 18.0
DEFAULT_TEMPLATE = "a photo of a {}."
# Best on tall and wide pictures of both halves (squares.py prints the table).
DEFAULT_FRAMING = "pad"
# Fitted on the choosing halves to seed 0 (none_of_these.py prints them).
NONE_OF_THESE = {"threshold": -0.3609, "slope": 14.8162, "offset": 4.4621}
# Whose code or lists go in, and so whose versions the file names
LIBRARIES = (
    *("torch", "transformers", "tokenizers", "open_clip_torch", "timm"),
    *("matplotlib", "numpy", "pillow", "safetensors"),
)
LARGEST_FILE = 48_000_000  # bytes
LICENCE = (
    "Apache-2.0. Image tower: EfficientNet-Lite2 (Google, Apache-2.0). Text tower: trained by this "
    "project towards all-MiniLM-L6-v2 (Apache-2.0) on texts made from WordNet 3.0 (Copyright 2006 "
    "by Princeton University, WordNet licence). Tokens: CLIP's vocabulary (OpenAI, MIT)."
)


def export(model: CLIP, path: Path) -> None:
    """Writes the model to `path`, whole or not at all.

    Raises ValueError when a weight does not fit float16 or the file is too large.
    """
    model.logit_scale.data = torch.tensor(LOGIT_SCALE).log()
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if not tensor.abs().max() < torch.finfo(torch.float16).max:
            raise ValueError(f"The tensor {name!r} holds values that float16 can't.")
        tensors[name] = tensor.detach().half().contiguous()
    integers = {
        "input_resolution": model.visual.input_resolution,
        "context_length": model.context_length,
        "vocab_size": model.vocab_size,
    }
    tensors |= {name: torch.tensor(value) for name, value in integers.items()}
    precision = str(quick_dtype()).removeprefix("torch.")
    built = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    notes = {
        "default_template": DEFAULT_TEMPLATE,
        "default_framing": DEFAULT_FRAMING,
        "none_of_these": json.dumps(NONE_OF_THESE),
        "licence": LICENCE,
        "built": f"Python {platform.python_version()}, {built}, {precision}",
    }
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata=notes)
    if partial.stat().st_size > LARGEST_FILE:
        raise ValueError(
            f"The file has {partial.stat().st_size} bytes; {LARGEST_FILE} are allowed."
        )
    os.replace(partial, path)
