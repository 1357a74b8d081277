"""Features in one file: written whole or not at all, never changed, and checked when it is read.

Safetensors and not Parquet: rows are mapped where they lie, not decoded, so that a million of them
can be searched without being in memory first. A part holds `content` (uint8 [n, 32], SHA-256 of
pictures' files), `features` (float32 [n, D], normalised) and `stamps` (uint8 [m, 16 + 32], stamps
of files with the content they stand for); `crc32` in its metadata is the checksum of the three.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CONTENT = 32  # bytes of a SHA-256
STAMP = 16  # bytes of a stamp, see `reading.stat_key`


class BrokenPartError(ValueError):
    """A part's bytes are not those that were written."""


@dataclass(frozen=True)
class Part:
    """What a part holds. contents: of n pictures; features: float32 [n, D], mapped."""

    contents: list[bytes]
    features: Tensor
    stamps: dict[bytes, bytes]


def write_part(
    path: Path,
    form: str,
    contents: Sequence[bytes],
    features: Tensor,
    stamps: Mapping[bytes, bytes],
) -> None:
    """Writes features, float32 [n, D], of n contents, and the contents of files by their stamps.

    Raises OSError or SafetensorError where it can't be written; then there is nothing at `path`.
    """
    partial = path.with_suffix(".partial")
    tensors = {
        "content": _bytes_tensor(contents, CONTENT),
        "features": features.contiguous(),
        "stamps": _bytes_tensor([k + v for k, v in stamps.items()], STAMP + CONTENT),
    }
    try:
        save_file(tensors, partial, {"form": form, "crc32": _checksum(tensors)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError):
        partial.unlink(missing_ok=True)
        raise


def read_part(path: Path, dimensions: int) -> Part:
    """A part whose features have these dimensions.

    All of it is read once, for its checksum. Raises BrokenPartError for one that is not as it was
    written, OSError where it can't be read.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in ("content", "features", "stamps")}
            said = (stored.metadata() or {}).get("crc32")
    except SafetensorError as error:
        raise BrokenPartError(str(error)) from error
    content, features, stamps = tensors.values()
    kinds = [(each.dtype, each.shape[1:]) for each in tensors.values()]
    if len(content) != len(features) or kinds != [
        (torch.uint8, (CONTENT,)),
        (torch.float32, (dimensions,)),
        (torch.uint8, (STAMP + CONTENT,)),
    ]:
        raise BrokenPartError("It has other shapes than a part.")
    if said != _checksum(tensors):
        raise BrokenPartError("Its checksum is wrong.")
    pairs = _split(stamps, STAMP + CONTENT)
    return Part(_split(content, CONTENT), features, {pair[:STAMP]: pair[STAMP:] for pair in pairs})


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    checksum = 0
    for tensor in tensors.values():
        checksum = zlib.crc32(tensor.numpy().data, checksum)
    return f"{checksum:08x}"


def _bytes_tensor(rows: Iterable[bytes], width: int) -> Tensor:
    joined = bytearray(b"".join(rows))
    if not joined:
        return torch.empty(0, width, dtype=torch.uint8)
    return torch.frombuffer(joined, dtype=torch.uint8).reshape(-1, width)


def _split(rows: Tensor, width: int) -> list[bytes]:
    joined = rows.numpy().tobytes()
    return [joined[i : i + width] for i in range(0, len(joined), width)]
