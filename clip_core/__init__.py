"""CLIP (Radford et al., arXiv 2103.00020): a drop-in for `import clip`, and questions on top of it.

`load`, `tokenize` and `available_models` are those of openai/CLIP; `ZeroShotClassifier` encodes
once and answers often.
"""

from .classifier import Scores, ZeroShotClassifier
from .config import CheckpointError
from .download import DownloadError
from .heat_maps import draw_heat_map, heat_maps
from .load import available_models, load
from .model import CLIP, contrastive_loss
from .none_of_these import NoneOfThese, none_of_these
from .preprocess import ImageError, open_image
from .tokenizer import TextTooLongError, count_tokens, tokenize

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
