"""A file of weights, whatever its format -> a CLIP model of the shape that its tensors have.

Formats are told by content, never by name: the published TorchScript archives (openai/CLIP), a
state dict saved by torch, and safetensors. Nothing in a file is ever run: pickles go through
`weights_only=True`, and of a TorchScript archive only the tensors are read, by an unpickler that
knows how to rebuild tensors and nothing else. The archive's code is not looked at.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from .efficientnet import EfficientNetLite
from .model import CLIP, HEAD_WIDTH, ModifiedResNet, VisionTransformer, count_blocks

# The tensor that only this tower has -> the tower. A new tower is a new class and a line here.
TOWERS: dict[str, Any] = {
    "proj": VisionTransformer,
    "attnpool.c_proj.weight": ModifiedResNet,
    "prototypes": EfficientNetLite,
}

# Three integers that the published archives keep beside the weights, and that the shapes tell too.
INTEGERS = ("input_resolution", "context_length", "vocab_size")


class CheckpointError(RuntimeError):
    """A file can't be used as CLIP weights; the message is one sentence that says why."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file held: the tensors by their published names, and notes on the model."""

    weights: dict[str, Tensor]
    integers: dict[str, int] = field(default_factory=dict)  # those of `INTEGERS` that it names
    metadata: dict[str, str] = field(default_factory=dict)  # a safetensors file's own notes


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a TorchScript archive, a state dict or a safetensors file, without running any of it.

    Raises CheckpointError for a file that is missing, broken, of another kind, or no CLIP.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"The weights file {str(path)!r} can't be read.") from error
    metadata: dict[str, str] = {}
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                is_script = any(name.endswith("/constants.pkl") for name in archive.namelist())
            tensors = read_archive(path) if is_script else _read_state_dict(path)
        elif head[8:9] == b"{":  # 8 bytes of length, then a JSON object
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        else:
            tensors = _read_state_dict(path)
    except CheckpointError:
        raise
    except Exception as error:  # parsers raise whatever comes to hand on broken bytes
        raise CheckpointError(
            f"The file {str(path)!r} holds no weights that can be read safely: a published "
            "archive, a plain state dict or a safetensors file is wanted."
        ) from error
    integers = {key: int(tensors.pop(key)) for key in INTEGERS if key in tensors}
    return Checkpoint(tensors, integers, metadata)


def read_metadata(path: str | Path) -> dict[str, str]:
    """A safetensors file's own notes, without reading its tensors; none for any other file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        return {}


def build_model(checkpoint: Checkpoint) -> CLIP:
    """A model in evaluation mode with the checkpoint's tensors themselves as its parameters.

    The shape is read from the tensors, and the tower from which tensors there are. Raises
    CheckpointError when they don't make a CLIP, naming the first tensor that is missing, odd or of
    the wrong shape.
    """
    weights = checkpoint.weights
    visual = {key[7:]: value for key, value in weights.items() if key.startswith("visual.")}
    towers = [tower for mark, tower in TOWERS.items() if mark in visual]
    if not towers:
        raise CheckpointError(
            "These weights are no CLIP that is known here: none of the tensors "
            + ", ".join(f"visual.{mark}" for mark in TOWERS)
            + " is among them."
        )
    try:
        with torch.device("meta"):  # shapes only: the checkpoint's tensors take the places below
            width = weights["ln_final.weight"].shape[0]
            model = CLIP(
                embed_dim=weights["text_projection"].shape[1],
                visual=towers[0].for_weights(visual),
                context_length=weights["positional_embedding"].shape[0],
                vocab_size=weights["token_embedding.weight"].shape[0],
                transformer_width=width,
                transformer_heads=width // HEAD_WIDTH,
                transformer_layers=count_blocks(weights, "transformer.resblocks."),
            )
    except KeyError as error:
        raise CheckpointError(f"These weights lack the tensor {error.args[0]!r}.") from error
    except (IndexError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"These weights have shapes that make no CLIP: {error}") from error
    if model.visual.output_dim != model.text_projection.shape[1]:
        raise CheckpointError(
            f"The image tower of these weights ends in {model.visual.output_dim} dimensions, "
            f"the text tower in {model.text_projection.shape[1]}: they don't belong together."
        )
    _check_tensors(model, weights)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _check_tensors(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            raise CheckpointError(f"These weights lack the tensor {name!r}.")
        if weights[name].shape != tensor.shape:
            raise CheckpointError(
                f"The tensor {name!r} has the shape {tuple(weights[name].shape)}, "
                f"where the others call for {tuple(tensor.shape)}."
            )
    for name in weights:
        if name not in wanted:
            raise CheckpointError(f"These weights hold a tensor that no CLIP has: {name!r}.")


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]  # training checkpoints keep the weights one level down
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor | int) for key, value in loaded.items()
    ):
        raise CheckpointError(f"The file {str(path)!r} holds no state dict of tensors.")
    return {key.removeprefix("module."): torch.as_tensor(value) for key, value in loaded.items()}


def read_archive(path: str | Path) -> dict[str, Tensor]:
    """The tensors and integers of a TorchScript archive by dotted name, its code left unread.

    Layout (torch's serialization): `NAME/data.pkl` is a pickle of the module tree, and each storage
    it speaks of stands beside it as raw little-endian bytes, `NAME/data/KEY`.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        tree = _ArchiveUnpickler(archive, pickled.removesuffix("data.pkl")).load()
        return dict(_flatten_tree(tree))


class _ScriptModule:
    """Stands for any class of the archive: holds the attributes, has no behaviour."""


class _ArchiveUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain attribute trees; refuses every other name a pickle can call."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(root + "data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "build_intlist"): list,
            ("torch.jit._pickle", "build_doublelist"): list,
            ("torch.jit._pickle", "build_boollist"): list,
            ("torch.jit._pickle", "build_tensorlist"): list,
        }
        if (module, name) not in allowed:
            raise CheckpointError(
                f"This archive asks for {module}.{name}, which no weights need: it was not opened."
            )
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, numel = pid
        if key not in self._storages:
            # bytearray: torch wants memory that it may write to
            data = bytearray(self._archive.read(f"{self._root}data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype, count=numel)
        return self._storages[key]


_STORAGE_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}


def _rebuild_tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    # as_strided itself refuses a view that reaches past the storage
    return storage.as_strided(size, stride, offset)


def _flatten_tree(tree: Any, prefix: str = "") -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, value in vars(tree).items():
        if isinstance(value, Tensor):
            if name != "attn_mask":  # no weight: scripting keeps the causal mask as an attribute
                found.append((prefix + name, value))
        elif isinstance(value, _ScriptModule):
            found += _flatten_tree(value, f"{prefix}{name}.")
        elif prefix + name in INTEGERS and isinstance(value, int):
            found.append((prefix + name, torch.tensor(value)))
    return found
