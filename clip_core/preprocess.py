"""Pictures: a person's file -> an RGB picture -> the tensor a model takes.

`preprocess` is the reference transform (openai/CLIP, `clip.py`) and touches nothing but RGB
pictures' pixels; `open_image` stands before it and copes with what people's cameras, phones and
programs write. The two are apart so that the transform stays the reference's bit for bit.

`squares` and `to_pixels` are the same transform in two steps, bit for bit too, without torchvision:
importing that takes three seconds, which the page's first answer would wait for. Processes that
read pictures need not even torch for `open_image` and `squares`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from .bombs import (
    BombError,
    GuardedFile,
    check_scans,
    check_tags,
    ignore_long_exif,
    leave_groups_unread,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.transforms import Compose

# The mean and standard deviation of CLIP's training pictures, for red, green and blue in 0..1, as
# published in openai/CLIP, clip.py.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# What a picture may be. A list, so that no other decoder ever sees a stranger's bytes.
# JPEG covers MPO, which phones write.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP")
MAX_PIXELS = 120_000_000  # the largest phone sensor in common use gives 108 million
# How a picture that is no square becomes what the model sees, and how many squares "crops" takes.
FRAMINGS = ("crop", "pad", "squash", "crops")
CROPS = 5
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

pillow_heif.register_heif_opener()
ignore_long_exif()
# MAX_PIXELS is the limit here; and what is odd about a stranger's file doesn't belong in our log
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


class ImageError(ValueError):
    """A picture can't be used; the message is one sentence for the person who chose it."""


def center_square(image: Image.Image, input_resolution: int) -> Image.Image:
    """PIL picture -> the RGB square, input_resolution pixels a side, that the model sees."""
    scaled = _scale_short_side(image, input_resolution)
    left, top = (round((side - input_resolution) / 2) for side in scaled.size)
    box = (left, top, left + input_resolution, top + input_resolution)
    return scaled.crop(box).convert("RGB")


def squares(image: Image.Image, input_resolution: int, framing: str = "crop") -> list[Image.Image]:
    """An RGB picture -> the RGB squares, input_resolution pixels a side, that stand for it.

    framing, one of `FRAMINGS`: "crop", the reference's centre square; "pad", the whole picture
    scaled to fit, on the mean colour of CLIP's training pictures; "squash", the whole picture with
    its sides made equal; "crops", `CROPS` squares spread evenly along the long side, whose features
    are to be averaged (one, of a picture that is square). Raises ValueError for another framing.
    """
    size = (input_resolution, input_resolution)
    if framing == "crop":
        return [center_square(image, input_resolution)]
    if framing == "pad":
        ground = tuple(round(255 * mean) for mean in MEAN)
        return [ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=ground)]
    if framing == "squash":
        return [image.resize(size, Image.Resampling.BICUBIC)]
    if framing != "crops":
        raise ValueError(f"There is no framing {framing!r}: choose one of {', '.join(FRAMINGS)}.")
    if image.width == image.height:
        return [center_square(image, input_resolution)]
    scaled = _scale_short_side(image, input_resolution)
    over = (scaled.width - input_resolution, scaled.height - input_resolution)
    return [
        scaled.crop((x, y, x + input_resolution, y + input_resolution))
        for x, y in (
            (round(over[0] * i / (CROPS - 1)), round(over[1] * i / (CROPS - 1)))
            for i in range(CROPS)
        )
    ]


def preprocess(
    input_resolution: int, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Compose:
    """The reference transform: PIL picture -> float32 [3, input_resolution, input_resolution].

    Bicubic resize of the short side, centre crop, RGB, 0..1, then `mean` and `std`.
    """
    from torchvision import transforms as v  # noqa: PLC0415  (slow to import: see above)

    return v.Compose(
        [
            v.Resize(input_resolution, interpolation=v.InterpolationMode.BICUBIC),
            v.CenterCrop(input_resolution),
            _to_rgb,
            v.ToTensor(),
            v.Normalize(mean, std),
        ]
    )


def to_pixels(squares: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """Squares, uint8 [N, S, S, 3], as `squares` gives them -> float32 [N, 3, S, S] for the model.

    On the squares' device, where they are a quarter of the size to bring.
    """
    pixels = squares.permute(0, 3, 1, 2).float().div_(255)
    shift, scale = (pixels.new_tensor(each)[:, None, None] for each in (mean, std))
    return pixels.contiguous().sub_(shift).div_(scale)


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


def _scale_short_side(image: Image.Image, pixels: int) -> Image.Image:
    """PIL picture -> the same with a short side of so many pixels."""
    short = min(image.size)
    width, height = (pixels if side == short else int(pixels * side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _to_rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _too_large(size: str = "too many pixels") -> str:
    return (
        f"This picture has {size}; at most {MAX_PIXELS // 1_000_000} million can be read: "
        "scale it down first."
    )
