"""Readers of the config files beside weights: what a model's tensors don't tell.

That is the activation, the numbers of attention heads and the image statistics. They stand in
`open_clip_config.json` (open_clip), in `config.json` and `preprocessor_config.json` (transformers),
or in the metadata of a safetensors file that `convert` wrote. A field that would make another model
than the one in `model.py` is refused with its value.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from clip_core.config import ACTIVATIONS, Config
from clip_core.errors import CheckpointError
from clip_core.preprocess import MEAN, STD
from clip_core.tokenizer import VOCAB_SIZE

OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG = "open_clip_config.json", "config.json"
PREPROCESSOR_CONFIG = "preprocessor_config.json"

# The values that a section's fields may have. None: any, since the tensors' shapes tell it too or
# it only matters in training.
Allowed = Mapping[str, tuple[Any, ...] | None]


def read_config(path: Path) -> Config:
    """The config in an open_clip_config.json, or a config.json and preprocessor_config.json.

    Raises CheckpointError as `from_open_clip` and `from_transformers` do, or for a file that can't
    be read.
    """
    preprocessor = path.with_name(PREPROCESSOR_CONFIG)
    try:
        text = path.read_text(encoding="utf-8")
        if path.name == OPEN_CLIP_CONFIG:
            return from_open_clip(text)
        images = preprocessor.read_text(encoding="utf-8") if preprocessor.is_file() else None
    except (OSError, UnicodeError) as error:
        raise CheckpointError(f"The model's {path.name} can't be read: {error}") from error
    return from_transformers(text, images)


def from_metadata(metadata: Mapping[str, str]) -> Config | None:
    """The config in a safetensors file's metadata, as `Config.to_metadata` writes it; None without.

    Raises CheckpointError for a value that can't be right.
    """
    if "activation" not in metadata:
        return None
    values: dict[str, Any] = {}
    for name in vars(Config()).keys() & metadata.keys():
        try:
            values[name] = json.loads(metadata[name])
        except ValueError as error:
            raise CheckpointError(f"The file's note {name!r} makes no sense.") from error
    return _config(**values)


# A field of open_clip's that stands in none of these must be absent, null, false, 0 or empty.
_OPEN_CLIP_MODEL: Allowed = {
    "embed_dim": None,
    "quick_gelu": (True,),
    "vision_cfg": None,
    "text_cfg": None,
    "init_logit_scale": None,
    "nonscalar_logit_scale": None,
    "output_dict": None,
}
_OPEN_CLIP_VISION: Allowed = {
    "image_size": None,
    "layers": None,
    "width": None,
    "patch_size": None,
    "head_width": None,
    "mlp_ratio": (4, 4.0),
    "patch_dropout": None,
    "pool_type": ("tok",),
    "pos_embed_type": ("learnable",),
    "attn_pooler_queries": None,  # these two say how to pool by attention, not to do it
    "attn_pooler_heads": None,
}
_OPEN_CLIP_TEXT: Allowed = {
    "context_length": None,
    "vocab_size": (VOCAB_SIZE,),
    "width": None,
    "heads": None,
    "layers": None,
    "mlp_ratio": (4, 4.0),
    "pool_type": ("argmax",),
    "proj_type": ("linear",),
    "eos_id": None,  # read only where the features aren't taken at the end token by argmax
}
_OPEN_CLIP_PREPROCESS: Allowed = {
    "size": None,
    "mode": ("RGB",),
    "mean": None,
    "std": None,
    "interpolation": ("bicubic",),
    "resize_mode": ("shortest",),
    "fill_color": None,
}


def from_open_clip(text: str) -> Config:
    """The config in an `open_clip_config.json`.

    Raises CheckpointError for a model that isn't CLIP as it is here, with the field that says so.
    """
    config = _parse(text, OPEN_CLIP_CONFIG)
    model, images = _section(config, "model_cfg"), _section(config, "preprocess_cfg")
    vision, texts = _section(model, "vision_cfg"), _section(model, "text_cfg")
    for name, section, allowed in (
        ("vision_cfg", vision, _OPEN_CLIP_VISION),
        ("text_cfg", texts, _OPEN_CLIP_TEXT),
        ("model_cfg", model, _OPEN_CLIP_MODEL),
        ("preprocess_cfg", images, _OPEN_CLIP_PREPROCESS),
    ):
        for field, value in section.items():
            values = allowed.get(field, ())
            if value and values is not None and value not in values:
                _refuse(field, value, name)
    for field in ("width", "head_width"):
        if not isinstance(vision.get(field, 64), int) or vision.get(field, 64) < 1:
            _refuse(field, vision[field], "vision_cfg")
    is_resnet = isinstance(vision.get("layers"), list)
    channels = 32 * vision.get("width", 64) if is_resnet else vision.get("width", 768)
    return _config(
        activation="quick_gelu" if model.get("quick_gelu") else "gelu",
        vision_heads=channels // vision.get("head_width", 64),
        text_heads=texts.get("heads", 8),
        image_mean=images.get("mean") or MEAN,
        image_std=images.get("std") or STD,
    )


# Transformers' files have many fields more, which say nothing of the model's kind.
_TRANSFORMERS_TOWER: Allowed = {"layer_norm_eps": (1e-5,), "hidden_act": ACTIVATIONS}
_TRANSFORMERS_TEXT: Allowed = {**_TRANSFORMERS_TOWER, "vocab_size": (VOCAB_SIZE,)}
_TRANSFORMERS_PREPROCESS: Allowed = {
    "do_resize": (True, None),
    "do_center_crop": (True, None),
    "do_rescale": (True, None),
    "do_normalize": (True, None),
    "resample": (3,),  # Pillow's number for bicubic
}


def from_transformers(text: str, preprocessor: str | None = None) -> Config:
    """The config in a `config.json`, and in a `preprocessor_config.json` if given.

    What is absent has transformers' own default (CLIPTextConfig, CLIPVisionConfig). Raises
    CheckpointError for a model that isn't CLIP as it is here, with the field that says so.
    """
    config = _parse(text, TRANSFORMERS_CONFIG)
    if config.get("model_type") != "clip":
        _refuse("model_type", config.get("model_type"), TRANSFORMERS_CONFIG)
    # Files of 2021 hold both sections twice; transformers prefers the copy
    texts = {**_section(config, "text_config"), **_section(config, "text_config_dict")}
    vision = {**_section(config, "vision_config"), **_section(config, "vision_config_dict")}
    images = _parse(preprocessor, PREPROCESSOR_CONFIG) if preprocessor else {}
    for name, section, allowed in (
        ("text_config", texts, _TRANSFORMERS_TEXT),
        ("vision_config", vision, _TRANSFORMERS_TOWER),
        (PREPROCESSOR_CONFIG, images, _TRANSFORMERS_PREPROCESS),
    ):
        for field, values in allowed.items():
            if values and field in section and section[field] not in values:
                _refuse(field, section[field], name)
    size = images.get("size")
    if isinstance(size, dict) and "shortest_edge" not in size:  # squashed, not cropped
        _refuse("size", size, PREPROCESSOR_CONFIG)
    activations = {section.get("hidden_act", "quick_gelu") for section in (texts, vision)}
    if len(activations) > 1:
        raise CheckpointError("The two towers of this model have different activations.")
    return _config(
        activation=activations.pop(),
        vision_heads=vision.get("num_attention_heads", 12),
        text_heads=texts.get("num_attention_heads", 8),
        image_mean=images.get("image_mean") or MEAN,
        image_std=images.get("image_std") or STD,
    )


def _refuse(field: str, value: Any, section: str) -> NoReturn:
    raise CheckpointError(
        f"This is not CLIP as it is here: {field} is {reprlib.repr(value)} in its {section}."
    )


def _config(**values: Any) -> Config:
    """A Config of values read from a file, or CheckpointError when they can't be right."""
    for name in values.keys() & {"image_mean", "image_std"}:
        mean = values[name]
        if not (
            isinstance(mean, list | tuple)
            and len(mean) == 3
            and all(isinstance(value, int | float) for value in mean)
        ):
            raise CheckpointError(f"{name} must be three numbers, for red, green and blue.")
        values[name] = tuple(mean)
    for name in ("vision_heads", "text_heads"):
        value = values.get(name)
        if value is not None and not (isinstance(value, int) and value > 0):
            raise CheckpointError(f"{name} must be a number above 0, not {value!r}.")
    if values.get("activation", "gelu") not in ACTIVATIONS:
        raise CheckpointError(
            f"The activation {values['activation']!r} is none of CLIP's: {', '.join(ACTIVATIONS)}."
        )
    return Config(**values)


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"The model's {file} is no JSON: it may be cut short.") from error
    if not isinstance(parsed, dict):
        raise CheckpointError(f"The model's {file} holds no JSON object.")
    return parsed


def _section(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = parent.get(name) or {}
    if not isinstance(found, dict):
        raise CheckpointError(f"{name} in the model's configuration is no JSON object.")
    return found
