"""Small JPEGs and the data URIs that hold them."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from clip_core.images.thumbnail import data_uri, thumbnail_jpeg


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 100), (60, 20)), ((100, 300), (20, 60)), ((60, 60), (60, 60)), ((30, 20), (30, 20))],
)
def test_long_side_is_bounded(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    small = Image.open(io.BytesIO(thumbnail_jpeg(image, 60)))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", expected)
    assert image.size == size


def test_data_uri() -> None:
    data = thumbnail_jpeg(Image.new("RGB", (8, 8)), 8)
    head, coded = data_uri(data).split(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(coded) == data
    assert data_uri(b"\x89PNG", "png") == "data:image/png;base64,iVBORw=="
