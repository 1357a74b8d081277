"""What a model needs to know and its tensors don't tell: the activation, the heads, the pictures.

Three places say so: `open_clip_config.json` (open_clip), `config.json` with
`preprocessor_config.json` (transformers), and the metadata of a safetensors file that `convert`
wrote. Anything there that would make another model than the one in `model.py` is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_core.config import ACTIVATIONS, VOCAB_SIZE, Config
from clip_core.errors import CheckpointError
from clip_core.preprocess import MEAN, STD

OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG = "open_clip_config.json", "config.json"
PREPROCESSOR_CONFIG = "preprocessor_config.json"


def read_config(path: Path) -> Config:
    """The config in a file that is named as its layout has it, and in the one for pictures beside.

    Raises CheckpointError as `from_open_clip` and `from_transformers` do, or for a file that can't
    be read.
    """
    pictures = path.with_name(PREPROCESSOR_CONFIG)
    try:
        text = path.read_text(encoding="utf-8")
        if path.name == OPEN_CLIP_CONFIG:
            return from_open_clip(text)
        preprocessor = pictures.read_text(encoding="utf-8") if pictures.is_file() else None
    except (OSError, UnicodeError) as error:
        raise CheckpointError(f"The model's {path.name} can't be read: {error}") from error
    return from_transformers(text, preprocessor)


def from_metadata(metadata: Mapping[str, str]) -> Config | None:
    """The config in a safetensors file's notes, as `Config.to_metadata` makes them; None without.

    Raises CheckpointError when one of them makes no sense.
    """
    if "activation" not in metadata:
        return None
    values: dict[str, Any] = {}
    for name in vars(Config()):
        if name in metadata:
            try:
                values[name] = json.loads(metadata[name])
            except ValueError as error:
                raise CheckpointError(f"The file's note {name!r} makes no sense.") from error
    return _config(**values)


# What open_clip's configurations may say. A tuple: these values and no others; None: whatever,
# since the tensors' shapes tell it too or it only matters in training. Keys that are not here must
# be absent, null, false, 0 or empty.
_OPEN_CLIP_MODEL: dict[str, tuple[Any, ...] | None] = {
    "embed_dim": None,
    "quick_gelu": (True,),
    "vision_cfg": None,
    "text_cfg": None,
    "init_logit_scale": None,
    "nonscalar_logit_scale": None,
    "output_dict": None,
}
_OPEN_CLIP_VISION: dict[str, tuple[Any, ...] | None] = {
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
_OPEN_CLIP_TEXT: dict[str, tuple[Any, ...] | None] = {
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
# A key of open_clip's that marks another kind of model -> what to call that.
_OPEN_CLIP_KINDS = {
    "multimodal_cfg": "a CoCa model, whose text tower also writes captions",
    "init_logit_bias": "a SigLIP model, which scores each label by a sigmoid",
}
_TOWER_KINDS = {
    "hf_model_name": "a model with another text tower ({})",
    "hf_tokenizer_name": "a model with another tokenizer ({})",
    "timm_model_name": "a model with an image tower of timm's ({})",
}


def from_open_clip(text: str) -> Config:
    """The config in an `open_clip_config.json`.

    Raises CheckpointError for a model that isn't CLIP as it is here, saying what it is.
    """
    whole = _parse(text, "open_clip_config.json")
    model = _section(whole, "model_cfg")
    vision, texts = _section(model, "vision_cfg"), _section(model, "text_cfg")
    for key, kind in _OPEN_CLIP_KINDS.items():
        if model.get(key):
            raise CheckpointError(f"This is {kind}; only CLIP itself runs here.")
    for section in (vision, texts):
        for key, kind in _TOWER_KINDS.items():
            if section.get(key):
                name = kind.format(section[key])
                raise CheckpointError(f"This is {name}; only CLIP's own towers run here.")
    if model.get("custom_text"):
        raise CheckpointError(
            "This is a model with a text tower of its own kind; only CLIP runs here."
        )
    _check(model, _OPEN_CLIP_MODEL, "model_cfg")
    _check(vision, _OPEN_CLIP_VISION, "vision_cfg")
    _check(texts, _OPEN_CLIP_TEXT, "text_cfg")
    pictures = whole.get("preprocess_cfg") or {}
    _check(
        pictures,
        {
            "size": None,
            "mode": ("RGB",),
            "mean": None,
            "std": None,
            "interpolation": ("bicubic",),
            "resize_mode": ("shortest",),
            "fill_color": None,
        },
        "preprocess_cfg",
    )
    for key in ("width", "head_width"):
        if not isinstance(vision.get(key, 64), int) or vision.get(key, 64) < 1:
            raise CheckpointError(f"{key} in the model's vision_cfg is {vision[key]!r}.")
    is_resnet = isinstance(vision.get("layers"), list)
    channels = 32 * vision.get("width", 64) if is_resnet else vision.get("width", 768)
    return _config(
        activation="quick_gelu" if model.get("quick_gelu") else "gelu",
        vision_heads=channels // vision.get("head_width", 64),
        text_heads=texts.get("heads", 8),
        image_mean=pictures.get("mean") or MEAN,
        image_std=pictures.get("std") or STD,
    )


# Other models' names in transformers' `model_type` -> what people call them.
_TRANSFORMERS_KINDS = {
    "siglip": "SigLIP",
    "siglip2": "SigLIP 2",
    "chinese_clip": "Chinese-CLIP",
    "altclip": "AltCLIP",
    "clipseg": "CLIPSeg",
    "metaclip_2": "MetaCLIP 2",
    "blip": "BLIP",
    "align": "ALIGN",
    "clip_vision_model": "CLIP's image tower alone",
    "clip_text_model": "CLIP's text tower alone",
}


def from_transformers(text: str, preprocessor: str | None = None) -> Config:
    """The config in a `config.json`, and the pictures' in a `preprocessor_config.json` if given.

    What is absent has transformers' own default (CLIPTextConfig, CLIPVisionConfig). Raises
    CheckpointError for a model that isn't CLIP as it is here, saying what it is.
    """
    whole = _parse(text, "config.json")
    kind = whole.get("model_type", "of a kind that config.json doesn't name")
    if kind != "clip":
        known = _TRANSFORMERS_KINDS.get(kind, f"a model {kind!r}")
        raise CheckpointError(f"This is {known}; only CLIP itself runs here.")
    # Files of 2021 say it all a second time, under a name that transformers gives precedence.
    texts = {**_section(whole, "text_config"), **(whole.get("text_config_dict") or {})}
    vision = {**_section(whole, "vision_config"), **(whole.get("vision_config_dict") or {})}
    activations = {part.get("hidden_act", "quick_gelu") for part in (texts, vision)}
    if len(activations) > 1:
        raise CheckpointError("The two towers of this model have different activations.")
    for name, part in (("text_config", texts), ("vision_config", vision)):
        if part.get("layer_norm_eps", 1e-5) != 1e-5:
            raise CheckpointError(
                f"layer_norm_eps of {name} is {part['layer_norm_eps']}; CLIP's is 1e-05."
            )
    if texts.get("vocab_size", VOCAB_SIZE) != VOCAB_SIZE:
        raise CheckpointError(
            f"This is a model with another tokenizer: its vocabulary has {texts['vocab_size']} "
            f"entries, CLIP's {VOCAB_SIZE}."
        )
    pictures = _parse(preprocessor, "preprocessor_config.json") if preprocessor else {}
    _check_preprocessor(pictures)
    return _config(
        activation=activations.pop(),
        vision_heads=vision.get("num_attention_heads", 12),
        text_heads=texts.get("num_attention_heads", 8),
        image_mean=pictures.get("image_mean") or MEAN,
        image_std=pictures.get("image_std") or STD,
    )


def _check_preprocessor(pictures: Mapping[str, Any]) -> None:
    for key in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
        if pictures.get(key, True) is False:
            raise CheckpointError(f"{key} is off in preprocessor_config.json; CLIP's is on.")
    if pictures.get("resample", 3) != 3:  # Pillow's number for bicubic
        raise CheckpointError("Pictures of this model are not resized bicubically, as CLIP's are.")
    size = pictures.get("size")
    if isinstance(size, dict) and "shortest_edge" not in size:
        raise CheckpointError("Pictures of this model are squashed, not cropped as CLIP's are.")


def _config(**values: Any) -> Config:
    """A Config of values read from a file, or CheckpointError when they can't be right."""
    for name in ("image_mean", "image_std"):
        if name in values:
            values[name] = tuple(values[name]) if isinstance(values[name], list | tuple) else None
            if not _is_per_channel(values[name]):
                raise CheckpointError(f"{name} must be three numbers, for red, green and blue.")
    for name in ("vision_heads", "text_heads"):
        value = values.get(name)
        if value is not None and not (isinstance(value, int) and value > 0):
            raise CheckpointError(f"{name} must be a number above 0, not {value!r}.")
    if values.get("activation", "gelu") not in ACTIVATIONS:
        raise CheckpointError(
            f"The activation {values['activation']!r} is none of CLIP's: {', '.join(ACTIVATIONS)}."
        )
    return Config(**values)


def _is_per_channel(value: tuple[Any, ...] | None) -> bool:
    return value is not None and len(value) == 3 and all(isinstance(v, int | float) for v in value)


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


def _check(
    found: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...] | None], section: str
) -> None:
    for key, value in found.items():
        values = allowed.get(key, ())
        if value and values is not None and value not in values:
            raise CheckpointError(
                f"{key} is {value!r} in this model's {section}, which is not CLIP as it is here."
            )
