"""Loading by name, and the reference's own script with its import changed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clip_core
from clip_core.published import PUBLISHED

WEIGHTS = Path(os.environ.get("CLIP_WEIGHTS", "./model/ViT-B-32.pt"))
PICTURE = Path(os.environ.get("CLIP_PNG", "./CLIP.png"))


def readme_script(weights: Path, picture: Path) -> np.ndarray:
    """The script of openai/CLIP's readme; only the import and the two paths are others."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, preprocess = clip_core.load(weights, device=device)

    image = preprocess(Image.open(picture)).unsqueeze(0).to(device)
    text = clip_core.tokenize(["a diagram", "a dog", "a cat"]).to(device)

    with torch.no_grad():
        image_features = model.encode_image(image)
        text_features = model.encode_text(text)

        logits_per_image, _ = model(image, text)
        probs = logits_per_image.softmax(dim=-1).cpu().numpy()

    assert image_features.shape[0] == 1
    assert text_features.shape == (3, image_features.shape[1])
    return probs


@pytest.mark.skipif(
    not (WEIGHTS.is_file() and PICTURE.is_file()),
    reason="needs ViT-B-32.pt and CLIP.png; CLIP_WEIGHTS and CLIP_PNG say where they are",
)
def test_the_readme_script_prints_the_readmes_answer() -> None:
    probs = readme_script(WEIGHTS, PICTURE)
    expected = [[0.9927937, 0.00421068, 0.00299572]]  # "prints: ..." in openai/CLIP's readme
    # It was printed from float16 on CUDA; float32 agrees to this much.
    np.testing.assert_allclose(probs, expected, atol=1e-3)


def test_the_readme_script_runs_on_small_weights(tiny_model: Path, tmp_path: Path) -> None:
    Image.effect_mandelbrot((90, 70), (-2, -1, 1, 1), 50).save(tmp_path / "picture.png")
    probs = readme_script(tiny_model, tmp_path / "picture.png")
    assert probs.shape == (1, 3)
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    assert len(set(probs[0])) == 3


def test_ten_models_are_known() -> None:
    names = clip_core.available_models()
    assert len(names) == len(set(names)) == 10
    assert {"RN50", "RN101", "RN50x4", "RN50x16", "RN50x64"} < set(names)
    assert {"ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px", "bundled"} < set(names)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_name_says_which_file_is_wanted(name: str) -> None:
    with pytest.raises(clip_core.CheckpointError) as caught:
        clip_core.load(name)
    message = str(caught.value)
    assert repr(name) in message
    assert re.search(r"\b[0-9a-f]{64}\b", message)
    assert PUBLISHED[name].file in message
    assert PUBLISHED[name].sha256 in message


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RuntimeError, match=r"Model ViT-Z/1 not found") as caught:
        clip_core.load("ViT-Z/1")
    assert all(name in str(caught.value) for name in clip_core.available_models())


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "/no/such/folder/model.pt"])
def test_an_odd_name_is_refused_like_any_other(name: str) -> None:
    with pytest.raises(clip_core.CheckpointError, match="not found"):
        clip_core.load(name)


def test_jit_is_taken_and_warned_about(tiny_model: Path) -> None:
    with pytest.warns(UserWarning, match="jit=True is ignored") as caught:
        model, _ = clip_core.load(tiny_model, "cpu", jit=True)
    assert isinstance(model, clip_core.CLIP)
    assert caught[0].filename == __file__


def test_the_cpu_runs_in_float32_for_evaluation(tiny_model: Path) -> None:
    model, _ = clip_core.load(str(tiny_model), "cpu")
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_is_the_default_and_runs_in_float16(tiny_model: Path) -> None:
    model, _ = clip_core.load(tiny_model)
    assert model.dtype == torch.float16
    assert model.visual.conv1.weight.is_cuda
    assert model.ln_final.weight.dtype == torch.float32
