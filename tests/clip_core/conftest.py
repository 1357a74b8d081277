from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio
import pytest
from PIL import Image

from clip_core import ZeroShotClassifier
from clip_core.batch.store_folder import store_folder
from clip_core.inference.feature_store import FeatureStore

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = Path(gradio.__file__).parent / "media_assets/images"
TILE = 96  # pixels a side


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of real photographs and drawings, each another picture, in a folder for each."""
    top = tmp_path_factory.mktemp("photographs")
    files = [*sorted(PHOTOGRAPHS.glob("*.jp*g")), *sorted((ROOT / "ui/examples").glob("*.[jp]*g"))]
    for file in files:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((5 * TILE, 5 * TILE))
        (top / file.stem).mkdir()
        for x in range(0, picture.width - TILE + 1, TILE):
            for y in range(0, picture.height - TILE + 1, TILE):
                part = picture.crop((x, y, x + TILE, y + TILE))
                part.save(top / file.stem / f"{x:03d}-{y:03d}.jpg", quality=90)
    return top


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> ZeroShotClassifier:
    return ZeroShotClassifier(tiny_model, device="cpu")


@pytest.fixture
def store(tiny: ZeroShotClassifier, tmp_path: Path) -> Iterator[FeatureStore]:
    folder = store_folder(tmp_path / "features", tiny, "crop")
    with FeatureStore(folder, tiny.model.visual.output_dim) as opened:
        yield opened


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
