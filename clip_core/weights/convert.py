"""Any file of weights -> a safetensors file under the published names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from clip_core.errors import CheckpointError
from clip_core.model import convert_weights

from .build import build_model, read_checkpoint
from .resolve import find_weights


def convert(
    source: str | Path, target: str | Path, half: bool = False, activation: str | None = None
) -> None:
    """Writes a model as safetensors, float32, or mixed as the published archives are if `half`.

    source: what `load` takes. activation: "quick_gelu" or "gelu", where no config says it. What the
    tensors don't tell is written into the file's notes, so that the file needs nothing beside it.

    Raises CheckpointError when the source is no usable model or the target can't be written,
    DownloadError when the source can't be had.
    """
    target = Path(target)
    if target.exists():
        raise CheckpointError(f"{str(target)!r} is there already: name another file to write.")
    path, config = find_weights(source)
    checkpoint = read_checkpoint(path, config)
    config = checkpoint.config
    if activation is not None:
        config = replace(config, activation=activation)
    model = build_model(checkpoint)
    if half:
        convert_weights(model)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    written = target.with_name(target.name + ".part")
    try:
        save_file(tensors, written, metadata=checkpoint.metadata | config.to_metadata())
        os.replace(written, target)
    except Exception as error:  # safetensors has no common error for a disk that is full
        raise CheckpointError(f"{str(target)!r} can't be written: {error}") from error
    finally:
        written.unlink(missing_ok=True)
