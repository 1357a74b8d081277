"""The promise on memory, on ViT-L/14's shape: weights are there once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.archives import large_vit, write_archive
from benchmarks.loading import FLOAT32_BYTES, OURS, measure
from clip_core.weights.convert import convert

BAR = 1.25  # times the float32 weights


@pytest.mark.slow
def test_peak_while_loading(tmp_path: Path) -> None:
    model = large_vit()
    assert sum(parameter.numel() for parameter in model.parameters()) * 4 == FLOAT32_BYTES
    write_archive(tmp_path / "archive.pt", model)
    del model
    convert(tmp_path / "archive.pt", tmp_path / "model.safetensors")
    for file in ("archive.pt", "model.safetensors"):
        seconds, peak = measure(*OURS, tmp_path / file)
        print(f"\n{file}: {seconds:.2f} s, {peak / FLOAT32_BYTES:.2f} of the weights")
        assert 0.9 < peak / FLOAT32_BYTES < BAR
