"""Files written by the peers that own the formats, read by us; and what `convert` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, SiglipConfig, SiglipModel

from clip_core import CLIP, CheckpointError, load, tokenize
from clip_core.cli.main import main
from clip_core.model import VisionTransformer
from clip_core.weights.convert import convert
from tests.archives import write_archive

TEXTS = ["a dog", "a diagram of a heart, drawn by hand", "", "7 cats & 1 mouse"]
BAR = 1e-5
VISION: dict[str, dict[str, Any]] = {
    "ViT": {"image_size": 48, "patch_size": 16, "width": 96, "head_width": 32, "layers": 2},
    "ResNet": {"image_size": 64, "width": 16, "layers": [2, 1, 1, 1]},
}
TEXT = {"width": 96, "heads": 3, "layers": 2}


def randomise(model: nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.eval()


def pictures(side: int) -> Tensor:
    """Two unlike pictures of coarse patches: fine noise looks all alike to a random model."""
    coarse = 4 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(side, side), mode="bicubic")


def largest_difference(model: CLIP, expected: tuple[Tensor, Tensor]) -> float:
    found = (
        model.encode_image(pictures(model.visual.input_resolution)),
        model.encode_text(tokenize(TEXTS)),
    )
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        assert F.pdist(F.normalize(theirs, dim=-1)).min() > 1e-3
        difference = F.normalize(ours, dim=-1) - F.normalize(theirs, dim=-1)
        worst = max(worst, difference.abs().max().item())
    return worst


@torch.no_grad()
@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("tower", VISION)
@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_open_clip(tower: str, quick_gelu: bool, weights: str, tmp_path: Path) -> None:
    settings = {"embed_dim": 64, "quick_gelu": quick_gelu}
    vision, text = CLIPVisionCfg(**VISION[tower]), CLIPTextCfg(**TEXT)
    peer = open_clip.model.CLIP(**settings, vision_cfg=vision, text_cfg=text)
    randomise(peer)
    config = {"model_cfg": settings | {"vision_cfg": VISION[tower], "text_cfg": TEXT}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    if weights.endswith(".bin"):
        torch.save(peer.state_dict(), tmp_path / weights)
    else:
        save_file(peer.state_dict(), tmp_path / weights)
    side = VISION[tower]["image_size"]
    expected = peer.encode_image(pictures(side)), peer.encode_text(tokenize(TEXTS).long())
    for source in (tmp_path, tmp_path / weights):  # the folder, or the file with its config beside
        found = largest_difference(load(source, "cpu")[0], expected)
        print(f"\nopen_clip {tower} quick_gelu={quick_gelu} {weights}: {found:.1e}")
        assert found <= BAR


@torch.no_grad()
@pytest.mark.parametrize("hidden_act", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("safe", [True, False])
def test_transformers(hidden_act: str, safe: bool, tmp_path: Path) -> None:
    text = {"hidden_size": 96, "intermediate_size": 384, "num_attention_heads": 3}
    vision = text | {"image_size": 48, "patch_size": 16, "num_hidden_layers": 3}
    config = CLIPConfig(
        projection_dim=64,
        text_config=text | {"hidden_act": hidden_act, "eos_token_id": 49407},
        vision_config=vision | {"hidden_act": hidden_act},
    )
    peer = CLIPModel(config)
    randomise(peer)
    peer.save_pretrained(tmp_path)
    CLIPImageProcessor(image_mean=[0.5, 0.4, 0.3]).save_pretrained(tmp_path)
    if not safe:  # as repositories of before safetensors have it
        (tmp_path / "model.safetensors").unlink()
        weights = peer.state_dict() | {"text_model.embeddings.position_ids": torch.arange(77)}
        torch.save(weights, tmp_path / "pytorch_model.bin")
    answer = peer(input_ids=tokenize(TEXTS).long(), pixel_values=pictures(48))
    model, preprocess = load(tmp_path, "cpu")
    found = largest_difference(model, (answer.image_embeds, answer.text_embeds))
    print(f"\ntransformers {hidden_act} safetensors={safe}: {found:.1e}")
    assert found <= BAR
    assert tuple(preprocess.transforms[-1].mean) == (0.5, 0.4, 0.3)


@torch.no_grad()
def test_the_reference(tmp_path: Path) -> None:
    reference = pytest.importorskip("clip.model", reason="the reference is not installed")
    tower = VisionTransformer(48, 16, 128, 2, 2, 64)
    weights = write_archive(tmp_path / "a.pt", CLIP(64, tower, 77, 49408, 128, 2, 2))
    peer = reference.build_model({name: tensor.clone() for name, tensor in weights.items()})
    peer = peer.float().eval()
    expected = peer.encode_image(pictures(48)), peer.encode_text(tokenize(TEXTS).long())
    assert largest_difference(load(tmp_path / "a.pt", "cpu")[0], expected) <= BAR


def small_clip(tower: Callable[[], nn.Module] | None = None) -> CLIP:
    torch.manual_seed(3)
    return CLIP(32, VisionTransformer(32, 16, 64, 2, 1, 32), 77, 49408, 64, 1, 2).eval()


def assert_equal(a: CLIP, b: CLIP) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_convert_reads_back_equal(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.pt", small_clip())
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    assert main(["convert", str(tmp_path / "a.pt"), str(full)]) == 0
    assert main(["convert", str(tmp_path / "a.pt"), str(half), "--half"]) == 0
    original = load(tmp_path / "a.pt", "cpu")[0]
    assert_equal(load(full, "cpu")[0], original)
    assert_equal(load(half, "cpu")[0], original)  # archives are float16 already
    assert half.stat().st_size < full.stat().st_size
    assert not list(tmp_path.glob("*.part"))


def test_convert_of_float32_to_half(tmp_path: Path) -> None:
    save_file(small_clip().state_dict(), tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "half.safetensors", half=True)
    convert(tmp_path / "half.safetensors", tmp_path / "again.safetensors", half=True)
    assert_equal(
        load(tmp_path / "half.safetensors", "cpu")[0],
        load(tmp_path / "again.safetensors", "cpu")[0],
    )


def test_convert_keeps_what_the_tensors_do_not_tell(tmp_path: Path) -> None:
    save_file(small_clip().state_dict(), tmp_path / "a.safetensors", {"default_template": "a {}"})
    target = str(tmp_path / "b.safetensors")
    source = str(tmp_path / "a.safetensors")
    assert main(["convert", source, target, "--activation", "gelu"]) == 0
    model, _ = load(target, "cpu")
    assert type(model.transformer.resblocks[0].mlp.gelu) is nn.GELU
    assert type(model.visual.transformer.resblocks[0].mlp.gelu) is nn.GELU
    convert(target, tmp_path / "c.safetensors")
    model, _ = load(tmp_path / "c.safetensors", "cpu")
    assert type(model.transformer.resblocks[0].mlp.gelu) is nn.GELU


def test_convert_that_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.safetensors"
    save_file(small_clip().state_dict(), source)
    before = source.read_bytes()
    for target in (source, tmp_path / "none" / "b.safetensors"):
        assert main(["convert", str(source), str(target)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert source.read_bytes() == before
    assert main(["convert", str(tmp_path / "x.pt"), str(tmp_path / "b")]) == 2
    assert "not found" in capsys.readouterr().err


def test_siglip_is_refused_by_name(tmp_path: Path) -> None:
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    size["num_attention_heads"] = 2
    config = SiglipConfig(text_config=size, vision_config=size | {"image_size": 32})
    SiglipModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="SigLIP"):
        load(tmp_path, "cpu")
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="SigLIP model"):
        load(tmp_path / "model.safetensors", "cpu")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text_decoder.ln_final.weight", "CoCa"),
        ("visual.trunk.patch_embed.proj.weight", "timm"),
        ("text.transformer.embeddings.word_embeddings.weight", "another text tower"),
    ],
)
def test_other_models_are_told_by_their_tensors(name: str, says: str, tmp_path: Path) -> None:
    weights = small_clip().state_dict() | {name: torch.ones(2)}
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=says) as caught:
        load(tmp_path / "a.safetensors", "cpu")
    assert name in str(caught.value)


def test_what_transformers_lacks_is_named_as_there(tmp_path: Path) -> None:
    config = CLIPConfig(
        text_config={"num_hidden_layers": 1}, vision_config={"num_hidden_layers": 1}
    )
    weights = CLIPModel(config).state_dict()
    name = "vision_model.encoder.layers.0.self_attn.k_proj.bias"
    save_file({n: w for n, w in weights.items() if n != name}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load(tmp_path / "a.safetensors", "cpu")
    save_file(weights | {"vision_model.odd": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"no CLIP has: 'vision_model\.odd'"):
        load(tmp_path / "b.safetensors", "cpu")


def test_custom_text_layout_of_open_clip(tmp_path: Path) -> None:
    weights = small_clip().state_dict()
    towers = ("visual.", "logit_scale")
    named = {n if n.startswith(towers) else f"text.{n}": w for n, w in weights.items()}
    save_file(named, tmp_path / "a.safetensors")
    assert_equal(load(tmp_path / "a.safetensors", "cpu")[0], small_clip())


def test_wide_vit_without_a_config_is_refused(tmp_path: Path) -> None:
    tower = VisionTransformer(28, 14, 1280, 1, 16, 32)
    save_file(CLIP(32, tower, 77, 49408, 64, 1, 1).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="number of attention heads"):
        load(tmp_path / "a.safetensors", "cpu")


def test_a_folder_with_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no model: a config and weights are wanted"):
        load(tmp_path, "cpu")
