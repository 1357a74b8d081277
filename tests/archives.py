"""Writer of TorchScript archives in the published format, from a model with random weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from clip_core.model import CLIP, convert_weights


class Holder(nn.Module):
    """A module tree with CLIP's names and integers, simple enough for TorchScript to compile."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        children: dict[str, dict[str, Tensor]] = {}
        for name, tensor in weights.items():
            head, _, rest = name.partition(".")
            if rest:
                children.setdefault(head, {})[rest] = tensor
            else:
                self.register_buffer(head, tensor)
        for head, tensors in children.items():
            self.add_module(head, Holder(tensors))

    def forward(self, x: Tensor) -> Tensor:
        return x


def write_archive(path: Path, model: CLIP) -> dict[str, Tensor]:
    """Writes a TorchScript archive as published: float16, three integers; returns its tensors."""
    convert_weights(model)
    integers = {
        "input_resolution": torch.tensor(model.visual.input_resolution),
        "context_length": torch.tensor(model.context_length),
        "vocab_size": torch.tensor(model.vocab_size),
    }
    with warnings.catch_warnings():
        # torch deprecates writing such archives; the published ones stay as they are.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Holder(model.state_dict() | integers)), path)
    return model.state_dict()
