"""Prints the table of squares in the model card: `python -m training.squares`.

Held-out pictures (heldout.py) that are tall or wide, made square in each of the ways of
`clip_core.preprocess.FRAMINGS`; the difference to the centre crop is taken picture by picture.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from clip_core import ZeroShotClassifier, open_image
from clip_core.preprocess import FRAMINGS

from .evaluate import say
from .export import DEFAULT_TEMPLATE
from .heldout import Picture, gcompris, half, stamps, unpack_gcompris
from .measures import twenty_ways
from .packages import HELD_OUT, fetch

OBLONG = 1.2  # the long side is more than so many times the short one


def measure(classifier: ZeroShotClassifier, name: str, pictures: list[Picture]) -> None:
    """Prints a row of the table for each framing and part of a collection."""
    labels = sorted({picture.label for picture in pictures})
    texts = say(classifier.model, [DEFAULT_TEMPLATE.replace("{}", label) for label in labels])
    right = torch.tensor([labels.index(picture.label) for picture in pictures])
    sizes = [open_image(picture.path).size for picture in pictures]
    oblong = np.array([max(size) > OBLONG * min(size) for size in sizes])
    halves = np.array([half(picture) for picture in pictures])
    parts = {
        "all": np.full(len(pictures), True),
        "oblong": oblong,
        "oblong, choose": oblong & (halves == "choose"),
        "oblong, report": oblong & (halves == "report"),
    }
    won: dict[str, np.ndarray] = {}
    for framing in FRAMINGS:
        features = torch.stack([classifier.image_features(p.path, framing) for p in pictures])
        answers = twenty_ways(features @ texts.T, right).argmax(-1) == 0
        won[framing] = 100 * answers.float().mean(1).numpy()
        for part, rows in parts.items():
            lead = won[framing][rows] - won["crop"][rows]
            error = lead.std(ddof=1) / math.sqrt(len(lead))
            print(
                f"| {name}, {part} ({len(lead)}) | {framing} | {won[framing][rows].mean():.1f} "
                f"| {lead.mean():+.1f} ± {error:.1f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the ways to make a picture square.")
    parser.add_argument("--work", type=Path, default=Path("training/build"), help="the work folder")
    arguments = parser.parse_args()
    folders = [fetch(package, arguments.work / "packages") for package in HELD_OUT]
    activities = unpack_gcompris(folders[0], arguments.work / "gcompris")
    classifier = ZeroShotClassifier("bundled", device="cpu")
    print("| pictures | square | 20-way | lead over crop |\n|---|---|---|---|")
    measure(classifier, "gcompris", gcompris(activities))
    measure(classifier, "stamps", stamps(folders[1]))


if __name__ == "__main__":
    main()
