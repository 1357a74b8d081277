"""The encoder beside the plain forward pass; the published shapes are in test_parity.py."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import clip_core
from clip_core import CLIP, tokenize
from clip_core.inference import encoder as encoder_module
from clip_core.inference import prepack as packed_module
from clip_core.inference.encoder import Encoder
from clip_core.model import ModifiedResNet, VisionTransformer
from clip_core.weights.resolve import place

BAR = 1e-5  # largest difference of normalised features


def vit(activation: str = "quick_gelu") -> CLIP:
    tower = VisionTransformer(64, 16, 128, 3, 2, 64, activation)
    return CLIP(64, tower, 77, 49408, 128, 2, 3, activation)


def resnet() -> CLIP:
    model = CLIP(64, ModifiedResNet((2, 1, 1, 2), 64, 8, 64, 16), 77, 49408, 64, 1, 2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return model


def bundled() -> CLIP:
    return clip_core.load("bundled", device="cpu")[0]


@pytest.fixture(params=[vit, lambda: vit("gelu"), resnet, bundled])
def model(request: pytest.FixtureRequest) -> CLIP:
    torch.manual_seed(0)
    return request.param().eval()


def texts() -> list[str]:
    """Awkward ones, many that begin alike, and some that are the same."""
    words = ["cat", "dog", "a", "lighthouse", "don't", "猫", ""]
    templates = ["{}", "a photo of a {}.", "a photo of the {} in the snow", "{} and {}"]
    said = [t.replace("{}", word) for t in templates for word in words]
    said += ["a photo of a " + "very " * n + "long dog" for n in (1, 7, 40, 68)]
    random.Random(0).shuffle(said)
    return said + said[:3]


def differ(found: Tensor, expected: Tensor) -> float:
    assert torch.isfinite(found).all()
    return (F.normalize(found, dim=-1) - F.normalize(expected, dim=-1)).abs().max().item()


@torch.inference_mode()
def test_pictures_and_texts_as_the_plain_forward(model: CLIP) -> None:
    encoder = Encoder(model)
    tokens = tokenize(texts())
    for count in (1, 2, 9):
        side = model.visual.input_resolution
        pictures = torch.randn(count, 3, side, side)
        assert differ(encoder.encode_image(pictures), model.encode_image(pictures)) < BAR
    assert differ(encoder.encode_text(tokens), model.encode_text(tokens)) < BAR
    assert differ(encoder.encode_text(tokens[:1]), model.encode_text(tokens[:1])) < BAR


@torch.inference_mode()
def test_folded_batch_norms_compute_the_same() -> None:
    torch.manual_seed(0)
    model = resnet().eval().double()
    pictures = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    found = Encoder(model).encode_image(pictures)
    assert differ(found, model.encode_image(pictures)) < 1e-12


@torch.inference_mode()
def test_batches_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    model = vit().eval()
    tokens = tokenize(texts())
    expected = model.encode_text(tokens)
    for rows in (1, 2, 7):
        monkeypatch.setattr(encoder_module, "ROWS", rows)
        assert differ(Encoder(model).encode_text(tokens), expected) < BAR


@torch.inference_mode()
def test_what_stands_beyond_the_end_token_is_never_seen() -> None:
    model = vit().eval()
    tokens = tokenize(texts())
    scribbled = tokens.clone()
    lengths = tokens.argmax(dim=-1) + 1
    for row, length in zip(scribbled, lengths, strict=True):
        row[length:] = torch.randint(1, 400, (77 - int(length),))
    encoder = Encoder(model)
    assert differ(encoder.encode_text(scribbled), encoder.encode_text(tokens)) < BAR


def test_tokens_that_texts_share_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    plain: Callable[..., Tensor] = encoder_module.Block.__call__

    def count(block: encoder_module.Block, x: Tensor, *more: object) -> Tensor:
        rows.append(len(x))
        return plain(block, x, *more)

    encoder = Encoder(vit().eval())
    monkeypatch.setattr(encoder_module.Block, "__call__", count)
    encoder.encode_text(tokenize([f"a photo of a {name}." for name in ("cat", "dog", "cat")]))
    # start, a, photo, of, a: once; the name, the full stop and the end: twice, as one came twice
    assert rows == [5 + 2 * 3] * 3
    rows.clear()
    encoder.encode_text(tokenize(["cat", "a " * 40]))
    assert rows == [3] * 3 + [42] * 3  # a long text isn't run with a short one


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, packed_module.FEW_ROWS, packed_module.FEW_ROWS + 1])
def test_packed_or_not_a_product_is_the_same(rows: int) -> None:
    weight, bias, x = torch.randn(48, 32), torch.randn(48), torch.randn(rows, 32)
    expected = 1.7 * x @ weight.T + 0.5 * bias
    for pack in (True, False):
        linear = packed_module.Linear(weight, bias, pack, alpha=1.7, beta=0.5)
        assert torch.allclose(linear(x), expected, atol=1e-4)
        assert linear.extra_bytes == (4 * 48 * 32 if pack and packed_module.can_pack() else 0)


@torch.inference_mode()
def test_without_the_operators_it_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_module, "can_pack", lambda: False)
    model = vit().eval()
    encoder = Encoder(model)
    assert encoder.extra_bytes == 0
    pictures, tokens = torch.randn(2, 3, 64, 64), tokenize(texts())
    assert differ(encoder.encode_image(pictures), model.encode_image(pictures)) < BAR
    assert differ(encoder.encode_text(tokens), model.encode_text(tokens)) < BAR


@torch.inference_mode()
@pytest.mark.parametrize("make", [vit, resnet])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(make: Callable[[], CLIP], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = make().eval()
    pictures, tokens = torch.randn(2, 3, 64, 64), tokenize(texts())
    expected = model.encode_image(pictures), model.encode_text(tokens)
    encoder = Encoder(place(model, "cpu", dtype))
    found = encoder.encode_image(pictures), encoder.encode_text(tokens)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert differ(one.float(), other) < (0.02 if dtype == torch.float16 else 0.06)


@torch.inference_mode()
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu(model: CLIP) -> None:
    side = model.visual.input_resolution
    pictures, tokens = torch.randn(2, 3, side, side), tokenize(texts())
    expected = model.encode_image(pictures), model.encode_text(tokens)
    encoder = Encoder(model.cuda())
    assert encoder._text.extra_bytes == 0
    assert differ(encoder.encode_image(pictures.cuda()).cpu(), expected[0]) < 1e-3
    assert differ(encoder.encode_text(tokens).cpu(), expected[1]) < 1e-3


def test_the_model_itself_stays_as_it_was(model: CLIP) -> None:
    before = {name: (t.clone(), t.stride()) for name, t in model.state_dict().items()}
    Encoder(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.stride() == before[name][1]


@torch.inference_mode()
def test_threads_share_it() -> None:
    model = vit().eval()
    encoder = Encoder(model)
    rows = tokenize(texts()).split(3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder.encode_text, rows))
    for one, other in zip(found, rows, strict=True):
        assert differ(one, model.encode_text(other)) < BAR
