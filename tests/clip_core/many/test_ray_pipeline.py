"""Ray Data on this one machine, with two workers: the same results as without it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[3]


def sort(pictures: list[Path], out: Path, model: Path, *more: str) -> str:
    command = [
        *(sys.executable, "-m", "clip_core", "sort", *map(str, pictures), "--out", str(out)),
        *("--labels", "cat", "lion", "tower", "--model", str(model), "--device", "cpu", *more),
    ]
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr  # one of the pictures is broken
    return done.stderr


def test_the_same_results_over_two_workers(
    photographs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((photographs / "tower").iterdir()):
            zipped.write(path, path.name)
        zipped.writestr("broken.jpg", b"no picture")
    pictures = [photographs / "cheetah", archive]
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    sort(pictures, one, tiny_model, "--features", str(tmp_path / "one"))
    said = sort(pictures, two, tiny_model, "--features", str(tmp_path / "two"), "--ray", "2")
    pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(two), atol=1e-6)
    errors = [pd.read_parquet(tmp_path / f"{name}-errors.parquet") for name in ("one", "two")]
    pd.testing.assert_frame_equal(*errors)
    assert " 0 encoded" not in said
    again = sort(pictures, two, tiny_model, "--features", str(tmp_path / "two"), "--ray", "2")
    assert " 0 encoded" in again
