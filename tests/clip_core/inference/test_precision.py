"""Half precision beside float32: on the GPU where there is one, and on the CPU as well."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_core import CLIP, load, tokenize
from clip_core.model import ModifiedResNet, VisionTransformer
from clip_core.weights.resolve import BUNDLED, place

# Largest difference of normalised features from float32's. float16 keeps 11 bits of a number,
# bfloat16 8: eight times as coarse. The bundled tower's softmax over a thousand classes magnifies
# what its convolutions round away.
TOLERANCE = {
    ("ViT", torch.float16): 2e-3,
    ("ResNet", torch.float16): 2e-3,
    ("bundled", torch.float16): 5e-3,
    ("ViT", torch.bfloat16): 16e-3,
    ("ResNet", torch.bfloat16): 16e-3,
    ("bundled", torch.bfloat16): 0.1,
}
QUICK = ("bundled", torch.float16)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
TEXTS = ["a dog", "a diagram of a heart, drawn by hand", "7 cats & 1 mouse"]
TOWERS: dict[str, Callable[[], nn.Module]] = {
    "ViT": lambda: VisionTransformer(224, 32, 768, 12, 12, 512),  # ViT-B/32's
    "ResNet": lambda: ModifiedResNet((3, 4, 6, 3), 512, 32, 224, 64),  # RN50's, 512 wide
}


def make(tower: str) -> CLIP:
    if tower == "bundled":
        return load(BUNDLED, "cpu")[0]
    torch.manual_seed(0)
    return CLIP(512, TOWERS[tower](), 77, 49408, 512, 8, 12).eval()


def features(model: CLIP, device: str) -> tuple[Tensor, Tensor]:
    coarse = 2 * torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    side = model.visual.input_resolution
    image = F.interpolate(coarse, size=(side, side), mode="bicubic").to(device)
    with torch.inference_mode():
        found = model.encode_image(image), model.encode_text(tokenize(TEXTS).to(device))
    return tuple(F.normalize(f.float().cpu(), dim=-1) for f in found)


@pytest.mark.parametrize(
    ("tower", "dtype"),
    [pytest.param(*case, marks=[] if case == QUICK else pytest.mark.slow) for case in TOLERANCE],
)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_half_precision_agrees_with_float32(device: str, tower: str, dtype: torch.dtype) -> None:
    expected = features(make(tower), "cpu")
    found = features(place(make(tower), device, dtype), device)
    for half, full in zip(found, expected, strict=True):
        difference = (half - full).abs().max().item()
        print(f"\n{device} {tower} {dtype}: {difference:.1e}")
        assert 0 < difference <= TOLERANCE[tower, dtype]
