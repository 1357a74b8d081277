"""Pictures: a person's file -> an RGB picture -> the tensor a model takes.

`preprocess` is the reference transform (openai/CLIP, `clip.py`) and touches nothing but RGB
pictures' pixels; `open_image` stands before it and copes with what people's cameras, phones and
programs write. The two are apart so that the transform stays the reference's bit for bit.

`squares` and `to_pixels` are the same transform in two steps, bit for bit too, without torchvision:
importing that takes three seconds, which the page's first answer would wait for. Processes that
read pictures need not even torch for `open_image` and `squares`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.transforms import Compose

# The mean and standard deviation of CLIP's training pictures, for red, green and blue in 0..1, as
# published in openai/CLIP, clip.py.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# How a picture that is no square becomes what the model sees, and how many squares "crops" takes.
FRAMINGS = ("crop", "pad", "squash", "crops")
CROPS = 5


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


def _scale_short_side(image: Image.Image, pixels: int) -> Image.Image:
    """PIL picture -> the same with a short side of so many pixels."""
    short = min(image.size)
    width, height = (pixels if side == short else int(pixels * side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _to_rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")
