"""The reference's transform, bit for bit, and an opener for whatever people's files hold."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image
from torchvision import transforms

from clip_core import ImageError, open_image
from clip_core.images.decode import MAX_SIDES_RATIO
from clip_core.preprocess import (
    CROPS,
    FRAMINGS,
    MEAN,
    center_square,
    preprocess,
    squares,
    to_pixels,
)


def picture(size: tuple[int, int] = (60, 40), mode: str = "RGB") -> Image.Image:
    """A gradient: left to right red, top to bottom green, so that every turn shows."""
    width, height = size
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([red, green, np.full_like(red, 80)], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("size", [(224, 224), (301, 199), (97, 640), (31, 33)])
def test_transform_is_the_references(mode: str, size: tuple[int, int]) -> None:
    reference = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    image = picture(size, mode)
    assert torch.equal(preprocess(224)(image), reference(image))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [(301, 199), (40, 90), (64, 64)])
def test_squares_pass_the_transform_unchanged(framing: str, size: tuple[int, int]) -> None:
    found = squares(picture(size), 64, framing)
    assert {(square.size, square.mode) for square in found} == {((64, 64), "RGB")}
    for square in found:
        tensor = transforms.ToTensor()(square)
        normalised = transforms.Normalize(MEAN, (0.26862954, 0.26130258, 0.27577711))(tensor)
        assert torch.equal(preprocess(64)(square), normalised)


def test_the_whole_picture_is_padded_squashed_or_walked_over() -> None:
    wide = picture((300, 100))  # red grows from left to right
    (crop,) = squares(wide, 60)
    (pad,) = squares(wide, 60, "pad")
    (squash,) = squares(wide, 60, "squash")
    crops = squares(wide, 60, "crops")
    reds = [[square.getpixel((x, 30))[0] for x in (0, 59)] for square in [crop, squash, *crops]]
    assert 80 < reds[0][0] < reds[0][1] < 175  # the middle third
    assert reds[1][0] < 10
    assert reds[1][1] > 245
    assert len(crops) == CROPS
    assert [left for left, _ in reds[2:]] == sorted(left for left, _ in reds[2:])
    assert reds[2][0] < 10
    assert reds[-1][1] > 245
    assert pad.getpixel((30, 5)) == tuple(round(255 * mean) for mean in MEAN)
    assert pad.getpixel((1, 30))[0] < 15


def test_an_unknown_framing_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="crop, pad, squash, crops"):
        squares(picture(), 60, "stretch")


@pytest.mark.parametrize("size", [(301, 199), (199, 302), (64, 64), (65, 64), (640, 97), (31, 33)])
def test_square_and_pixels_are_the_transform_bit_for_bit(size: tuple[int, int]) -> None:
    image = picture(size)
    square = center_square(image, 64)
    assert (square.size, square.mode) == ((64, 64), "RGB")
    pixels = to_pixels(torch.from_numpy(np.stack([np.asarray(square)])), *_published())
    assert torch.equal(pixels, preprocess(64)(image).unsqueeze(0))


def _published() -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = picture()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(saved(stored, "PNG", exif=exif))
    assert opened.size == upright.size
    assert difference(opened, upright) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0)).convert(mode)
    assert open_image(saved(image, "PNG")).getpixel((4, 4)) == (255, 255, 255)


def test_transparency_of_a_palette_is_white() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert open_image(saved(image, "PNG", transparency=1)).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(saved(image, "PNG", transparency=0)).getpixel((0, 0)) == (40, 50, 60)


def test_sixteen_bits_keep_their_middle() -> None:
    values = np.full((8, 8), 32896, dtype=np.uint16)  # 128 of 255
    data = saved(Image.fromarray(values), "PNG")
    assert open_image(data).getpixel((0, 0)) == (128, 128, 128)


def test_float_pictures_with_holes() -> None:
    values = np.array([[0.5, np.nan], [np.inf, 1.0]], dtype=np.float32)
    opened = open_image(saved(Image.fromarray(values), "TIFF"))
    assert opened.getpixel((0, 0)) == (128, 128, 128)
    assert opened.getpixel((1, 0)) == (0, 0, 0)
    assert opened.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("form", "mode", "options", "bar"),
    [
        ("JPEG", "RGB", {"quality": 95}, 3),
        ("JPEG", "CMYK", {"quality": 95}, 3),
        ("JPEG", "L", {"quality": 95}, 3),
        ("MPO", "RGB", {"quality": 95}, 3),
        ("PNG", "RGB", {}, 0),
        ("PNG", "P", {}, 12),
        ("WEBP", "RGB", {"lossless": True}, 0),
        ("GIF", "P", {}, 12),
        ("AVIF", "RGB", {"quality": 95}, 4),
        ("TIFF", "RGB", {}, 0),
        ("BMP", "RGB", {}, 0),
    ],
)
def test_formats_open(form: str, mode: str, options: dict[str, object], bar: float) -> None:
    opened = open_image(saved(picture(mode=mode), form, **options))
    assert (opened.mode, opened.size) == ("RGB", (60, 40))
    assert difference(opened, picture(mode=mode).convert("RGB")) <= bar


def test_heic_opens() -> None:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture((64, 64))).save(buffer, quality=95)
    opened = open_image(buffer.getvalue())
    assert difference(opened, picture((64, 64))) < 6


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=50)
    red, green, blue = open_image(data).getpixel((8, 8))
    assert red > 240
    assert max(green, blue) < 15


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not a picture"),
        (saved(picture((400, 400)), "JPEG")[:900], "broken"),
        (saved(picture((400, 400)), "PNG")[:300], "broken"),
        (png_header(30000, 30000), "120 million"),
        (png_header(13000, 10000), "13000 x 10000"),
        (png_header(1, 65000), "strip"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_used_gets_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        open_image(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "named.txt"  # known by content
    path.write_bytes(saved(picture(), "PNG"))
    assert difference(open_image(path), picture()) == 0
    assert difference(open_image(str(path)), picture()) == 0
    for missing in (tmp_path / "none.png", tmp_path, "a\0b.png"):
        with pytest.raises(ImageError):
            open_image(missing)


def test_longest_strip_allowed() -> None:
    assert open_image(picture((MAX_SIDES_RATIO * 4, 4))).size == (MAX_SIDES_RATIO * 4, 4)
    with pytest.raises(ImageError, match="strip"):
        open_image(picture((MAX_SIDES_RATIO * 4 + 1, 4)))
