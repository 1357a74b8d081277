"""Files made to take hours or fill memory before a picture's first pixel is there.

Pillow bounds how many pixels a picture may have, but not what its readers do for the rest of a
file: they hold each tag of a TIFF or of EXIF by itself, though thousands may claim the same bytes;
they go over all pixels once for each scan of a JPEG; and they join a GIF's comment piece by piece.
A few megabytes then cost gigabytes or minutes. What is refused here no camera and no program
writes.
"""

from __future__ import annotations

import io
import re
import struct

from PIL import ExifTags, Image

MAX_READS = 10_000  # before the first pixel; a picture with much beside its pixels takes hundreds
# For the pixels: some seconds' worth. Most come by the kilobyte, a packed BMP's by the byte
MAX_PIXEL_READS = 3_000_000
MAX_SCANS = 64  # of a JPEG, one for each coefficient; programs write 10
MAX_STRIPS = 500_000  # of a TIFF; the largest picture in tiles of 16 x 16 pixels has as many
MAX_EXIF = 65_536  # bytes: what fits a JPEG's segment. Its tags can claim 89 MB together

_TIFF_STARTS = {b"II": "<", b"MM": ">"}
_BIG_TIFF = 43
_STRIPS = (ExifTags.Base.StripOffsets, ExifTags.Base.TileOffsets)
# Bytes of a value, by its type's number in TIFF 6.0 (1 to 13) and BigTIFF (16)
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_VALUE_BYTES[16] = 8

# A marker that a length follows, or the end of the picture
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_JPEG_SCAN, _JPEG_END = b"\xda", b"\xd9"

_load_exif = Image.Exif.load


class BombError(Exception):
    """A file asks for far more memory or time than its picture needs."""


class GuardedFile(io.BytesIO):
    """A file's bytes for a reader, which may ask for them so often and no more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises BombError when it was asked too often."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise BombError
        return super().read(size)

    def begin_pixels(self) -> None:
        """Allows the reads that the pixels take."""
        self._reads_left = MAX_PIXEL_READS


def check_tags(data: bytes) -> None:
    """Raises BombError for a TIFF whose tags are longer than its file, or with too many strips."""
    order = _TIFF_STARTS.get(data[:2])
    if order is None or len(data) < 16:
        return
    big = data[2] == _BIG_TIFF
    (place,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
    counted = struct.Struct(order + ("Q" if big else "H"))
    entry = struct.Struct(order + ("HHQ8x" if big else "HHL4x"))
    if place + counted.size > len(data):
        return
    (count,) = counted.unpack_from(data, place)
    first = place + counted.size
    last = min(first + min(count, MAX_READS) * entry.size, len(data) - entry.size + 1)
    claimed = 0
    for at in range(first, last, entry.size):
        tag, kind, values = entry.unpack_from(data, at)
        claimed += values * _VALUE_BYTES.get(kind, 0)
        if claimed > len(data) or (tag in _STRIPS and values > MAX_STRIPS):
            raise BombError


def check_scans(data: bytes) -> None:
    """Raises BombError for a JPEG that goes over its pixels more often than `MAX_SCANS` times."""
    scans = place = 0
    for _ in range(MAX_READS):
        found = _JPEG_MARKER.search(data, place)
        if found is None or found[1] == _JPEG_END:
            return
        scans += found[1] == _JPEG_SCAN
        if scans > MAX_SCANS:
            break
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise BombError


def leave_groups_unread(image: Image.Image) -> None:
    """Has a TIFF's reader leave the tags alone that other tags point to: nothing bounds them."""
    exif = image.getexif()
    for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        exif.pop(group, None)


def ignore_long_exif() -> None:
    """Has Pillow take EXIF above `MAX_EXIF` bytes for none, in this process.

    Some of its readers go through EXIF as soon as they see a file.
    """
    setattr(Image.Exif, "load", _load_short_exif)  # noqa: B010  (a method's type is no other's)


def _load_short_exif(exif: Image.Exif, data: bytes) -> None:
    if len(data) <= MAX_EXIF:
        _load_exif(exif, data)
