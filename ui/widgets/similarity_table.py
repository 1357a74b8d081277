"""Similarity matrix of images and captions as a table, and the contrastive loss of its pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from clip_core.explain.similarity import Similarities
from clip_core.images.thumbnail import data_uri, thumbnail_jpeg

from .render import format_share, render

THUMBNAIL = 56  # pixels a side
# Ways to read the same numbers: the name, and what is said of it above the table
READINGS = {
    "cosine similarity": "How near each picture is to each caption: the cosine of the angle "
    "between their features, 1 at most (figure 3 of the paper, I_e · T_e).",
    "logits": "The cosine similarities times the learnt scale, here {scale:.0f}: what the softmax "
    "takes.",
    "each picture chooses": "Softmax along each row: which caption does a picture choose? Each row "
    "adds up to 100 %. This is zero-shot classification.",
    "each caption chooses": "Softmax down each column: which picture does a caption choose? Each "
    "column adds up to 100 %. This is search by words.",
}


def draw_similarity_table(
    similarities: Similarities,
    images: Sequence[Image.Image],
    captions: Sequence[str],
    reading: str,
) -> str:
    """HTML of the table under one of `READINGS`, and of the loss of the pairs on its diagonal."""
    values, shown = _read(similarities, reading)
    low, high = float(values.min()), float(values.max())
    # How strongly each cell is coloured
    parts = [[f"{part:.3f}" for part in row] for row in (values - low) / max(high - low, 1e-9)]
    return render(
        "similarity_table",
        explanation=READINGS[reading].format(scale=similarities.scale),
        captions=captions,
        images=[data_uri(thumbnail_jpeg(image, 2 * THUMBNAIL)) for image in images],
        side=THUMBNAIL,
        parts=parts,
        shown=shown,
        loss=similarities.paired,
        chance=math.log(len(captions)),
    )


def _read(similarities: Similarities, reading: str) -> tuple[np.ndarray, list[list[str]]]:
    """The values of a reading [images, captions], and each as text."""
    values, form = {
        "cosine similarity": (similarities.cosine_similarities, "{:.3f}".format),
        "logits": (similarities.logits, "{:.2f}".format),
        "each picture chooses": (similarities.per_image, format_share),
        "each caption chooses": (similarities.per_text, format_share),
    }[reading]
    return values, [[form(value) for value in row] for row in values.tolist()]
