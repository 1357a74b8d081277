"""What the locked image tower sees in every training picture, computed once."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from clip_core.efficientnet import EfficientNetLite
from clip_core.images.decode import open_image
from clip_core.preprocess import preprocess, squares

from .drawings import drawings
from .pictures import LARGEST, clip_art, emoji, views

BATCH = 4  # larger batches leave the processor's caches and are slower


@dataclass(frozen=True)
class Pairs:
    """Pictures with names. pooled: [N, 1280] float16; logits: [N, 1000] float16; names: best first.

    source: "drawing", "emoji" or "clip art" of each picture.
    """

    pooled: Tensor
    logits: Tensor
    names: list[list[str]]
    source: list[str]


@torch.inference_mode()
def look(
    tower: EfficientNetLite, pictures: Iterable[Image.Image], show: str = ""
) -> tuple[Tensor, Tensor]:
    """Pooled features [N, 1280] and ImageNet logits [N, 1000], float16, of RGB pictures."""
    transform = preprocess(tower.input_resolution)
    pooled, logits = [], []
    tower = tower.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    progress = tqdm(desc=show, disable=not show, unit="picture")
    with ThreadPoolExecutor(1) as reader:  # the next batch is read while this one is looked at
        stream = iter(pictures)

        def read() -> Tensor | None:
            batch = [transform(picture) for picture in islice(stream, BATCH)]
            return torch.stack(batch) if batch else None

        coming = reader.submit(read)
        while (batch := coming.result()) is not None:
            coming = reader.submit(read)
            seen, classes = tower.classify(batch)
            pooled.append(seen.half())
            logits.append(classes.half())
            progress.update(len(batch))
    progress.close()
    return torch.cat(pooled), torch.cat(logits)


def look_at_pairs(
    tower: EfficientNetLite, packages: Path, common: list[str], known: set[str], seed: int = 1
) -> Pairs:
    """Features of all training pictures: drawings, emoji, clip art."""
    names: list[list[str]] = []
    source: list[str] = []
    r = random.Random(seed)

    def stream() -> Iterator[Image.Image]:
        for image, called in drawings(seed, 80, common, packages / "fonts-dejavu-core"):
            names.append(called)
            source.append("drawing")
            yield image
        for picture, name in emoji(packages / "fonts-noto-color-emoji"):
            for view in views(picture, 2, r, margin=(1.1, 2.0)):
                names.append([name, f"{name} emoji"])
                source.append("emoji")
                yield view
        for path, called in clip_art(packages / "openclipart-png", known, r):
            try:
                with Image.open(path) as opened:
                    if max(opened.size) > LARGEST:
                        continue
                    picture = opened.convert("RGBA")
            except (OSError, Image.DecompressionBombError):  # broken, or a poster
                continue
            for view in views(picture, 2, r):
                names.append(called)
                source.append("clip art")
                yield view

    pooled, logits = look(tower, stream(), show="training pictures")
    return Pairs(pooled, logits, names, source)


def look_at_files(
    tower: EfficientNetLite, paths: list[Path], framing: str, show: str
) -> tuple[Tensor, Tensor]:
    """Features of picture files, opened as the page opens them and made square in one way."""
    pictures = (open_image(path) for path in paths)
    return look(tower, (squares(p, tower.input_resolution, framing)[0] for p in pictures), show)
