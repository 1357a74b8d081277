"""Small JPEG copies of images, and data URIs that put an image's bytes into HTML."""

from __future__ import annotations

import base64
import io

from PIL import Image

QUALITY = 85  # of Pillow's 0 to 95


def thumbnail_jpeg(image: Image.Image, side: int) -> bytes:
    """A JPEG file of an RGB image, scaled down to at most `side` pixels in width and height.

    The proportions stay. A smaller image keeps its size. The image itself is not changed.
    """
    small = image.copy()
    small.thumbnail((side, side))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def data_uri(data: bytes, kind: str = "jpeg") -> str:
    """An image file as the `src` of an <img>. kind: its format in a media type, such as "png"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
