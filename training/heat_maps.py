"""Prints the table of docs/heat-maps.md: `python -m training.heat_maps`.

Held-out pictures (heldout.py) that the model names rightly are set side by side, in 2 x 2 and in
3 x 3 grids, no two with one label. The labels of the parts are asked; a map is right when its mean
is highest on its label's part.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clip_core import ZeroShotClassifier
from clip_core.explain.heatmap import encode_places
from clip_core.images.decode import open_image
from clip_core.model import CLIP
from clip_core.preprocess import center_square

from .evaluate import say
from .heldout import Picture, gcompris, stamps, unpack_gcompris
from .packages import HELD_OUT, fetch

TEMPLATE = "a photo of a {}."
GRIDS = {"pairs": (1, 2), "2 x 2": (2, 2), "3 x 3": (3, 3)}
SEED = 5
OCCLUDED = 9  # places a side; each hides a square of two by two of them
BATCH = 27

Method = Callable[[CLIP, Tensor, Tensor], Tensor]  # model, pixels [1, 3, H, W], texts [labels, D]


def less_others(maps: Tensor) -> Tensor:
    """Each map [labels, h, w] less the mean of the others."""
    return maps - (maps.sum(dim=0) - maps) / (len(maps) - 1)


@torch.inference_mode()
def dense(model: CLIP, pixels: Tensor, texts: Tensor, scale: float = 1.0) -> Tensor:
    """Each place of the last grid through the head, from the picture scaled so many times."""
    if scale != 1:
        pixels = F.interpolate(pixels, scale_factor=scale, mode="bicubic", align_corners=False)
    tower = model.visual
    places = tower.features(pixels).permute(0, 2, 3, 1)
    features = F.normalize(tower.embed(places, tower.classifier(places)), dim=-1)
    return torch.einsum("hwd,ld->lhw", features[0], texts)


@torch.inference_mode()
def shipped(model: CLIP, pixels: Tensor, texts: Tensor) -> Tensor:
    """What `clip_core.heat_maps` does."""
    features = F.normalize(encode_places(model.visual, pixels)[0].float(), dim=-1)
    return less_others(torch.einsum("hwd,ld->lhw", features, texts))


def gradient(model: CLIP, pixels: Tensor, texts: Tensor, pooled: bool = False) -> Tensor:
    """Gradient of the cosine times activation, summed over channels; pooled: Grad-CAM's weights."""
    with torch.no_grad():
        grid = model.visual.features(pixels)
    grid.requires_grad_()
    mean = grid.mean(dim=(2, 3))
    image = F.normalize(model.visual.embed(mean, model.visual.classifier(mean)), dim=-1)[0]
    maps = []
    for text in texts.clone():
        (slope,) = torch.autograd.grad(image @ text, grid, retain_graph=True)
        if pooled:
            maps.append(F.relu((slope.mean(dim=(2, 3), keepdim=True) * grid).sum(dim=1)[0]))
        else:
            maps.append((slope * grid).sum(dim=1)[0])
    return torch.stack(maps).detach()


