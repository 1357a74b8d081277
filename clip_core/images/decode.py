"""Image files of strangers -> upright RGB images, or one sentence on what is wrong."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError

from clip_core.errors import ImageError

from .bombs import (
    BombError,
    GuardedFile,
    check_scans,
    check_tags,
    ignore_long_exif,
    leave_groups_unread,
)

pillow_heif.register_heif_opener()
ignore_long_exif()
# MAX_PIXELS is the limit here; and what is odd about a stranger's file doesn't belong in our log
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


# What a picture may be. A list, so that no other decoder ever sees a stranger's bytes.
# JPEG covers MPO, which phones write.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP")


MAX_PIXELS = 120_000_000  # the largest phone sensor in common use gives 108 million


MAX_SIDES_RATIO = 50  # the short side is scaled up to the model's: longer strips would fill memory


BOMB = "This file asks for far more memory or time than its picture needs: save the picture anew."


NO_MEMORY = "There is not enough memory to open this picture: scale it down first."


# EXIF's orientation, and what makes a picture upright that was stored so
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(source: str | Path | bytes | Image.Image) -> Image.Image:
    """A file's path, its bytes, or an open picture -> an upright RGB picture.

    EXIF orientation is applied, transparency laid on white, CMYK, palette, grey and 16-bit pictures
    become 8-bit RGB, and of an animation the first frame is taken. Reads the formats in `FORMATS`,
    known by content and not by name.

    Raises ImageError, with one sentence, for a file that is missing, broken, of another kind, above
    `MAX_PIXELS`, a strip longer than `MAX_SIDES_RATIO` times its width, or a bomb (`bombs.py`).
    """
    if isinstance(source, Image.Image):
        return _decode(source)
    data = read_file(source)
    try:
        check_tags(data)
        file = GuardedFile(data)
        image = Image.open(file, formats=FORMATS)
        if image.format in ("JPEG", "MPO"):
            check_scans(data)
        elif image.format == "TIFF":
            leave_groups_unread(image)
        file.begin_pixels()
    except BombError as error:
        raise ImageError(BOMB) from error
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            "This file is not a picture that can be read here, or it is broken: "
            "use JPEG, PNG, WebP, GIF, AVIF, HEIC, TIFF or BMP."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large()) from error
    except Exception as error:  # decoders raise whatever comes to hand on broken bytes
        raise ImageError("This picture is broken and can't be opened.") from error
    return _decode(image)


def read_file(source: str | Path | bytes) -> bytes:
    """A picture file's bytes, unopened. Raises ImageError when there are none."""
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {str(source)!r}.") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"The file {str(source)!r} can't be read.") from error
    if not data:
        raise ImageError("This file is empty; choose another picture.")
    return data


def _decode(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height} pixels"))
    if max(width, height) > MAX_SIDES_RATIO * min(width, height):
        raise ImageError(
            f"This picture is a strip of {width} x {height} pixels: crop it so that its long side "
            f"is at most {MAX_SIDES_RATIO} times its short side."
        )
    try:
        image.load()
        return _flatten(_turn_upright(image))
    except BombError as error:
        raise ImageError(BOMB) from error
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    except Exception as error:  # as above: a truncated file shows only when its pixels are read
        raise ImageError("This picture is broken: its data end early or make no sense.") from error


def _turn_upright(image: Image.Image) -> Image.Image:
    """As EXIF says; as it is, uncopied, where EXIF says nothing."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF says nothing, and the pixels are sound all the same
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode that Pillow decodes to -> RGB, with white under what is transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image)
        return ground
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey -> 8-bit grey; Pillow itself would clip them to white."""
    values = np.array(image, dtype=np.float32)  # and all else in place: these may be 120 million
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    np.maximum(values, 0, out=values)  # black; multiplied, the lowest would overflow
    if image.mode.startswith("I;16") or values.max() > 255:
        values /= 257  # 65535 / 255
    elif image.mode == "F" and values.max() <= 1:
        values *= 255
    np.minimum(values.round(out=values), 255, out=values)
    return Image.fromarray(values.astype(np.uint8))


def _too_large(size: str = "too many pixels") -> str:
    return (
        f"This picture has {size}; at most {MAX_PIXELS // 1_000_000} million can be read: "
        "scale it down first."
    )
