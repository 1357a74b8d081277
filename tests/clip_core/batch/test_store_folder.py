"""A folder for each model and framing, by all that its features depend on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch.store_folder import open_store, store_fingerprint, store_folder
from clip_core.config import Config
from clip_core.errors import StoreError
from clip_core.weights.build import read_checkpoint


def test_a_folder_for_each_model_and_framing(tiny: ZeroShotClassifier, tmp_path: Path) -> None:
    other = ZeroShotClassifier("bundled", device="cpu")
    folders = [
        store_folder(tmp_path, tiny, "crop"),
        store_folder(tmp_path, tiny, "pad"),
        store_folder(tmp_path, other, "pad"),
    ]
    assert len(set(folders)) == 3
    assert store_folder(tmp_path, tiny, "crop") == folders[0]
    said = json.loads((folders[0] / "model.json").read_text(encoding="utf-8"))
    assert said["weights"] == store_fingerprint(tiny, "crop")
    assert said["kind"] == "crop"


def test_other_weights_have_another_folder(tiny_model: Path) -> None:
    first, second = (ZeroShotClassifier(tiny_model, device="cpu") for _ in range(2))
    assert store_fingerprint(first, "crop") == store_fingerprint(second, "crop")
    with torch.no_grad():
        next(second.model.visual.parameters()).view(-1)[0] += 1e-6
    assert store_fingerprint(first, "crop") != store_fingerprint(second, "crop")


def test_the_same_tensors_in_another_tower_have_another_folder(tiny_model: Path) -> None:
    published = read_checkpoint(tiny_model)
    configs = [Config(), Config(activation="gelu"), Config(vision_heads=2)]
    digests = {
        store_fingerprint(ZeroShotClassifier(replace(published, config=config), "cpu"), "crop")
        for config in configs
    }
    assert len(digests) == 3


def test_several_open_a_new_one_at_once(tmp_path: Path, tiny: ZeroShotClassifier) -> None:
    def put(number: int) -> None:
        with open_store(tmp_path, tiny, "crop") as store:
            store.put(bytes([number]) * 32, torch.full((store.dimensions,), float(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(32)))
    with open_store(tmp_path, tiny, "crop") as store:
        assert len(store) == 32
        assert not store.was_damaged


def test_where_nothing_can_be_written(tmp_path: Path, tiny: ZeroShotClassifier) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="--features"):
        store_folder(tmp_path / "file", tiny, "crop")