@torch.inference_mode()
def occlusion(model: CLIP, pixels: Tensor, texts: Tensor) -> Tensor:
    """How much the cosine falls when a part is hidden by the mean colour: the slow oracle."""
    cell = pixels.shape[-1] / OCCLUDED
    edges = [(max(int((i - 0.5) * cell), 0), int((i + 1.5) * cell)) for i in range(OCCLUDED)]
    hidden = pixels.repeat(OCCLUDED**2, 1, 1, 1)
    for number, square in enumerate(hidden):
        top, left = edges[number // OCCLUDED], edges[number % OCCLUDED]
        square[:, slice(*top), slice(*left)] = 0
    seen = [
        F.normalize(model.encode_image(some), dim=-1) for some in (pixels, *hidden.split(BATCH))
    ]
    cosines = torch.cat(seen) @ texts.T
    return (cosines[0] - cosines[1:]).T.unflatten(1, (OCCLUDED, OCCLUDED))


def subtracted(method: Method, model: CLIP, pixels: Tensor, texts: Tensor) -> Tensor:
    return less_others(method(model, pixels, texts))


METHODS: dict[str, Method] = {
    "dense": dense,
    "dense, less the others": partial(subtracted, dense),
    "dense at 1.5 times, less the others": partial(subtracted, partial(dense, scale=1.5)),
    "dense at twice, less the others": partial(subtracted, partial(dense, scale=2.0)),
    "gradient x activation": gradient,
    "gradient x activation, less the others": partial(subtracted, gradient),
    "Grad-CAM": partial(gradient, pooled=True),
    "occlusion": occlusion,
    "occlusion, less the others": partial(subtracted, occlusion),
    "clip_core.heat_maps": shipped,
}


def compose(parts: list[Image.Image], rows: int, columns: int, side: int) -> Image.Image:
    """Parts in a grid on white, each a square in the middle of its cell."""
    sheet = Image.new("RGB", (side, side), "white")
    size = side // max(rows, columns)
    width, height = side // columns, side // rows
    for i, part in enumerate(parts):
        corner = (
            i % columns * width + (width - size) // 2,
            i // columns * height + (height - size) // 2,
        )
        sheet.paste(part.resize((size, size), Image.Resampling.BICUBIC), corner)
    return sheet


def part_means(maps: Tensor, rows: int, columns: int, side: int) -> Tensor:
    """Maps [labels, h, w] -> their means on each part, [labels, rows x columns]."""
    whole = F.interpolate(maps[None], size=(side, side), mode="bilinear", align_corners=False)[0]
    tall, wide = side // rows, side // columns
    cut = whole[:, : tall * rows, : wide * columns]
    return cut.unflatten(1, (rows, tall)).unflatten(3, (columns, wide)).mean(dim=(2, 4)).flatten(1)


def measure(
    classifier: ZeroShotClassifier, pictures: list[Picture], methods: dict[str, Method]
) -> None:
    """Prints, for each grid and method, how many maps are right, and the median time."""
    labels = sorted({picture.label for picture in pictures})
    texts = say(classifier.model, [TEMPLATE.replace("{}", label) for label in labels])
    side = classifier.input_resolution
    squares = [center_square(open_image(picture.path), side) for picture in pictures]
    features = torch.stack([classifier.image_features(square) for square in squares])
    answers = (features @ texts.T).argmax(dim=1).tolist()
    right = [i for i, best in enumerate(answers) if labels[best] == pictures[i].label]
    print(f"{len(right)} of {len(pictures)} pictures are named rightly")
    for name, (rows, columns) in GRIDS.items():
        r = random.Random(SEED)
        hits, times = dict.fromkeys(methods, 0), {method: [0.0] * 0 for method in methods}
        for first in right:
            chosen = [first]
            for other in r.sample(right, len(right)):
                if pictures[other].label not in {pictures[i].label for i in chosen}:
                    chosen.append(other)
                if len(chosen) == rows * columns:
                    break
            r.shuffle(chosen)
            sheet = compose([squares[i] for i in chosen], rows, columns, side)
            pixels = classifier.pixels(sheet)
            asked = texts[[labels.index(pictures[i].label) for i in chosen]]
            for method, run in methods.items():
                started = time.perf_counter()
                maps = run(classifier.model, pixels, asked)
                times[method].append(time.perf_counter() - started)
                best = part_means(maps, rows, columns, side).argmax(dim=1)
                hits[method] += int((best == torch.arange(rows * columns)).sum())
        for method, count in hits.items():
            total = len(right) * rows * columns
            took = 1000 * float(np.median(times[method]))
            print(f"| {name} | {method} | {100 * count / total:.1f} % of {total} | {took:.0f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures heat maps on pictures never trained on.")
    parser.add_argument("--work", type=Path, default=Path("training/build"), help="the work folder")
    parser.add_argument("--quick", action="store_true", help="without occlusion, which is slow")
    arguments = parser.parse_args()
    packages = arguments.work / "packages"
    folders = [fetch(package, packages) for package in HELD_OUT]
    activities = unpack_gcompris(folders[0], arguments.work / "gcompris")
    methods = {
        name: method
        for name, method in METHODS.items()
        if not (arguments.quick and "occlusion" in name)
    }
    classifier = ZeroShotClassifier("bundled", device="cpu")
    for key, pictures in {"gcompris": gcompris(activities), "stamps": stamps(folders[1])}.items():
        print(f"\n{key}: ", end="")
        measure(classifier, pictures, methods)


if __name__ == "__main__":
    main()
