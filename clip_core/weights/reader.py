"""A file of weights -> named tensors that wait in it, each read when a model asks for it.

Formats are told by content, never by name: the published TorchScript archives (openai/CLIP), a
state dict saved by torch, and safetensors. Nothing in a file is ever run: pickles go through
`weights_only=True`, and of a TorchScript archive only the tensors are read, by an unpickler that
knows how to rebuild tensors and nothing else. The archive's code is not looked at, and no member is
ever unpacked to disk.

Tensors wait so that a model's weights are in memory once: what needs no change of dtype stays
mapped from the file, and what does is read, changed and let go one by one.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from clip_core.errors import CheckpointError

# Three integers that the published archives keep beside the weights, and that the shapes tell too.
INTEGERS = ("input_resolution", "context_length", "vocab_size")
MAX_UNPACKED = 64_000_000  # bytes of a compressed member; what torch compresses is far below it


@dataclass(frozen=True)
class LazyTensor:
    """A tensor's shape and dtype, and how to read it as some dtype: `read(torch.float32)`."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[torch.dtype], Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> LazyTensor:
        """One that is in memory already, or mapped there."""
        return cls(tuple(tensor.shape), tensor.dtype, tensor.to)


TensorFile = dict[str, LazyTensor]


def read_file(path: Path) -> tuple[TensorFile, dict[str, str]]:
    """The tensors of a file, by the names they have in it, and a safetensors file's own notes.

    Raises CheckpointError for a file that is missing, broken or of another kind.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"The weights file {str(path)!r} can't be read.") from error
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_members(archive, path)
                is_script = any(name.endswith("/constants.pkl") for name in archive.namelist())
            return (_read_archive(path) if is_script else _read_state_dict(path, mmap=True)), {}
        if head[8:9] == b"{":  # 8 bytes of length, then a JSON object
            return _read_safetensors(path)
        return _read_state_dict(path, mmap=False), {}  # as torch wrote them before version 1.6
    except CheckpointError:
        raise
    except Exception as error:  # parsers raise whatever comes to hand on broken bytes
        raise CheckpointError(
            f"The file {str(path)!r} holds no weights that can be read safely: it may be cut "
            "short. A published archive, a plain state dict or a safetensors file is wanted."
        ) from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """A safetensors file's own notes, without reading its tensors; none for any other file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        return {}


_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _read_safetensors(path: Path) -> tuple[TensorFile, dict[str, str]]:
    file = safetensors.safe_open(path, framework="pt")
    stored: TensorFile = {}
    for name in file.keys():  # noqa: SIM118
        part = file.get_slice(name)
        if part.get_dtype() not in _SAFETENSORS_DTYPES:
            raise CheckpointError(
                f"The tensor {name!r} is stored as {part.get_dtype()}, which CLIP's weights are "
                "not: quantised files can't be used here."
            )
        dtype = _SAFETENSORS_DTYPES[part.get_dtype()]

        def read(wanted: torch.dtype, name: str = name, dtype: torch.dtype = dtype) -> Tensor:
            if wanted == dtype:
                return file.get_tensor(name)  # mapped, not copied
            # A mapping of its own, gone with the tensor: pages of a common one would add up.
            with safetensors.safe_open(path, framework="pt") as once:
                return once.get_tensor(name).to(wanted)

        stored[name] = LazyTensor(tuple(part.get_shape()), dtype, read)
    return stored, file.metadata() or {}


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses what could unpack to far more than it is: torch compresses small texts alone."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED and (
            "/data/" in member.filename or member.file_size > MAX_UNPACKED
        ):
            raise CheckpointError(
                f"The file {str(path)!r} is a zip whose part {member.filename!r} is compressed, "
                "which no file of weights has: it was not opened."
            )


