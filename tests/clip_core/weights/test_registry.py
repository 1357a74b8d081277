"""The nine by name: what the table says of them, and where their files are looked for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from clip_core import CLIP, DownloadError, load, tokenize
from clip_core.model import ModifiedResNet, VisionTransformer, convert_weights
from clip_core.weights import resolve as loading
from clip_core.weights.download import sha256_of
from clip_core.weights.registry import ADDRESS, PUBLISHED
from clip_core.weights.resolve import find_on_disk, find_weights, weights_folder
from tests.archives import write_archive

NAME = "ViT-B/32"
# Tables 19 and 20 of the paper: embed_dim, image tower, text width.
SHAPES: dict[str, tuple[int, Callable[[], torch.nn.Module], int]] = {
    "RN50": (1024, lambda: ModifiedResNet((3, 4, 6, 3), 1024, 32, 224, 64), 512),
    "RN101": (512, lambda: ModifiedResNet((3, 4, 23, 3), 512, 32, 224, 64), 512),
    "RN50x4": (640, lambda: ModifiedResNet((4, 6, 10, 6), 640, 40, 288, 80), 640),
    "RN50x16": (768, lambda: ModifiedResNet((6, 8, 18, 8), 768, 48, 384, 96), 768),
    "RN50x64": (1024, lambda: ModifiedResNet((3, 15, 36, 10), 1024, 64, 448, 128), 1024),
    "ViT-B/32": (512, lambda: VisionTransformer(224, 32, 768, 12, 12, 512), 512),
    "ViT-B/16": (512, lambda: VisionTransformer(224, 16, 768, 12, 12, 512), 512),
    "ViT-L/14": (768, lambda: VisionTransformer(224, 14, 1024, 24, 16, 768), 768),
    "ViT-L/14@336px": (768, lambda: VisionTransformer(336, 14, 1024, 24, 16, 768), 768),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_follow_from_the_shapes(name: str) -> None:
    embed_dim, tower, width = SHAPES[name]
    with torch.device("meta"):
        model = CLIP(embed_dim, tower(), 77, 49408, width, width // 64, 12)
    known = PUBLISHED[name]
    assert known.input_resolution == model.visual.input_resolution
    assert known.parameters == sum(parameter.numel() for parameter in model.parameters())
    convert_weights(model)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    assert known.megabytes == round(size / 1e6)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIP_MIRROR", raising=False)
    known = PUBLISHED[NAME]
    path = f"{known.sha256}/ViT-B-32.pt"
    assert known.address() == f"{ADDRESS}/{path}"
    monkeypatch.setenv("CLIP_MIRROR", "http://mirror/clip/")
    assert known.address() == f"http://mirror/clip/{path}"
    assert known.address("http://other") == f"http://other/{path}"
    assert len({known.sha256 for known in PUBLISHED.values()}) == 9
    assert all(len(known.sha256) == 64 for known in PUBLISHED.values())


def test_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIP_CACHE", raising=False)
    assert weights_folder() == Path.home() / ".cache" / "clip"
    monkeypatch.setenv("CLIP_CACHE", "/weights")
    assert weights_folder() == Path("/weights")
    assert weights_folder("/given") == Path("/given")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ViT-B/32's file, as if it had been published small; there is no network."""
    path = tmp_path / PUBLISHED[NAME].file
    torch.manual_seed(0)
    write_archive(path, CLIP(32, VisionTransformer(32, 16, 64, 2, 1, 32), 77, 49408, 64, 1, 2))
    known = dataclasses.replace(PUBLISHED[NAME], sha256=sha256_of(path))
    monkeypatch.setitem(PUBLISHED, NAME, known)

    def no_network(*_: object, **__: object) -> Path:
        raise DownloadError("There is no network.")

    monkeypatch.setattr(loading, "download", no_network)
    monkeypatch.setattr(loading, "fetch_file", no_network)
    monkeypatch.setattr(loading, "cached_file", lambda *_: None)
    monkeypatch.delenv("CLIP_CACHE", raising=False)
    return path


def test_a_file_that_is_there_is_used(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = load(NAME, "cpu", download_root=str(archive.parent))
    assert model.visual.input_resolution == 32
    assert find_weights(NAME, archive.parent) == (archive, None)
    monkeypatch.setenv("CLIP_CACHE", str(archive.parent))
    assert find_on_disk(NAME) == (archive, None)
    assert load(NAME, "cpu")[0].vocab_size == 49408


def test_half_a_file_that_is_there_is_not_used(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])
    assert find_on_disk(NAME, archive.parent) is None
    with pytest.raises(DownloadError, match="There is no network"):
        load(NAME, "cpu", download_root=str(archive.parent))


@pytest.mark.skipif(
    not {"CLIP_WEIGHTS", "CLIP_PNG"} <= os.environ.keys(),
    reason="needs ViT-B-32.pt as CLIP_WEIGHTS and openai/CLIP's CLIP.png as CLIP_PNG",
)
def test_the_answer_that_the_reference_prints() -> None:
    model, preprocess = load(os.environ["CLIP_WEIGHTS"], "cpu")
    image = preprocess(Image.open(os.environ["CLIP_PNG"])).unsqueeze(0)
    with torch.no_grad():
        logits, _ = model(image, tokenize(["a diagram", "a dog", "a cat"]))
    # openai/CLIP, README.md; computed there in float16
    expected = [0.9927937, 0.00421068, 0.00299572]
    assert logits.softmax(dim=-1)[0].tolist() == pytest.approx(expected, abs=1e-3)
