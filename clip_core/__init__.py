"""CLIP (Radford et al., arXiv 2103.00020): a drop-in for `import clip`, and questions on top of it.

`load`, `tokenize` and `available_models` are those of openai/CLIP; `ZeroShotClassifier` encodes
once and answers often.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_core.explain.heatmap import draw_heat_map, heat_maps
    from clip_core.images.decode import open_image
    from clip_core.weights.resolve import available_models, load

    from .classifier import Scores, ZeroShotClassifier, none_of_these
    from .errors import CheckpointError, DownloadError, ImageError, TextTooLongError
    from .model import CLIP, contrastive_loss
    from .open_set import NoneOfThese
    from .tokenizer import count_tokens, tokenize

# Each name's module is imported when the name is first used, and none may be called like a name:
# processes that read pictures need no torch, whose import would be most of their start.
_MODULES = {
    "CLIP": "model",
    "CheckpointError": "errors",
    "DownloadError": "errors",
    "ImageError": "errors",
    "NoneOfThese": "open_set",
    "Scores": "classifier",
    "TextTooLongError": "errors",
    "ZeroShotClassifier": "classifier",
    "available_models": "weights.resolve",
    "contrastive_loss": "model",
    "count_tokens": "tokenizer",
    "draw_heat_map": "explain.heatmap",
    "heat_maps": "explain.heatmap",
    "load": "weights.resolve",
    "none_of_these": "classifier",
    "open_image": "images.decode",
    "tokenize": "tokenizer",
}

__all__ = [
    "CLIP",
    "CheckpointError",
    "DownloadError",
    "ImageError",
    "NoneOfThese",
    "Scores",
    "TextTooLongError",
    "ZeroShotClassifier",
    "available_models",
    "contrastive_loss",
    "count_tokens",
    "draw_heat_map",
    "heat_maps",
    "load",
    "none_of_these",
    "open_image",
    "tokenize",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