def _read_state_dict(path: Path, mmap: bool) -> TensorFile:
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]  # training checkpoints keep the weights one level down
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor | int) for key, value in loaded.items()
    ):
        raise CheckpointError(f"The file {str(path)!r} holds no state dict of tensors.")
    return {
        key.removeprefix("module."): LazyTensor.of(torch.as_tensor(value))
        for key, value in loaded.items()
    }


def _read_archive(path: Path) -> TensorFile:
    """The tensors and integers of a TorchScript archive by dotted name, its code left unread.

    Layout (torch's serialization): `NAME/data.pkl` is a pickle of the module tree, and each storage
    it speaks of stands beside it as raw little-endian bytes, `NAME/data/KEY`.
    """
    archive = zipfile.ZipFile(path)  # open for as long as a tensor waits in it
    pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    root = pickled.removesuffix("data.pkl")
    tree = _ArchiveUnpickler(archive.read(pickled)).load()
    sizes = {member.filename: member.file_size for member in archive.infolist()}
    stored: TensorFile = {}
    for name, value in _flatten_tree(tree):
        if isinstance(value, int):
            stored[name] = LazyTensor.of(torch.tensor(value))
            continue
        member = f"{root}data/{value.key}"
        if sizes.get(member, 0) < value.bytes_needed:
            raise CheckpointError(
                f"The tensor {name!r} of the file {str(path)!r} reaches past the bytes that are "
                "there: the file is cut short or was tampered with."
            )
        stored[name] = LazyTensor(value.size, value.dtype, partial(value.read, archive, member))
    return stored


@dataclass(frozen=True)
class _View:
    """Where an archive says that a tensor's bytes are."""

    key: str
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def bytes_needed(self) -> int:
        """From the storage's start to the last byte that the view touches."""
        if 0 in self.size:
            return 0
        last = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        return (self.offset + last + 1) * self.dtype.itemsize

    def read(self, archive: zipfile.ZipFile, member: str, dtype: torch.dtype) -> Tensor:
        try:
            data = bytearray(archive.read(member))  # torch wants memory that it may write to
        except (OSError, zipfile.BadZipFile) as error:  # its checksum is wrong
            raise CheckpointError(
                f"The file {archive.filename!r} is broken: its part {member!r} can't be read."
            ) from error
        if not math.prod(self.size):
            return torch.empty(self.size, dtype=dtype)
        storage = torch.frombuffer(data, dtype=self.dtype)
        # A copy of what the view shows, never the storage that several views may share
        view = storage.as_strided(self.size, self.stride, self.offset)
        return view.to(dtype, copy=storage.numel() != view.numel())


class _ScriptModule:
    """Stands for any class of the archive: holds the attributes, has no behaviour."""


class _ArchiveUnpickler(pickle.Unpickler):
    """Rebuilds views and plain attribute trees; refuses every other name a pickle can call."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_view,
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

    def persistent_load(self, pid: Any) -> tuple[str, torch.dtype]:
        _, dtype, key, _, _ = pid
        return key, dtype


_STORAGE_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}


def _rebuild_view(
    storage: tuple[str, torch.dtype],
    offset: int,
    size: Iterable[int],
    stride: Iterable[int],
    *_: Any,
) -> _View:
    view = _View(storage[0], storage[1], offset, tuple(size), tuple(stride))
    if view.offset < 0 or min((*view.size, *view.stride), default=0) < 0:
        raise CheckpointError("This archive holds a tensor of negative size: it was not opened.")
    return view


def _flatten_tree(tree: Any, prefix: str = "") -> list[tuple[str, _View | int]]:
    found: list[tuple[str, _View | int]] = []
    for name, value in vars(tree).items():
        if isinstance(value, _ScriptModule):
            found += _flatten_tree(value, f"{prefix}{name}.")
        # Scripting keeps flags and the causal mask beside the weights
        elif (isinstance(value, _View) and name != "attn_mask") or (
            prefix + name in INTEGERS and isinstance(value, int)
        ):
            found.append((prefix + name, value))
    return found
