"""The model against open_clip and transformers, on the same random weights."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Mapping

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from clip_core.inference.encoder import Encoder
from clip_core.model import CLIP
from clip_core.tokenizer import tokenize
from clip_core.weights.build import Checkpoint, build_model
from clip_core.weights.reader import LazyTensor
from clip_core.weights.state_dict import to_published_names

TEXTS = ["a dog", "a diagram of a heart, drawn by hand with a blunt pencil", "", "7 cats & 1 mouse"]
FEATURE_BAR, LOGIT_BAR = 1e-5, 1e-3

# Published name -> open_clip's configuration, and image-tower settings for transformers.
SHAPES = {
    "RN50": "RN50-quickgelu",
    "RN101": "RN101-quickgelu",
    "RN50x4": "RN50x4-quickgelu",
    "RN50x16": "RN50x16-quickgelu",
    "RN50x64": "RN50x64-quickgelu",
    "ViT-B/32": "ViT-B-32-quickgelu",
    "ViT-B/16": "ViT-B-16-quickgelu",
    "ViT-L/14": "ViT-L-14-quickgelu",
    "ViT-L/14@336px": "ViT-L-14-336-quickgelu",
}
TRANSFORMERS_SHAPES = {  # patch_size, input_resolution, width, layers, embed_dim, text width
    "ViT-B/32": (32, 224, 768, 12, 512, 512),
    "ViT-B/16": (16, 224, 768, 12, 512, 512),
    "ViT-L/14": (14, 224, 1024, 24, 768, 768),
    "ViT-L/14@336px": (14, 336, 1024, 24, 768, 768),
}


def randomise(model: nn.Module) -> None:
    """Moves what starts as zeros and ones, so that a swapped or forgotten tensor shows."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
        elif parameter.ndim == 1 and name.endswith("weight"):
            nn.init.uniform_(parameter, 0.7, 1.3)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        # Statistics of real activations: with made-up ones a deep tower sees every picture alike.
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model.train().encode_image(pictures(model.visual.image_size))
    nn.init.constant_(model.logit_scale, math.log(100))  # where all published weights stand
    model.eval()


def small_open_clip(**vision: object) -> open_clip.model.CLIP:
    torch.manual_seed(0)
    peer = open_clip.model.CLIP(
        embed_dim=96,
        vision_cfg=CLIPVisionCfg(**vision),
        text_cfg=CLIPTextCfg(width=128, heads=2, layers=3),
        quick_gelu=True,
    )
    randomise(peer)
    return peer


def small_transformers() -> CLIPModel:
    return transformers_peer(16, 80, 128, 3, 96, 192)


def transformers_peer(
    patch_size: int, resolution: int, width: int, layers: int, embed_dim: int, text_width: int
) -> CLIPModel:
    torch.manual_seed(1)
    text_config = {
        "hidden_size": text_width,
        "intermediate_size": 4 * text_width,
        "num_attention_heads": text_width // 64,
        "num_hidden_layers": min(layers, 12),
        "projection_dim": embed_dim,
        "eos_token_id": 49407,  # the default of 2 stands for an older rule
    }
    vision_config = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": width // 64,
        "num_hidden_layers": layers,
        "patch_size": patch_size,
        "image_size": resolution,
        "projection_dim": embed_dim,
    }
    config = CLIPConfig(
        text_config=text_config, vision_config=vision_config, projection_dim=embed_dim
    )
    peer = CLIPModel(config)
    randomise(peer)
    return peer


def from_tensors(tensors: Mapping[str, Tensor]) -> Checkpoint:
    stored = {name: LazyTensor.of(tensor) for name, tensor in tensors.items()}
    return Checkpoint(to_published_names(stored))


def pictures(side: int) -> Tensor:
    """Two unlike pictures of coarse patches: fine noise looks all alike to a random model."""
    coarse = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2)) * 1.5
    return F.interpolate(coarse, size=(side, side), mode="bicubic")


def largest(difference: Tensor) -> float:
    assert torch.isfinite(difference).all()
    return difference.abs().max().item()


