"""Picture files that are built by hand: bombs, odd metadata, things that are no pictures."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
SIZES = (
    *((1, 65_000), (65_000, 1), (0, 10), (10, 0), (0, 0), (30_000, 30_000), (13_000, 10_000)),
    *((10_900, 10_900), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (16_383, 16_383), (51, 1), (50, 1)),
)
BROKEN_EXIF = (
    *(b"", b"\xff" * 30, b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"),
    *(b"Exif\0\0" * 9, b"II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\xff\xff\xff\x7f"),
)


def crafted(rng: random.Random) -> tuple[str, bytes]:
    """One of the files below: "kind: which", and its bytes."""
    kinds = list(CRAFTED)
    (kind,) = rng.choices(kinds, [0.2 if kind == "large" else 1 for kind in kinds])
    which, data = CRAFTED[kind](rng)
    return f"{kind}: {which}", data


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    size: tuple[int, int], pixels: bytes, *chunks: bytes, bits: int = 8, kind: int = 0
) -> bytes:
    """A PNG, grey unless `kind` says else, of packed pixels, with chunks before them."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0))
    return b"".join([PNG_START, head, *chunks, png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")])


def small_png(*chunks: bytes) -> bytes:
    """A sound grey PNG with these chunks before its pixels."""
    return png((20, 20), zlib.compress(bytes(21 * 20)), *chunks)


@cache
def saved(form: str, **options: object) -> bytes:
    """A small sound picture in that format."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


def jpeg(*segments: bytes) -> bytes:
    """A sound JPEG with these segments after its start."""
    data = saved("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def segment(marker: int, data: bytes) -> bytes:
    """A JPEG's segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def tags(entries: list[tuple[int, int, int, int]], rest: bytes = b"") -> bytes:
    """A TIFF, or EXIF, of entries (tag, type, count, value or place) and what lies behind them."""
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4) + rest


def tag_bomb(length: int) -> bytes:
    """Tags that each claim all of the bytes behind them."""
    count = min(60_000, length // 24)
    claimed = length - 12 * count
    return tags([(1000 + i, 7, claimed, 14 + 12 * count) for i in range(count)], bytes(claimed))


def tiff(*entries: tuple[int, int, int, int], rest: bytes = b"") -> bytes:
    """A TIFF of 20 x 20 grey pixels, uncompressed, with more entries."""
    usual = [(256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    count = len(usual) + len(entries) + (not any(entry[0] == 273 for entry in entries))
    place = 8 + 2 + 12 * count + 4
    pixels = [] if count == len(usual) + len(entries) else [(273, 4, 1, place)]
    return tags(sorted([*usual, *entries, *pixels]), bytes(400) + rest)


def webp_with_exif(exif: bytes) -> bytes:
    """A sound WebP with that EXIF."""
    return saved("WEBP", exif=b"Exif\0\0" + exif)


def scan_bomb(side: int, scans: int) -> bytes:
    """A progressive JPEG that says again and again that nothing changes in a coefficient."""
    data = progressive(side)
    start = data.rindex(b"\xff\xda")
    last = data[start:-2]
    return data[:start] + last * scans + b"\xff\xd9"


@cache
def progressive(side: int) -> bytes:
    """A progressive JPEG of one colour."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


@cache
def flat_png(kind: int, channels: int, side: int = 10_900) -> bytes:
    """As many pixels as are allowed, all of one value, in a few kilobytes."""
    packer = zlib.compressobj(1)
    rows = bytes(1 + side * channels)
    pixels = b"".join(packer.compress(rows) for _ in range(side)) + packer.flush()
    return png((side, side), pixels, kind=kind)


@cache
def flat(form: str, side: int, **options: object) -> bytes:
    """One colour in another format."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, form, **options)
    return buffer.getvalue()


def gif_comments(pieces: int) -> bytes:
    """A GIF with a comment in many pieces."""
    data = saved("GIF")
    place = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 128 else 0)  # behind the palette
    return data[:place] + b"\x21\xfe" + (b"\xff" + b"c" * 255) * pieces + b"\0" + data[place:]


def float_tiff(values: np.ndarray) -> bytes:
    """A TIFF of floats."""
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def _claims(rng: random.Random) -> tuple[str, bytes]:
    size = rng.choice(SIZES)
    if rng.random() < 0.5:
        return f"PNG of {size}", png(size, zlib.compress(bytes(100)), kind=2)
    small = tuple(side % 65_536 for side in size)
    gif = b"GIF89a" + struct.pack("<HHBBB", *small, 0, 0, 0) + b","
    return f"GIF of {small}", gif + struct.pack("<HHHHB", 0, 0, *small, 0) + b"\x02\x02\x4c\x01\0;"


def _large(rng: random.Random) -> tuple[str, bytes]:
    choices: list[tuple[str, Callable[[], bytes]]] = [
        ("grey PNG", lambda: flat_png(0, 1)),
        ("transparent PNG", lambda: flat_png(6, 4)),
        ("GIF", lambda: flat("GIF", 10_000)),
        ("WebP", lambda: flat("WEBP", 8_000, method=0)),
        ("JPEG", lambda: flat("JPEG", 10_900)),
        ("AVIF", lambda: flat("AVIF", 6_000, speed=10)),
    ]
    name, make = rng.choice(choices)
    return name, make()


def _scans(rng: random.Random) -> tuple[str, bytes]:
    scans = rng.choice((1, 40, 400, 4000))
    return f"{scans} scans", scan_bomb(rng.choice((100, 4000)), scans)


def _tag_bombs(rng: random.Random) -> tuple[str, bytes]:
    length = rng.choice((5_000, 60_000, 1_500_000))
    bomb = tag_bomb(length)
    choices = [
        ("TIFF", bomb),
        ("PNG", small_png(png_chunk(b"eXIf", bomb))),
        ("WebP", webp_with_exif(bomb[:60_000])),
        ("JPEG", jpeg(*_exif_segments(bomb))),
        ("strips", tiff((273, 4, length // 4, 200), rest=bytes(length))),
        ("repeated start", small_png(png_chunk(b"eXIf", b"Exif\0\0" * (length // 6)))),
    ]
    name, data = rng.choice(choices)
    return f"{name}, {length} bytes", data


def _exif_segments(exif: bytes) -> list[bytes]:
    pieces = [exif[i : i + 65_000] for i in range(0, len(exif), 65_000)]
    return [segment(0xE1, b"Exif\0\0" + piece) for piece in pieces]


def _metadata(rng: random.Random) -> tuple[str, bytes]:
    mega = zlib.compress(bytes(1 << 20))
    number = rng.choice((10, 300, 3000))
    choices: list[tuple[str, Callable[[], bytes]]] = [
        (
            "ICC bomb",
            lambda: small_png(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1 << 25)))),
        ),
        ("ICC of 16 MB", lambda: jpeg(*_icc_segments(250))),
        ("texts", lambda: small_png(*[png_chunk(b"zTXt", b"k\0\0" + mega)] * number)),
        ("chunks", lambda: small_png(*[png_chunk(b"teSt", b"")] * number * 10)),
        ("padding", lambda: b"\xff\xd8" + b"\xff" * 1000 * number + saved("JPEG")[2:]),
        ("junk", lambda: jpeg(segment(0xFE, b""), bytes(1000 * number))),
        ("segments", lambda: jpeg(*[segment(0xFE, b"")] * number * 100)),
        ("comments", lambda: gif_comments(number * 10)),
        ("key of Pillow's", lambda: small_png(png_chunk(b"tEXt", b"transparency\0" + b"x" * 9))),
        ("raw profile", lambda: small_png(png_chunk(b"tEXt", b"Raw profile type exif\0\n\n\nzz"))),
    ]
    name, make = rng.choice(choices)
    return name, make()


def _icc_segments(count: int) -> list[bytes]:
    start = b"ICC_PROFILE\0"
    return [segment(0xE2, start + bytes([i + 1, count]) + bytes(65_000)) for i in range(count)]


def _broken_exif(rng: random.Random) -> tuple[str, bytes]:
    orientation = rng.choice((0, 3, 6, 9, 65_535))
    exif = rng.choice((*BROKEN_EXIF, tags([(0x0112, rng.choice((2, 3, 5)), 1, orientation)])))
    choices = [
        ("PNG", small_png(png_chunk(b"eXIf", exif))),
        ("JPEG", jpeg(segment(0xE1, b"Exif\0\0" + exif))),
        ("WebP", webp_with_exif(exif)),
    ]
    return rng.choice(choices)


def _floats(rng: random.Random) -> tuple[str, bytes]:
    values = np.random.default_rng(rng.randrange(2**32)).normal(size=(20, 30))
    odd = rng.choice((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45))
    values[rng.randrange(20) :] = odd
    return str(odd), float_tiff(values)


def _animated(rng: random.Random) -> tuple[str, bytes]:
    form = rng.choice(("GIF", "WEBP", "PNG", "TIFF"))
    return form, animated(form, rng.choice((2, 40)))


@cache
def animated(form: str, count: int) -> bytes:
    """An animation of so many frames."""
    frames = [Image.new("RGB", (60, 60), (i % 256, 0, 99)) for i in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=20)
    return buffer.getvalue()


def _no_pictures(rng: random.Random) -> tuple[str, bytes]:
    things = {
        "nothing": b"",
        "one byte": b"\xff",
        "PNG's start": PNG_START,
        "JPEG's start": b"\xff\xd8\xff",
        "GIF's start": b"GIF89a",
        "WebP's start": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "TIFF's start": b"II*\0\x08\0\0\0",
        "big TIFF's start": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 8,
        "AVIF's start": b"\0\0\0\x20ftypavif" + bytes(20),
        "HEIF's start": b"\0\0\0\x20ftypheic" + bytes(20),
        "BMP's start": b"BM" + b"\xff" * 60,
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "PDF": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj",
        "a page": b"GIF89a/*<html>*/=alert(1)//<script>alert(1)</script>",
        "an archive": b"PK\x03\x04" + bytes(200),
        "a program": b"\x7fELF" + bytes(200),
        "other pictures": saved(rng.choice(("PPM", "ICO", "TGA", "PCX", "DDS", "SGI", "JPEG2000"))),
        "noise": rng.randbytes(rng.randrange(5000)),
    }
    return rng.choice(list(things.items()))


CRAFTED: dict[str, Callable[[random.Random], tuple[str, bytes]]] = {
    "size claimed": _claims,
    "large": _large,
    "many scans": _scans,
    "bomb of tags": _tag_bombs,
    "odd metadata": _metadata,
    "broken EXIF": _broken_exif,
    "odd floats": _floats,
    "animated": _animated,
    "no picture": _no_pictures,
}
