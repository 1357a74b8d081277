"""Image towers by ONNX Runtime: the tower's own features, from a graph that is made once."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import clip_core
from clip_core import ZeroShotClassifier
from clip_core.inference import onnx as onnx_tower
from clip_core.inference.encoder import Encoder
from clip_core.inference.onnx import PACKAGES, OnnxTower
from clip_core.model import ModifiedResNet, VisionTransformer
from ui.service.model_pool import ModelPool

BAR = 1e-5  # largest difference of normalised features
CAT = Path(__file__).parents[3] / "ui/examples/cat.jpg"

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="needs onnxruntime, onnx and onnxscript",
)


@pytest.fixture
def tower() -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer(64, 16, 64, 2, 1, 32).eval().requires_grad_(False)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was exported, as it is."""
    made: list[Path] = []
    export = onnx_tower._export

    def noted(tower: nn.Module, side: int, kept: Path) -> object:
        made.append(kept)
        return export(tower, side, kept)

    monkeypatch.setattr(onnx_tower, "_export", noted)
    return made


def differ(found: Tensor, expected: Tensor) -> float:
    return (F.normalize(found, dim=-1) - F.normalize(expected, dim=-1)).abs().max().item()


@torch.inference_mode()
def test_features_are_the_towers_own(tower: nn.Module, tmp_path: Path) -> None:
    resnet = ModifiedResNet((1, 1, 1, 1), 64, 8, 64, 16).eval()
    bundled = clip_core.load("bundled", device="cpu")[0].visual
    for each in (tower, resnet, bundled):
        pictures = torch.randn(3, 3, each.input_resolution, each.input_resolution)
        assert differ(OnnxTower(each, tmp_path)(pictures), each(pictures)) < BAR


def test_a_graph_is_made_once_for_each_weights(
    tower: nn.Module, tmp_path: Path, exports: list[Path]
) -> None:
    OnnxTower(tower, tmp_path)
    OnnxTower(tower, tmp_path)
    assert len(exports) == 1
    tower.proj.add_(0.1)
    OnnxTower(tower, tmp_path)
    assert len(set(exports)) == len(exports) == 2
    assert sorted(tmp_path.iterdir()) == sorted(exports)


@pytest.mark.parametrize("damage", ["truncated", "other weights", "no graph"])
def test_a_damaged_graph_is_made_anew(
    damage: str, tower: nn.Module, tmp_path: Path, exports: list[Path]
) -> None:
    OnnxTower(tower, tmp_path)
    for path in exports[0].iterdir():
        data = path.read_bytes()
        if damage == "no graph":
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(data[: len(data) // 2])
        elif path.suffix == ".data":
            path.write_bytes(bytes(len(data)))
    pictures = torch.randn(2, 3, 64, 64)
    assert differ(OnnxTower(tower, tmp_path)(pictures), tower(pictures)) < BAR
    assert len(exports) == 2
    OnnxTower(tower, tmp_path)
    assert len(exports) == 2


def test_without_a_place_to_keep_it(
    tower: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    pictures = torch.randn(2, 3, 64, 64)
    found = OnnxTower(tower, tmp_path / "file" / "onnx")(pictures)
    assert differ(found, tower(pictures)) < BAR
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    assert differ(OnnxTower(tower, tmp_path / "other")(pictures), tower(pictures)) < BAR
    assert not any((tmp_path / "other").iterdir())


def test_what_does_not_agree_never_answers(
    tower: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = onnx_tower._run
    monkeypatch.setattr(onnx_tower, "_run", lambda session, x: run(session, x).flip(-1))
    with pytest.raises(RuntimeError, match="differ from the model's own: leave out --onnx"):
        OnnxTower(tower, tmp_path)


def test_answers_are_those_without_it(tiny_model: Path) -> None:
    labels = ["cat", "dog"]
    with_it = ZeroShotClassifier(tiny_model, "cpu", onnx=True)
    assert isinstance(with_it._encoder._image, OnnxTower)
    found = with_it.classify(CAT, labels, framing="crops").probabilities
    expected = ZeroShotClassifier(tiny_model, "cpu").classify(CAT, labels, framing="crops")
    assert found == pytest.approx(expected.probabilities, abs=1e-5)
    assert with_it.extra_bytes > 0


@torch.inference_mode()
def test_pictures_are_compared_as_without_it(tmp_path: Path) -> None:
    model = clip_core.load("bundled", device="cpu")[0]
    side = model.visual.input_resolution
    pictures = torch.randn(1, 3, side, side)
    found = Encoder(model, onnx_folder=tmp_path).encode_appearance(pictures)
    assert differ(found, Encoder(model).encode_appearance(pictures)) < BAR


@pytest.mark.parametrize(("device", "dtype"), [("meta", "float32"), ("cpu", "bfloat16")])
def test_only_on_the_cpu_in_float32(device: str, dtype: str, tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=f"not on {device} in {dtype}"):
        ZeroShotClassifier(tiny_model, device, dtype, onnx=True)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(ValueError, match=r"not here: pip install onnxscript$"):
        ModelPool([], "cpu", onnx=True)
