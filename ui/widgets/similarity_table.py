"""Pictures against captions as a table: similarities, what they become, and the pairs' loss."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from clip_core.explain.similarity import Similarities

from .chart import format_share

THUMBNAIL = 56  # pixels a side
# How the same numbers are read: name, what a line of text says of it
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
    pictures: Sequence[Image.Image],
    captions: Sequence[str],
    reading: str,
) -> str:
    """HTML of the table under one of `READINGS`, and of the loss of the pairs on its diagonal.

    pictures: those of the rows, small. What people typed is escaped.
    """
    values, shown = _read(similarities, reading)
    low, high = float(values.min()), float(values.max())
    heads = "".join(
        f'<th scope="col" translate="no">{escape(caption)}</th>' for caption in captions
    )
    rows = []
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        cells = "".join(
            f"<td{' class=pair' if i == j else ''} "
            f'style="--part:{(values[i, j] - low) / max(high - low, 1e-9):.3f}">{shown[i][j]}</td>'
            for j in range(len(captions))
        )
        rows.append(
            f'<tr><th scope="row"><img src="{thumbnail(picture)}" alt="{escape(caption)}" '
            f'width="{THUMBNAIL}" height="{THUMBNAIL}"></th>{cells}</tr>'
        )
    said = READINGS[reading].format(scale=similarities.scale)
    return (
        f'<p>{said}</p><div class="scroll" tabindex="0" role="region" aria-label="Matrix">'
        f'<table class="matrix"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{_draw_loss(similarities)}"
    )


def _read(similarities: Similarities, reading: str) -> tuple[np.ndarray, list[list[str]]]:
    values = {
        "cosine similarity": similarities.cosine_similarities,
        "logits": similarities.logits,
        "each picture chooses": similarities.per_image,
        "each caption chooses": similarities.per_text,
    }[reading]
    if "chooses" in reading:
        return values, [[escape(format_share(value)) for value in row] for row in values.tolist()]
    digits = 3 if reading == "cosine similarity" else 2
    return values, [[f"{value:.{digits}f}" for value in row] for row in values]


def _draw_loss(similarities: Similarities) -> str:
    paired = similarities.paired
    if paired is None:
        return ""
    count = len(paired.image_losses)
    return (
        f"<p>{count} pairs: {count} positives, framed on the diagonal, and {count * (count - 1)} "
        "negatives beside them. Training pulls the positives up and pushes the negatives down.</p>"
        '<table class="loss"><tbody>'
        f"<tr><th scope=row>Pictures that choose captions</th><td>{paired.image_loss:.3f}</td></tr>"
        f"<tr><th scope=row>Captions that choose pictures</th><td>{paired.text_loss:.3f}</td></tr>"
        f"<tr><th scope=row>Contrastive loss, the mean of both</th><td>{paired.loss:.3f}</td></tr>"
        f"<tr><th scope=row>By chance</th><td>{math.log(count):.3f}</td></tr></tbody></table>"
    )


def thumbnail(picture: Image.Image) -> str:
    """A picture as a small JPEG, in a data address."""
    data = io.BytesIO()
    picture.resize((2 * THUMBNAIL, 2 * THUMBNAIL)).save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
