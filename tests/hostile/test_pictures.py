"""Pictures that once took minutes or gigabytes, or were refused although they are sound."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from clip_core import ImageError, open_image
from clip_core.images.bombs import MAX_EXIF, MAX_STRIPS, check_tags
from clip_core.images.decode import FORMATS
from tests.hostile.crafted import (
    BROKEN_EXIF,
    PNG_START,
    float_tiff,
    gif_comments,
    jpeg,
    png,
    png_chunk,
    saved,
    scan_bomb,
    segment,
    small_png,
    tag_bomb,
    tags,
    tiff,
    webp_with_exif,
)
from tests.hostile.verdicts import ROOT

BOMB = tag_bomb(200_000)  # 8,333 tags that claim 100 KB each
SEVERAL = [segment(0xE1, b"Exif\0\0" + BOMB[i : i + 65_000]) for i in range(0, len(BOMB), 65_000)]


@pytest.mark.parametrize(
    "data",
    [
        BOMB,
        tiff((273, 4, MAX_STRIPS + 1, 200), rest=bytes(4 * MAX_STRIPS + 4)),
        gif_comments(20_000),
        jpeg(segment(0xFE, b""), bytes(100_000)),
        b"\xff\xd8" + b"\xff" * 100_000 + saved("JPEG")[2:],
        jpeg(*[segment(0xFE, b"")] * 30_000),
        small_png(*[png_chunk(b"teSt", b"")] * 30_000),
        scan_bomb(1000, 200),
    ],
    ids=[
        *("tags of a TIFF", "strips", "comments", "junk", "padding", "segments", "chunks", "scans"),
    ],
)
def test_bombs_are_refused_at_once(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ImageError, match="far more memory or time"):
        open_image(data)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "data",
    [
        small_png(png_chunk(b"eXIf", BOMB)),
        small_png(png_chunk(b"tEXt", b"Raw profile type exif\0\n\n\n" + BOMB.hex().encode())),
        jpeg(*SEVERAL),
        webp_with_exif(BOMB),
        small_png(png_chunk(b"eXIf", b"Exif\0\0" * 100_000)),
        tiff((34665, 4, 1, 498), rest=tag_bomb(200_000)[8:]),
    ],
    ids=["PNG", "PNG's text", "JPEG", "WebP", "repeated start", "group of a TIFF"],
)
def test_metadata_that_would_fill_memory_are_left_alone(data: bytes) -> None:
    tracemalloc.start()
    started = time.process_time()
    assert open_image(data).size in ((20, 20), (40, 30))
    assert time.process_time() - started < 3
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6


def test_there_is_an_end_to_what_stands_behind_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_core.images.bombs.MAX_PIXEL_READS", 1000)
    chunks = png_chunk(b"teSt", b"") * 1000
    with pytest.raises(ImageError, match="far more memory or time"):
        open_image(png((20, 20), zlib.compress(bytes(420)))[:-12] + chunks)


def test_a_bmp_that_is_read_byte_by_byte_is_no_bomb() -> None:
    side = 400
    row = b"\x01\x00\x01\x01" * (side // 2) + b"\0\0"
    palette, pixels = bytes(4) + b"\0\0\xff\0", row * side + b"\0\1"
    head = struct.pack(
        "<2sLLLLLLHHLLLLLL",
        *(b"BM", 62 + len(pixels), 0, 62, 40, side, side, 1, 8, 1, len(pixels), 0, 0, 2, 0),
    )
    assert open_image(head + palette + pixels).getpixel((1, 0)) == (255, 0, 0)


def test_scans_as_programs_write_them_are_no_bomb() -> None:
    assert open_image(scan_bomb(100, 40)).size == (100, 100)
    assert open_image(saved("JPEG", progressive=True)).size == (40, 30)


@pytest.mark.parametrize("exif", BROKEN_EXIF)
def test_broken_exif_costs_no_picture(exif: bytes) -> None:
    assert open_image(small_png(png_chunk(b"eXIf", exif))).size == (20, 20)
    assert open_image(jpeg(segment(0xE1, b"Exif\0\0" + exif))).size == (40, 30)
    assert open_image(webp_with_exif(exif)).size == (40, 30)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
@pytest.mark.parametrize("kind", [2, 3, 5])
def test_an_orientation_that_is_none_turns_nothing(kind: int, orientation: int) -> None:
    exif = tags([(0x0112, kind, 1, orientation)])
    assert open_image(jpeg(segment(0xE1, b"Exif\0\0" + exif))).size == (40, 30)


def test_long_exif_still_turns_the_picture() -> None:
    thumbnail = bytes(MAX_EXIF - 100)
    exif = tags([(0x0112, 3, 1, 6), (0x9C9B, 7, len(thumbnail), 50)], bytes(12) + thumbnail)
    assert len(exif) <= MAX_EXIF
    assert open_image(jpeg(segment(0xE1, b"Exif\0\0" + exif[:65_000]))).size == (30, 40)
    assert open_image(saved("PNG", exif=b"Exif\0\0" + exif)).size == (30, 40)


@pytest.mark.parametrize(
    "data", [b"II*\0" + b"\xff" * 60, b"MM\0*\0\0\0\x08\xff\xff", b"II+\0" + bytes(40), b"II*\0"]
)
def test_tags_that_are_cut_off_are_left_to_the_reader(data: bytes) -> None:
    check_tags(data)
    with pytest.raises(ImageError):
        open_image(data)


def test_what_lies_on_white_is_mixed_exactly() -> None:
    colours, alphas = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([colours, colours, colours, alphas], axis=-1).astype(np.uint8)
    seen = np.asarray(open_image(Image.fromarray(pixels)))[..., 0]
    exact = (colours * alphas + 255 * (255 - alphas)) / 255
    assert np.abs(seen - exact).max() <= 0.5


def test_little_memory_is_said_to_be_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    image = Image.new("RGB", (20, 20))
    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(ImageError, match="not enough memory"):
        open_image(image)


def test_a_strangers_file_writes_nothing_into_the_log() -> None:
    claimed = png((12_000, 9_000), zlib.compress(bytes(9)))
    odd = jpeg(segment(0xE1, b"Exif\0\0" + b"II*\0\x08\0\0\0\x09\0" + b"\x01" * 40))
    lowest = float_tiff(np.full((20, 30), -3e38))
    samples = tiff((277, 3, 1, 65_535))
    program = (
        "import sys\nfrom clip_core import ImageError, open_image\n"
        f"for data in ({claimed!r}, {odd!r}, {lowest!r}, {samples!r}):\n"
        "    try:\n        open_image(data)\n    except ImageError:\n        pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_no_format_that_is_not_listed_is_read() -> None:
    for form in ("PPM", "ICO", "TGA", "PCX", "DDS", "SGI", "JPEG2000"):
        assert form not in FORMATS
        with pytest.raises(ImageError, match="not a picture that can be read"):
            open_image(saved(form))
    assert PNG_START in small_png()
