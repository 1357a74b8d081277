"""A model by name or by file: the first call of `import clip`, and of this package."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from torchvision.transforms import Compose

from .checkpoints import CheckpointError, build_model, read_checkpoint
from .model import CLIP, convert_weights
from .preprocess import preprocess
from .published import PUBLISHED

BUNDLED = Path(__file__).with_name("bundled.safetensors")


def available_models() -> list[str]:
    """The names `load` knows: the nine published shapes and "bundled"."""
    return [*PUBLISHED, "bundled"]


def load(
    name_or_path: str | Path,
    device: str | torch.device | None = None,
    jit: bool = False,
    download_root: str | None = None,
) -> tuple[CLIP, Compose]:
    """A model and the transform its pictures need, as `clip.load` of openai/CLIP gives them.

    name_or_path: "bundled", or a file: a published archive, a state dict or safetensors. device:
    CUDA where there is one, otherwise the CPU, unless named. On CUDA the weights are float16 as
    published, elsewhere float32. jit: kept for compatibility; an archive's code is never run, the
    model is always this package's own, and asking for another draws a warning. download_root: taken
    for compatibility; nothing is downloaded.

    The transform maps a PIL picture to float32 [3, input_resolution, input_resolution].

    Raises CheckpointError (a RuntimeError), with one sentence that says what is wrong.
    """
    if jit:
        warnings.warn(
            "jit=True is ignored: an archive's code is never run, and the eager model answers "
            "the same.",
            stacklevel=2,
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(read_checkpoint(find_file(name_or_path)))
    return place(model, device), preprocess(model.visual.input_resolution)


def find_file(name_or_path: str | Path) -> Path:
    """The file that holds a model's weights.

    Raises CheckpointError when there is none, saying which file is wanted.
    """
    name = str(name_or_path)
    if name == "bundled":
        return BUNDLED
    if os.path.isfile(name):  # False, and no error, for what can be no file's name
        return Path(name)
    if name in PUBLISHED:
        published = PUBLISHED[name]
        raise CheckpointError(
            f"The model {name!r} is not downloaded by this version: get {published.file} "
            f"(SHA-256 {published.sha256}) as openai/CLIP's README says, and load it by its path."
        )
    raise CheckpointError(
        f"Model {name} not found: it is neither a file nor one of {', '.join(available_models())}."
    )


def place(model: CLIP, device: str | torch.device) -> CLIP:
    """Moves a model to a device, in the precision it runs in there."""
    model = model.float().to(device)  # type: ignore[assignment]
    if torch.device(device).type == "cuda":
        convert_weights(model)
    return model
