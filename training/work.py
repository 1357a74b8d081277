"""The work folder: where packages are unpacked and each stage leaves what the next one reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Work:
    """A folder of finished stages. A file in it is complete, or it is not there."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / name

    def make(self, name: str, build: Callable[[], Any]) -> Any:
        """What the file `name` holds; built and written first if it is not there."""
        path = self.path(name)
        if not path.exists():
            value = build()
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            torch.save(value, partial)
            os.replace(partial, path)
        # Only this program writes here, and stages keep dataclasses.
        return torch.load(path, weights_only=False)
