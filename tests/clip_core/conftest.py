from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk, where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = []

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a disk can only be mounted by root")
        done.append(disk)
        return disk

    yield mount
    for disk in done:  # lazily: features of a store may be mapped from there still
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
