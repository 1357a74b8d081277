"""Commands as a person runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from clip_core.cli.main import main

ROOT = Path(__file__).parents[3]
LABELS = ["cat", "lion", "tower", "chart"]


def sort(*arguments: str | Path, options: list[str]) -> int:
    return main(["sort", *map(str, arguments), "--labels", *LABELS, *options])


def in_process(*arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clip_core", *map(str, arguments)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
