"""Config files: what they say of a model, and by which field another model is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import open_clip
import pytest
from transformers import CLIPConfig, SiglipConfig

from clip_core import CheckpointError
from clip_core.config import Config
from clip_core.preprocess import MEAN, STD
from clip_core.weights.config_files import from_metadata, from_open_clip, from_transformers

CONFIGS = Path(open_clip.__file__).parent / "model_configs"


def written(name: str, **preprocess: Any) -> str:
    """An open_clip_config.json as open_clip writes it for one of its own models."""
    model = json.loads((CONFIGS / f"{name}.json").read_text())
    return json.dumps({"model_cfg": model, "preprocess_cfg": preprocess})


@pytest.mark.parametrize(
    ("name", "activation", "vision_heads", "text_heads"),
    [
        ("ViT-B-32", "gelu", 12, 8),
        ("ViT-B-16-quickgelu", "quick_gelu", 12, 8),
        ("ViT-L-14", "gelu", 16, 12),
        ("ViT-H-14", "gelu", 16, 16),
        ("RN50-quickgelu", "quick_gelu", 32, 8),
        ("RN50x64", "gelu", 64, 16),
    ],
)
def test_open_clip(name: str, activation: str, vision_heads: int, text_heads: int) -> None:
    config = from_open_clip(written(name, mean=[0.5] * 3, std=None, interpolation="bicubic"))
    assert config == Config(activation, vision_heads, text_heads, (0.5, 0.5, 0.5), STD)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("coca_ViT-B-32", "attentional_pool is True in its vision_cfg"),
        ("ViT-B-16-SigLIP", "timm_model_name is 'vit_base_patch16_siglip_224'"),
        ("xlm-roberta-base-ViT-B-32", "hf_model_name is 'xlm-roberta-base' in its text_cfg"),
        ("convnext_base", "timm_model_name is 'convnext_base' in its vision_cfg"),
        ("ViT-B-16-plus", None),
        ("MobileCLIP-S1", "timm_model_name is 'fastvit_mci1'"),
        ("ViTamin-B", "timm_model_name is"),
        ("mt5-base-ViT-B-32", "hf_model_name is 'google/mt5-base'"),
        ("nllb-clip-base", "hf_model_name is"),
        ("EVA02-B-16", "timm_model_name is 'eva02"),
        ("ViT-H-14-CLIPA", "no_ln_pre is True in its vision_cfg"),
        ("ViT-bigG-14", "mlp_ratio is 4.9231"),
    ],
)
def test_other_models_of_open_clip_are_refused_by_a_field(name: str, says: str | None) -> None:
    if says is None:
        from_open_clip(written(name))
        return
    with pytest.raises(CheckpointError) as caught:
        from_open_clip(written(name))
    assert says in str(caught.value)


def test_every_configuration_of_open_clip_is_read_or_refused() -> None:
    read = set()
    for path in sorted(CONFIGS.glob("*.json")):
        with suppress(CheckpointError):
            from_open_clip(written(path.stem))
            read.add(path.stem)
    assert {"ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336", "RN50", "RN50x64"} <= read
    assert not [name for name in read if "coca" in name or "SigLIP" in name or "CLIPA" in name]


def test_squashed_pictures_are_refused() -> None:
    with pytest.raises(CheckpointError, match="resize_mode is 'squash'"):
        from_open_clip(written("ViT-B-32", resize_mode="squash"))


def test_transformers() -> None:
    config = CLIPConfig()
    assert from_transformers(config.to_json_string()) == Config("quick_gelu", 12, 8)
    assert from_transformers(config.to_json_string(use_diff=False)) == Config("quick_gelu", 12, 8)
    config.text_config.hidden_act = config.vision_config.hidden_act = "gelu"
    config.vision_config.num_attention_heads = 16
    pictures = json.dumps({"image_mean": [0.1, 0.2, 0.3], "resample": 3, "do_resize": True})
    found = from_transformers(config.to_json_string(), pictures)
    assert found == Config("gelu", 16, 8, (0.1, 0.2, 0.3), STD)


def test_transformers_of_2021_say_it_twice() -> None:
    text = {"model_type": "clip", "text_config": {"num_attention_heads": 1}}
    text["text_config_dict"] = {"num_attention_heads": 2}
    text["vision_config_dict"] = {"num_attention_heads": 3}
    assert from_transformers(json.dumps(text)) == Config("quick_gelu", 3, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"model_type": "siglip"},
            "not CLIP as it is here: model_type is 'siglip'",
        ),
        ({"model_type": "chinese_clip"}, "model_type is 'chinese_clip'"),
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"model_type": None}, "model_type is None"),
        ({"text_config": {"vocab_size": 30522}}, "vocab_size is 30522 in its text_config"),
        ({"text_config": {"hidden_act": "gelu"}}, "different activations"),
        (
            {"vision_config": {"layer_norm_eps": 1e-6}},
            "layer_norm_eps is 1e-06 in",
        ),
        ({"vision_config": {"num_attention_heads": "x"}}, "vision_heads"),
        ({"vision_config": [1]}, "no JSON object"),
    ],
)
def test_other_models_of_transformers_are_refused(change: dict[str, Any], says: str) -> None:
    text = {"model_type": "clip"} | change
    if text["model_type"] is None:
        del text["model_type"]
    with pytest.raises(CheckpointError) as caught:
        from_transformers(json.dumps(text))
    assert says in str(caught.value)


def test_siglip_as_transformers_writes_it() -> None:
    with pytest.raises(CheckpointError, match="model_type is 'siglip'"):
        from_transformers(SiglipConfig().to_json_string())


@pytest.mark.parametrize(
    "pictures",
    [{"resample": 2}, {"size": {"height": 224, "width": 224}}, {"do_center_crop": False}],
)
def test_other_pictures_are_refused(pictures: dict[str, Any]) -> None:
    (field,) = pictures
    with pytest.raises(CheckpointError, match=f"{field} is .* in its preprocessor_config.json"):
        from_transformers('{"model_type": "clip"}', json.dumps(pictures))


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"model_cfg": 3}', "null"])
def test_broken_json_is_a_sentence(text: str) -> None:
    for read in (from_open_clip, from_transformers):
        with pytest.raises(CheckpointError):
            read(text)


def test_metadata() -> None:
    config = Config("gelu", 16, None, (0.1, 0.2, 0.3), STD)
    assert from_metadata(config.to_metadata()) == config
    assert from_metadata(Config().to_metadata()) == Config(image_mean=MEAN, image_std=STD)
    assert from_metadata({"format": "pt"}) is None
    for spoilt in ({"activation": "gelu"}, {"activation": '"relu"'}):
        with pytest.raises(CheckpointError):
            from_metadata(spoilt)
