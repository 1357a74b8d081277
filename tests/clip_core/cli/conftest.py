from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def options(tiny_model: Path, tmp_path: Path) -> list[str]:
    features = str(tmp_path / "features")
    return ["--model", str(tiny_model), "--device", "cpu", "--features", features, "--workers", "1"]
