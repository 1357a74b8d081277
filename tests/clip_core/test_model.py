"""The published tree of names, and the parts that the paper defines."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clip_core.model import (
    CLIP,
    LayerNorm,
    ModifiedResNet,
    QuickGELU,
    VisionTransformer,
    contrastive_loss,
    convert_weights,
)
from clip_core.tokenizer import tokenize

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def published_model(shape: str) -> CLIP:
    """A published shape without storage: names, shapes and classes only."""
    with torch.device("meta"):
        if shape == "ViT-B/32":
            tower: nn.Module = VisionTransformer(224, 32, 768, 12, 12, 512)
            return CLIP(512, tower, 77, 49408, 512, 8, 12)
        tower = ModifiedResNet((3, 4, 6, 3), 1024, 32, 224, 64)
        return CLIP(1024, tower, 77, 49408, 512, 8, 12)


def transformer_keys(prefix: str, layers: int) -> set[str]:
    names = ["attn.in_proj_weight", "attn.in_proj_bias"]
    for layer in ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj"):
        names += [f"{layer}.weight", f"{layer}.bias"]
    return {f"{prefix}transformer.resblocks.{i}.{name}" for i in range(layers) for name in names}


TEXT_KEYS = transformer_keys("", 12) | {
    *("positional_embedding", "text_projection", "logit_scale"),
    *("token_embedding.weight", "ln_final.weight", "ln_final.bias"),
}


def test_vit_b_32_has_the_published_state_dict() -> None:
    model = published_model("ViT-B/32")
    image_keys = transformer_keys("visual.", 12) | {
        *("visual.class_embedding", "visual.positional_embedding", "visual.proj"),
        *("visual.conv1.weight", "visual.ln_pre.weight", "visual.ln_pre.bias"),
        *("visual.ln_post.weight", "visual.ln_post.bias"),
    }
    weights = model.state_dict()
    assert set(weights) == TEXT_KEYS | image_keys
    assert len(weights) == 302
    assert weights["token_embedding.weight"].shape == (49408, 512)
    assert weights["positional_embedding"].shape == (77, 512)
    assert weights["visual.positional_embedding"].shape == (50, 768)
    assert weights["visual.proj"].shape == (768, 512)
    # The figure that openai/CLIP's notebook prints.
    assert sum(parameter.numel() for parameter in model.parameters()) == 151_277_313


def test_rn50_has_the_published_state_dict() -> None:
    model = published_model("RN50")

    def norm(name: str) -> set[str]:
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{name}.{kind}" for kind in kinds}

    keys = {"visual.attnpool.positional_embedding"}
    for proj in "kqvc":
        keys |= {f"visual.attnpool.{proj}_proj.weight", f"visual.attnpool.{proj}_proj.bias"}
    blocks = [f"visual.layer{s}.{i}" for s, n in enumerate((3, 4, 6, 3), 1) for i in range(n)]
    for block in ["visual", *blocks]:
        for i in (1, 2, 3):
            keys |= {f"{block}.conv{i}.weight"} | norm(f"{block}.bn{i}")
        if block.endswith(".0"):
            keys |= {f"{block}.downsample.0.weight"} | norm(f"{block}.downsample.1")
    weights = model.state_dict()
    assert set(weights) == TEXT_KEYS | keys
    assert len(weights) == 489
    assert weights["visual.attnpool.positional_embedding"].shape == (50, 2048)
    assert weights["visual.attnpool.c_proj.weight"].shape == (1024, 2048)
    assert sum(parameter.numel() for parameter in model.parameters()) == 102_007_137


def test_the_printed_tree_has_the_published_names_and_classes() -> None:
    model = published_model("ViT-B/32")
    names = [name for name, _ in model.named_children()]
    assert names == ["visual", "transformer", "token_embedding", "ln_final"]
    names = [name for name, _ in model.visual.named_children()]
    assert names == ["conv1", "ln_pre", "transformer", "ln_post"]
    for tower in (model, model.visual):
        assert len(tower.transformer.resblocks) == 12
        block = dict(tower.transformer.resblocks[11].named_modules())
        block.pop("")
        assert {name: type(module).__name__ for name, module in block.items()} == {
            "attn": "MultiheadAttention",
            "attn.out_proj": "NonDynamicallyQuantizableLinear",
            "ln_1": "LayerNorm",
            "mlp": "Sequential",
            "mlp.c_fc": "Linear",
            "mlp.gelu": "QuickGELU",
            "mlp.c_proj": "Linear",
            "ln_2": "LayerNorm",
        }
        assert isinstance(tower.transformer.resblocks[11].attn, nn.MultiheadAttention)
    printed = str(model)
    assert "(token_embedding): Embedding(49408, 512)" in printed
    assert "(conv1): Conv2d(3, 768, kernel_size=(32, 32), stride=(32, 32), bias=False)" in printed
    assert "(c_fc): Linear(in_features=768, out_features=3072, bias=True)" in printed


def test_rn50_prints_the_published_stem_and_downsampling() -> None:
    tower = published_model("RN50").visual
    stem = [f"{part}{i}" for i in (1, 2, 3) for part in ("conv", "bn", "relu")] + ["avgpool"]
    stages = [f"layer{stage}" for stage in (1, 2, 3, 4)]
    assert [name for name, _ in tower.named_children()] == [*stem, *stages, "attnpool"]
    assert list(dict(tower.layer2[0].downsample.named_children())) == ["-1", "0", "1"]
    assert tower.layer2[1].downsample is None
    assert isinstance(tower.layer2[0].avgpool, nn.AvgPool2d)
    assert isinstance(tower.layer1[0].avgpool, nn.Identity)


def test_quick_gelu_is_the_published_approximation() -> None:
    x = torch.linspace(-8, 8, 101, dtype=torch.float64)
    assert torch.allclose(QuickGELU()(x), x / (1 + torch.exp(-1.702 * x)), atol=1e-12)


def test_layer_norm_computes_in_float32_under_float16() -> None:
    # Squares of these pass float16's largest number, 65504.
    x = (torch.randn(4, 64, generator=torch.Generator().manual_seed(0)) * 500 + 2000).half()
    assert not torch.isfinite((x * x).mean(dim=-1)).any()
    layer = LayerNorm(64)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    y = layer(x)
    assert y.dtype == torch.float16
    expected = F.layer_norm(x.double(), (64,), layer.weight.double(), layer.bias.double())
    assert torch.allclose(y.double(), expected, rtol=2**-10, atol=2**-14)


@torch.inference_mode()
def test_text_features_do_not_depend_on_what_follows_the_end_token() -> None:
    model = small_model()
    text = tokenize(["a dog", "two dogs and a cat"])
    features = model.encode_text(text)
    ends = text.argmax(dim=-1)
    scribbled = text.clone()
    for row, end in zip(scribbled, ends, strict=True):
        row[end + 1 :] = torch.randint(1, 49000, (76 - int(end),))
    assert torch.allclose(model.encode_text(scribbled), features, atol=1e-6)
    cut = text[:, : int(ends.max()) + 1]
    assert cut.shape[1] < 10
    assert torch.allclose(model.encode_text(cut), features, atol=1e-6)
    scribbled[:, 1] = 7
    assert not torch.allclose(model.encode_text(scribbled), features, atol=1e-3)


def small_model() -> CLIP:
    torch.manual_seed(0)
    model = CLIP(64, VisionTransformer(64, 16, 64, 2, 1, 64), 77, 49408, 64, 1, 2)
    return model.eval()


def small_resnet() -> CLIP:
    torch.manual_seed(0)
    tower = ModifiedResNet((1, 1, 1, 1), 64, heads=4, input_resolution=64, width=8)
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
    return CLIP(64, tower, 77, 49408, 64, 1, 2).eval()


@torch.inference_mode()
def test_forward_returns_scaled_cosines_and_their_transpose() -> None:
    model = small_model()
    image, text = torch.randn(3, 3, 64, 64), tokenize(["a", "dog"])
    per_image, per_text = model(image, text)
    assert per_image.shape == (3, 2)
    assert torch.equal(per_text, per_image.T)
    for i, image_features in enumerate(model.encode_image(image)):
        for j, text_features in enumerate(model.encode_text(text)):
            cosine = F.cosine_similarity(image_features, text_features, dim=0)
            assert per_image[i, j].item() == pytest.approx(cosine.item() / 0.07, abs=1e-4)


@pytest.mark.parametrize("make", [small_model, small_resnet])
def test_convert_weights_leaves_the_published_mix(make: Callable[[], CLIP]) -> None:
    model = make()
    convert_weights(model)
    stay = ("embedding", "ln_", "bn", "logit_scale", "downsample.1", "num_batches_tracked")
    for name, tensor in model.state_dict().items():
        if "num_batches_tracked" in name:
            assert tensor.dtype == torch.int64
        elif any(part in name for part in stay):
            assert tensor.dtype == torch.float32, name
        else:
            assert tensor.dtype == torch.float16, name
    assert model.dtype == torch.float16


@pytest.mark.parametrize("make", [small_model, small_resnet])
@torch.inference_mode()
def test_float16_features_stay_near_float32(make: Callable[[], CLIP]) -> None:
    model = make()
    image, text = torch.randn(2, 3, 64, 64), tokenize(["a dog", "two cats"])
    expected = model.encode_image(image), model.encode_text(text)
    convert_weights(model)
    for ours, theirs in zip(
        (model.encode_image(image), model.encode_text(text)), expected, strict=True
    ):
        assert ours.dtype == torch.float16
        assert F.cosine_similarity(ours.float(), theirs).min() > 0.999


@cuda
@pytest.mark.parametrize("make", [small_model, small_resnet])
@torch.inference_mode()
def test_cuda_answers_as_the_cpu(make: Callable[[], CLIP]) -> None:
    model = make()
    image, text = torch.randn(2, 3, 64, 64), tokenize(["a dog", "two cats"])
    expected = model.encode_image(image), model.encode_text(text)
    model.cuda()
    convert_weights(model)
    found = model.encode_image(image.cuda()), model.encode_text(text.cuda())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float16
        assert F.cosine_similarity(ours.float().cpu(), theirs).min() > 0.999


def test_contrastive_loss_of_a_case_worked_by_hand() -> None:
    # Two pairs at right angles, scale 2: each cross-entropy is -log(e^2 / (e^2 + 1)).
    features = torch.eye(2)
    loss = contrastive_loss(features, features * 7, torch.tensor(math.log(2.0)))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_contrastive_loss_is_the_mean_of_both_directions() -> None:
    torch.manual_seed(0)
    image, text, scale = torch.randn(5, 8).double(), torch.randn(5, 8).double(), 9.0
    total = 0.0
    for i in range(5):
        row = [math.exp(scale * F.cosine_similarity(image[i], text[j], 0).item()) for j in range(5)]
        column = [
            math.exp(scale * F.cosine_similarity(image[j], text[i], 0).item()) for j in range(5)
        ]
        total -= math.log(row[i] / sum(row)) / 5 + math.log(column[i] / sum(column)) / 5
    loss = contrastive_loss(image, text, torch.tensor(math.log(scale), dtype=torch.float64))
    assert loss.item() == pytest.approx(total / 2, abs=1e-9)


def test_contrastive_loss_clamps_the_scale_at_100() -> None:
    features, swapped = torch.eye(2), torch.eye(2).flip(0)
    assert contrastive_loss(features, swapped, torch.tensor(math.log(50.0))).item() == (
        pytest.approx(50, rel=1e-5)
    )
    for scale in (101.0, 1e6):
        loss = contrastive_loss(features, swapped, torch.tensor(math.log(scale)))
        assert loss.item() == pytest.approx(100, rel=1e-5)


def test_contrastive_loss_teaches_both_towers_and_the_scale() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(4, 6), torch.randn(4, 6), torch.tensor(math.log(1 / 0.07))]
    inputs = [x.double().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(contrastive_loss, inputs)
    contrastive_loss(*inputs).backward()
    assert all(x.grad.abs().max() > 1e-4 for x in inputs)


@pytest.mark.parametrize(
    ("image", "text"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,)), ((1, 3, 4), (1, 3, 4))]
)
def test_contrastive_loss_refuses_sides_that_do_not_pair(image: tuple, text: tuple) -> None:
    with pytest.raises(ValueError, match="one text for each picture"):
        contrastive_loss(torch.ones(image), torch.ones(text), torch.tensor(1.0))
