"""Pictures: a person's file -> an RGB picture -> the tensor a model takes.

`preprocess` is the reference transform (openai/CLIP, `clip.py`) and touches nothing but RGB
pictures' pixels; `open_image` stands before it and copes with what people's cameras, phones and
programs write. The two are apart so that the transform stays the reference's bit for bit.

`squares` and `to_pixels` are the same transform in two steps, bit for bit too, without torchvision:
importing that takes three seconds, which the page's first answer would wait for. Processes that
read pictures need not even torch for `open_image` and `squares`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

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

pillow_heif.register_heif_opener()


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
    `MAX_PIXELS`, or a strip longer than `MAX_SIDES_RATIO` times its width.
    """
    if isinstance(source, Image.Image):
        return _decode(source)
    try:
        image = Image.open(io.BytesIO(read_file(source)), formats=FORMATS)
    except ImageError:
        raise
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
        return _flatten(ImageOps.exif_transpose(image))
    except Exception as error:  # as above: a truncated file shows only when its pixels are read
        raise ImageError("This picture is broken: its data end early or make no sense.") from error


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode that Pillow decodes to -> RGB, with white under what is transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey -> 8-bit grey; Pillow itself would clip them to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16") or values.max() > 255:
        values = values / 257  # 65535 / 255
    elif image.mode == "F" and values.max() <= 1:
        values = values * 255
    return Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))


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
