"""Heat maps: true where the bundled model knows the picture; plumbing where weights are random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clip_core import CLIP, ZeroShotClassifier
from clip_core.explain.heatmap import draw_heat_map, encode_places, heat_maps
from clip_core.model import ModifiedResNet, VisionTransformer

EXAMPLES = Path(__file__).parents[3] / "ui/examples"
TEMPLATE = "a photo of a {}."


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


def random_classifier(kind: str) -> ZeroShotClassifier:
    torch.manual_seed(0)
    tower: nn.Module
    if kind == "vit":
        tower = VisionTransformer(64, 16, 64, 2, 1, 64)
    else:
        tower = ModifiedResNet((1, 1, 1, 1), 64, 2, 64, 8)
    return ZeroShotClassifier(CLIP(64, tower, 77, 49408, 64, 1, 2).eval(), device="cpu")


def beside(*names: str) -> Image.Image:
    """Pictures in one row, each a square."""
    parts = [Image.open(EXAMPLES / name).convert("RGB").resize((260, 260)) for name in names]
    row = Image.new("RGB", (260 * len(parts), 260))
    for i, part in enumerate(parts):
        row.paste(part, (260 * i, 0))
    return row


def ask(classifier: ZeroShotClassifier, picture: Image.Image, *labels: str) -> np.ndarray:
    prompts = [[TEMPLATE.replace("{}", label)] for label in labels]
    return heat_maps(classifier, picture, labels, prompts, "squash")


@pytest.mark.parametrize("names", [("cat.jpg", "coffee.jpg"), ("horse.png", "cat.jpg")])
def test_each_label_is_seen_on_its_own_side(
    bundled: ZeroShotClassifier, names: tuple[str, str]
) -> None:
    words = {"cat.jpg": "cat", "coffee.jpg": "cup of coffee", "horse.png": "horse"}
    maps = ask(bundled, beside(*names), *(words[name] for name in names))
    middle = maps.shape[2] // 2
    left, right = maps[:, :, :middle].mean((1, 2)), maps[:, :, -middle:].mean((1, 2))
    assert left[0] > right[0] + 0.1
    assert right[1] > left[1] + 0.1


def test_one_label_alone_is_seen_where_it_is(bundled: ZeroShotClassifier) -> None:
    (heat,) = ask(bundled, beside("coffee.jpg", "cat.jpg"), "cat")
    middle = heat.shape[1] // 2
    assert heat[:, -middle:].mean() > heat[:, :middle].mean() + 0.1


@pytest.mark.parametrize(("kind", "grid"), [("vit", 4), ("resnet", 2)])
def test_maps_of_published_towers(kind: str, grid: int) -> None:
    classifier = random_classifier(kind)
    maps = ask(classifier, beside("cat.jpg"), "cat", "dog", "fox")
    assert maps.shape == (3, grid, grid)
    assert maps.dtype == np.float32
    assert (maps.min(), maps.max()) == (0, 1)
    assert np.abs(maps[0] - maps[1]).max() > 0.01
    (alone,) = ask(classifier, beside("cat.jpg"), "dog")
    (other,) = ask(classifier, beside("cat.jpg"), "fox")
    assert np.abs(alone - other).max() > 0.01
    with pytest.raises(ValueError, match="At least one label"):
        ask(classifier, beside("cat.jpg"))


def test_places_of_a_vit_are_the_last_blocks_values() -> None:
    """Against the block itself, told to look at nothing but the place that asks."""
    classifier = random_classifier("vit")
    tower = classifier.model.visual
    pixels = classifier.pixels(EXAMPLES / "cat.jpg")
    with torch.inference_mode():
        x = tower.embed_patches(pixels).permute(1, 0, 2)
        first, last = tower.transformer.resblocks
        h = last.ln_1(first(x))
        only_itself = torch.full((len(h), len(h)), -torch.inf).fill_diagonal_(0)
        attended, _ = last.attn(h, h, h, attn_mask=only_itself, need_weights=False)
        expected = (tower.ln_post(attended[1:]) @ tower.proj).permute(1, 0, 2)
        places = encode_places(tower, pixels)
    torch.testing.assert_close(places.flatten(1, 2), expected)


def test_places_of_a_resnet_are_what_its_pool_weighs() -> None:
    """The pool is a weighted mean of places, so where all are alike, each is what it gives."""
    tower = random_classifier("resnet").model.visual
    with torch.inference_mode():
        tower.attnpool.positional_embedding.zero_()
        tower.features = lambda _: torch.ones(1, 256, 2, 2)
        places = encode_places(tower, torch.zeros(1, 3, 64, 64))
        pooled = tower.attnpool(torch.ones(1, 256, 2, 2))
    torch.testing.assert_close(places, pooled.expand(1, 2, 2, -1))


def test_a_tower_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="no heat maps for a tower of the kind Identity"):
        encode_places(nn.Identity(), torch.zeros(1, 3, 4, 4))


def test_drawn_from_dark_to_bright() -> None:
    square = Image.new("RGB", (90, 90), "white")
    heat = np.tile(np.linspace(0, 1, 9, dtype=np.float32), (9, 1))
    drawn = draw_heat_map(square, heat, opacity=1)
    greys = np.asarray(drawn.convert("L"), float)[45]
    assert drawn.size == square.size
    assert (np.diff(greys) >= 0).all()
    assert greys[-1] - greys[0] > 150
    assert drawn.getpixel((0, 45)) == (0x44, 0x01, 0x54)
    assert draw_heat_map(square, heat, opacity=0) == square
