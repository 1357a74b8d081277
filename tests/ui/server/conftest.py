"""A small disk for uploads."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from ui.server.uploads import RESERVE

DISK = RESERVE + 1_000_000  # bytes
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a small disk that holds nothing else."""

    def usage(folder: Path) -> Usage:
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Usage(DISK, used, DISK - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return tmp_path / "uploads"


@pytest.fixture
def put() -> Callable[[Path, str, int, float], Path]:
    """Writes a file of so many bytes that was changed so many seconds ago."""

    def put(folder: Path, name: str, size: int, age: float) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - age, time.time() - age))
        return path

    return put
