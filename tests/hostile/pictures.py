"""Picture files made to do harm: small sound ones in every format, changed; and `crafted.py`'s."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pillow_heif
from PIL import Image, ImageDraw

from tests.hostile.crafted import crafted, png_chunk

CRAFTED_SHARE = 0.12  # of the pictures; some of these take a second each
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 400  # bytes: where a file's sizes and counts mostly stand

Mutation = Callable[[random.Random, bytes], bytes]


def pictures(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many files, the same for the same seed: what was done to which, and the bytes."""
    for number in range(count):
        yield picture(seed, number)


def picture(seed: int, number: int) -> tuple[str, bytes]:
    """One of `pictures`, by its number. The description's part before the colon is its kind."""
    rng = random.Random(f"picture {seed} {number}")
    if rng.random() < CRAFTED_SHARE:
        return crafted(rng)
    name, data = rng.choice(sound_files())
    kind = rng.choice(list(MUTATIONS))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = MUTATIONS[kind](rng, data)
    return f"{kind}: {name}", data


@cache
def sound_files() -> tuple[tuple[str, bytes], ...]:
    """Small files that open, in every allowed format: a name, and the bytes."""
    colours = _drawing("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue")]
    many = {"save_all": True, "append_images": frames, "duration": 40}
    floats = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    floats[3:6] = np.nan
    sixteen = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    wanted: list[tuple[str, Image.Image, str, dict[str, object]]] = [
        ("JPEG", colours, "JPEG", {"exif": exif, "icc_profile": bytes(300)}),
        ("progressive JPEG", colours, "JPEG", {"progressive": True}),
        ("grey JPEG", _drawing("L"), "JPEG", {}),
        ("CMYK JPEG", _drawing("CMYK"), "JPEG", {}),
        ("MPO", colours, "MPO", {"save_all": True, "append_images": frames}),
        ("PNG", colours, "PNG", {"exif": exif, "icc_profile": bytes(300)}),
        ("palette PNG", _drawing("P"), "PNG", {"transparency": 3}),
        ("transparent PNG", _drawing("RGBA"), "PNG", {}),
        ("16-bit PNG", sixteen, "PNG", {}),
        ("1-bit PNG", _drawing("1"), "PNG", {}),
        ("animated PNG", colours, "PNG", many),
        ("WebP", colours, "WEBP", {"exif": exif}),
        ("transparent WebP", _drawing("RGBA"), "WEBP", {"lossless": True}),
        ("animated WebP", colours, "WEBP", many),
        ("GIF", _drawing("P"), "GIF", {"comment": b"a picture", "transparency": 2}),
        ("animated GIF", colours, "GIF", many),
        ("AVIF", colours, "AVIF", {"exif": exif}),
        ("transparent AVIF", _drawing("RGBA"), "AVIF", {}),
        ("HEIF", _drawing("RGB", (64, 64)), "HEIF", {}),
        ("TIFF", colours, "TIFF", {"exif": exif}),
        ("TIFF with floats", Image.fromarray(floats), "TIFF", {}),
        ("16-bit TIFF", sixteen, "TIFF", {}),
        ("CMYK TIFF", _drawing("CMYK"), "TIFF", {}),
        ("fax TIFF", _drawing("1"), "TIFF", {"compression": "group4"}),
        ("several TIFFs", colours, "TIFF", {"save_all": True, "append_images": [colours.copy()]}),
        *(
            (f"TIFF by {packing}", colours, "TIFF", {"compression": packing})
            for packing in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ),
        ("big TIFF", colours, "TIFF", {"big_tiff": True}),
        ("BMP", colours, "BMP", {}),
        ("palette BMP", _drawing("P"), "BMP", {}),
    ]
    return tuple((name, _saved(*how)) for name, *how in wanted)


def _drawing(mode: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    image = Image.linear_gradient("L").resize(size).convert("RGBA")
    ImageDraw.Draw(image).ellipse((5, 5, 25, 25), fill=(200, 40, 40, 120))
    return image.convert("RGB").convert(mode) if mode in ("CMYK", "P", "1") else image.convert(mode)


def _saved(image: Image.Image, form: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    if form == "HEIF":
        pillow_heif.from_pillow(image).save(buffer, quality=60)
    else:
        # A copy, since saving as JPEG leaves settings in a picture that saving as TIFF trips over
        image.copy().save(buffer, form, **options)
    return buffer.getvalue()


def flip_bytes(rng: random.Random, data: bytes) -> bytes:
    """Up to eight bytes changed, half of the time near the start."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[_place(rng, data)] = rng.randrange(256)
    return bytes(changed)


def edit_numbers(rng: random.Random, data: bytes) -> bytes:
    """An extreme value where a length, a size or a count may stand."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    value = (rng.choice(EXTREMES) + rng.choice((0, 0, -1, 1))) % (1 << (8 * width))
    place = _place(rng, data)
    return data[:place] + value.to_bytes(width, order) + data[place + width :]


def delete_block(rng: random.Random, data: bytes) -> bytes:
    """A piece taken out."""
    start, end = _piece(rng, data)
    return data[:start] + data[end:]


def double_block(rng: random.Random, data: bytes) -> bytes:
    """A piece repeated, at times very often."""
    start, end = _piece(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 50, 2000)) + data[end:]


def swap_blocks(rng: random.Random, data: bytes) -> bytes:
    """Two pieces that change places: chunks, where the format has them."""
    parts = png_chunks(data)
    if len(parts) > 3:
        one, other = (rng.randrange(len(parts)) for _ in range(2))
        parts[one], parts[other] = parts[other], parts[one]
        return b"".join(parts)
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def change_chunk(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed within a PNG's chunk whose checksum is right again; elsewhere bytes changed."""
    parts = png_chunks(data)
    if not parts:
        return flip_bytes(rng, data)
    place = rng.randrange(1, len(parts))
    body = parts[place][4:-4]
    body = body[:4] + flip_bytes(rng, body[4:]) if len(body) > 4 else body
    parts[place] = png_chunk(body[:4], body[4:])
    return b"".join(parts)


def truncate(rng: random.Random, data: bytes) -> bytes:
    """A file that ends early."""
    return data[: rng.randrange(len(data) + 1)]


def splice(rng: random.Random, data: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    _, other = rng.choice(sound_files())
    return data[: _place(rng, data)] + other[rng.randrange(len(other)) :]


def append(rng: random.Random, data: bytes) -> bytes:
    """A file with another behind it, or with a page or an archive: it is two things at once."""
    _, other = rng.choice(sound_files())
    return data + rng.choice((other, b"<script>alert(1)</script>", b"PK\x03\x04" + bytes(40)))


MUTATIONS: dict[str, Mutation] = {
    "untouched": lambda rng, data: data,
    "bytes flipped": flip_bytes,
    "numbers edited": edit_numbers,
    "block deleted": delete_block,
    "block doubled": double_block,
    "blocks swapped": swap_blocks,
    "chunk changed": change_chunk,
    "truncated": truncate,
    "spliced": splice,
    "polyglot": append,
}


def png_chunks(data: bytes) -> list[bytes]:
    """A PNG's signature and its chunks; nothing for another file."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return []
    parts, place = [data[:8]], 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4].ljust(4, b"\0"))
        parts.append(data[place : place + 12 + length])
        place += 12 + length
    return parts


def _place(rng: random.Random, data: bytes) -> int:
    if not data:
        return 0
    return rng.randrange(min(len(data), HEAD) if rng.random() < 0.5 else len(data))


def _piece(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(rng, data)
    return start, min(len(data), start + rng.choice((1, 4, 12, 60, 400)))