@torch.inference_mode()
def differences(
    model: CLIP, image: Tensor, text: Tensor, expected: tuple[Tensor, ...]
) -> tuple[float, float, float]:
    """Largest differences from (image features, text features, logits), features normalised."""
    image_features, text_features, logits = expected
    # Features that hardly differ between pictures or texts would hide a fault.
    assert F.pdist(image_features).min() > 1e-3
    assert F.pdist(text_features).min() > 1e-3
    # Each pass of a large tower takes seconds: what was computed once is handed on.
    ours = tuple(
        F.normalize(f, dim=-1) for f in (model.encode_image(image), model.encode_text(text))
    )
    assert_the_encoder_agrees(model, image, text, *ours)
    return (
        largest(ours[0] - image_features),
        largest(ours[1] - text_features),
        largest(model(image, text)[0] - logits),
    )


@torch.inference_mode()
def assert_the_encoder_agrees(
    model: CLIP, image: Tensor, text: Tensor, plain_image: Tensor, plain_text: Tensor
) -> None:
    """With the plain forward pass, as well as that agrees with itself when its layout is another.

    Deep ResNets of random weights pass rounding on enlarged: the same convolutions in another
    order move RN50x64's features by 2e-4.
    """
    encoder = Encoder(model)
    difference = largest(F.normalize(encoder.encode_image(image), dim=-1) - plain_image)
    if difference > FEATURE_BAR:
        other = copy.deepcopy(model.visual).to(memory_format=torch.channels_last)
        assert difference <= 2 * largest(F.normalize(other(image), dim=-1) - plain_image)
    found = F.normalize(encoder.encode_text(text), dim=-1)
    assert largest(found - plain_text) <= FEATURE_BAR


def compare_with_open_clip(peer: open_clip.model.CLIP) -> tuple[float, float, float, int]:
    model = build_model(from_tensors(peer.state_dict()))
    side = model.visual.input_resolution
    image = pictures(side)
    text = tokenize(TEXTS)
    with torch.inference_mode():
        image_features = peer.encode_image(image, normalize=True)
        text_features = peer.encode_text(text, normalize=True)
        logits = peer.logit_scale.exp() * image_features @ text_features.T  # as its get_logits
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == sum(parameter.numel() for parameter in peer.parameters())
    return *differences(model, image, text, (image_features, text_features, logits)), count


def compare_with_transformers(peer: CLIPModel) -> tuple[float, float, float, int]:
    model = build_model(from_tensors(peer.state_dict()))
    side = model.visual.input_resolution
    image = pictures(side)
    text = tokenize(TEXTS)
    with torch.inference_mode():
        answer = peer(input_ids=text.long(), pixel_values=image)
    expected = (answer.image_embeds, answer.text_embeds, answer.logits_per_image)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == sum(parameter.numel() for parameter in peer.parameters())
    return *differences(model, image, text, expected), count


def assert_within_bars(image: float, text: float, logits: float) -> None:
    assert image <= FEATURE_BAR
    assert text <= FEATURE_BAR
    assert logits <= LOGIT_BAR


def test_a_small_vit_answers_as_open_clip() -> None:
    peer = small_open_clip(image_size=80, patch_size=16, width=128, layers=3)
    assert_within_bars(*compare_with_open_clip(peer)[:3])


def test_a_small_resnet_answers_as_open_clip() -> None:
    peer = small_open_clip(image_size=96, width=16, layers=(2, 1, 3, 1))
    assert_within_bars(*compare_with_open_clip(peer)[:3])


def test_a_small_vit_answers_as_transformers() -> None:
    assert_within_bars(*compare_with_transformers(small_transformers())[:3])


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_published_shape_answers_as_its_peers(shape: str) -> None:
    torch.manual_seed(0)
    gc.collect()  # the shape before this one; RN50x64 alone takes 2.5 GB
    peer = open_clip.create_model(SHAPES[shape])
    randomise(peer)
    *found, count = compare_with_open_clip(peer)
    print(f"\n{shape:15} open_clip     {count:11,} " + " ".join(f"{f:.1e}" for f in found))
    assert_within_bars(*found)
    if shape in TRANSFORMERS_SHAPES:
        del peer
        gc.collect()
        *found, count = compare_with_transformers(transformers_peer(*TRANSFORMERS_SHAPES[shape]))
        print(f"{shape:15} transformers  {count:11,} " + " ".join(f"{f:.1e}" for f in found))
        assert_within_bars(*found)
