from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import gradio
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.sparse.csgraph import connected_components

from clip_core import ZeroShotClassifier, open_image
from clip_core.batch.duplicates import default_threshold, find_near_copies, find_outliers
from clip_core.batch.pipeline import encode_crops

ROOT = Path(__file__).parents[3]
PHOTOGRAPHS = Path(gradio.__file__).parent / "media_assets/images"


def rows(*angles: float) -> torch.Tensor:
    """Unit rows in a plane, whose cosines are those of the differences of the angles."""
    turned = torch.tensor(angles)
    return torch.stack([turned.cos(), turned.sin()], dim=1)


def test_groups_are_chains_of_near_pairs() -> None:
    features = rows(0.0, 2.0, 0.2, 2.1, 0.4, 1.0)
    groups = find_near_copies(features, threshold=0.97)  # 0.2 apart is .980, 0.4 is .921
    assert [group.rows for group in groups] == [(0, 2, 4), (1, 3)]
    assert groups[0].similarities == pytest.approx((1, 0.98007, 0.92106), abs=1e-4)
    assert find_near_copies(features, threshold=0.9999) == []


def test_the_same_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.nn.functional.normalize(
        torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    whole = find_near_copies(features, 0.9), find_outliers(features)
    monkeypatch.setattr("clip_core.batch.duplicates.BLOCK", 7)
    parts = find_near_copies(features, 0.9), find_outliers(features)
    assert parts == whole
    assert whole[0]


def test_exact_copies_are_near_at_the_highest_threshold() -> None:
    features = torch.nn.functional.normalize(torch.randn(1, 512), dim=-1).repeat(3, 1)
    assert [group.rows for group in find_near_copies(features, 1.0)] == [(0, 1, 2)]


def test_many_copies_of_one_file_take_little_memory() -> None:
    """All pairs of them would be 50 million."""
    features = torch.nn.functional.normalize(torch.randn(2, 8), dim=-1).repeat(5000, 1)
    tracemalloc.start()
    groups = find_near_copies(features, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(group.rows) for group in groups] == [5000, 5000]
    assert peak < 50e6


def test_groups_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_core.batch.duplicates.BLOCK", 5)
    angles = torch.rand(60, generator=torch.Generator().manual_seed(1)) * 6
    features = rows(*angles.tolist(), *angles[:10].tolist())
    near = (features @ features.T >= 0.999 - 1e-6).numpy()
    _, names = connected_components(near, directed=False)
    expected = {tuple(np.flatnonzero(names == name)) for name in names}
    groups = find_near_copies(features, 0.999)
    assert {group.rows for group in groups} == {rows for rows in expected if len(rows) > 1}


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_thresholds_that_mean_nothing(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        find_near_copies(rows(0, 1), threshold)


def test_the_odd_one_out() -> None:
    angles = (torch.rand(40, generator=torch.Generator().manual_seed(0)) / 5).tolist()
    odd = find_outliers(rows(*angles, 1.5))
    assert [each.row for each in odd] == [40]
    assert odd[0].z_score < -3.5
    copied = find_outliers(rows(1.5, *angles, *[1.5] * 12))  # which makes it no usual one
    assert [each.row for each in copied] == [0]
    assert find_outliers(rows(*angles[:10], 1.5)) == []  # too few to tell what is usual


@pytest.mark.slow
def test_with_the_bundled_model_copies_are_found_and_others_are_not() -> None:
    """Resized, recompressed, cropped and mirrored copies of photographs, at the shipped threshold.

    docs/many.md has the same on 200 pictures.
    """
    bundled = ZeroShotClassifier("bundled", device="cpu")
    files = [*PHOTOGRAPHS.glob("*.jp*g"), *(ROOT / "ui/examples").glob("*.[jp]*g")]
    made = []
    for file in sorted(files):
        picture = open_image(file)
        half = picture.resize((picture.width // 2, picture.height // 2))
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=50)
        left, top = picture.width // 20, picture.height // 20
        cropped = picture.crop((left, top, picture.width - left, picture.height - top))
        made += [picture, half, Image.open(packed), cropped, ImageOps.mirror(picture)]
    squares = [np.stack([np.asarray(s) for s in bundled.squares(each)]) for each in made]
    features = encode_crops(bundled, squares, appearance=True)
    assert features.shape == (len(made), bundled.appearance_dim)
    groups = find_near_copies(features, default_threshold(bundled))
    for group in groups:
        # two of the photographs show the same cheetah, one of them a part of the other
        names = {sorted(files)[row // 5].stem.rstrip("1") for row in group.rows}
        assert len(names) == 1
    assert sum(len(group.rows) for group in groups) >= 0.9 * len(made)
