"""Prints the tables of "None of these" in the model card: `python -m training.none_of_these`.

Ways to score how well the best label of a list fits a held-out picture (heldout.py): how often does
a list with the right label score above one without? The parts of the way that ships were chosen on
the choosing halves, as were its threshold and its curve, which are printed for export.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_core import ZeroShotClassifier
from clip_core.evaluation.calibrate import (
    LIST_SIZE,
    LIST_SIZES,
    auroc,
    draw_lists,
    fit,
    half_of,
    list_scores,
    rates,
)
from clip_core.open_set import FIGURES, csls_score, own_background
from prompts import fill_all, find_label_set

from .export import DEFAULT_TEMPLATE
from .heldout import Picture, gcompris, stamps, unpack_gcompris
from .packages import HELD_OUT, fetch

PARTS = ("choose", "report", "whole")


def ways(
    images: Tensor, texts: Tensor, names: Tensor, prototypes: Tensor, scale: float
) -> dict[str, Tensor]:
    """A score for each picture and label, [N, M], that a list's best is taken of."""
    cosines = images @ texts.T
    seen = prototypes @ texts.T
    nouns = (scale * images @ names.T).logsumexp(dim=1, keepdim=True)
    return {
        "cosine": cosines,
        "cosine, standardised over the prototypes": (cosines - seen.mean(0)) / seen.std(0),
        "share against ImageNet's names (NegLabel)": scale * cosines
        - torch.logaddexp(scale * cosines, nouns),
        "less neighbours among ImageNet's names": csls_score(images, texts, names),
        "less neighbours among the prototypes": csls_score(images, texts, prototypes),
    }


def shares(cosines: Tensor, right: list[int], size: int, scale: float) -> list[np.ndarray]:
    """The maximum softmax (MCM), which hangs on the whole list, as `list_scores` has the rest."""
    values = scale * cosines.numpy()
    rows = np.arange(len(values))[:, None, None]
    scores = []
    for lists in draw_lists(right, values.shape[1], size):
        powers = np.exp(values[rows, lists])
        scores.append(powers.max(-1) / powers.sum(-1))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures ways to tell that no label fits.")
    parser.add_argument("--work", type=Path, default=Path("training/build"), help="the work folder")
    arguments = parser.parse_args()
    folders = [fetch(package, arguments.work / "packages") for package in HELD_OUT]
    activities = unpack_gcompris(folders[0], arguments.work / "gcompris")
    collections = {"gcompris": gcompris(activities), "stamps": stamps(folders[1])}
    classifier = ZeroShotClassifier("bundled", device="cpu")
    names = list(find_label_set("imagenet").labels)
    name_features = classifier.label_features(fill_all([DEFAULT_TEMPLATE], names))
    prototypes = own_background(classifier.model.visual)
    assert prototypes is not None
    scale = classifier.model.logit_scale.exp().item()
    scored: dict[str, dict[str, Tensor]] = {}
    right: dict[str, list[int]] = {}
    halves: dict[str, np.ndarray] = {}
    print(f"| {LIST_SIZE} labels | " + " | ".join(f"{k}, {p}" for k in collections for p in PARTS))
    for key, pictures in collections.items():
        scored[key], right[key], halves[key] = score(
            classifier, pictures, name_features, prototypes, scale
        )

    def row(name: str, scores: dict[str, list[np.ndarray]]) -> None:
        found = []
        for key, (holding, without) in scores.items():
            for part in PARTS:
                rows = (halves[key] == part) | (part == "whole")
                found.append(f"{auroc(holding[rows], without[rows]):.3f}")
        print(f"| {name} | {' | '.join(found)} |")

    row(
        "maximum softmax (MCM)",
        {k: shares(scored[k]["cosine"], right[k], LIST_SIZE, scale) for k in scored},
    )
    for way in scored["gcompris"]:
        row(way, {k: list(list_scores(scored[k][way], right[k], LIST_SIZE)) for k in scored})

    pooled: list[list[np.ndarray]] = [[], []]
    for key in scored:
        for some, scores in zip(
            pooled, list_scores(scored[key][way], right[key], LIST_SIZE), strict=True
        ):
            some.append(scores[halves[key] == "choose"])
    fitted = fit(np.concatenate(pooled[0]), np.concatenate(pooled[1]), prototypes)
    print("\n" + json.dumps({figure: round(getattr(fitted, figure), 4) for figure in FIGURES}))
    print("\n| pictures | labels | AUROC | told so, none fits | told so, one fits |")
    for key in scored:
        for size in LIST_SIZES:
            holding, without = list_scores(scored[key][way], right[key], size)
            for part in PARTS[1:]:
                rows = (halves[key] == part) | (part == "whole")
                found = rates(size, holding[rows], without[rows], fitted.threshold)
                print(
                    f"| {key}, {part} | {size} | {found.auroc:.3f} "
                    f"| {100 * found.true_rate:.0f} % | {100 * found.false_rate:.0f} % |"
                )


def score(
    classifier: ZeroShotClassifier,
    pictures: list[Picture],
    names: Tensor,
    prototypes: Tensor,
    scale: float,
) -> tuple[dict[str, Tensor], list[int], np.ndarray]:
    """Every way's scores of a collection, each picture's label by number, and its half."""
    labels = sorted({picture.label for picture in pictures})
    texts = classifier.label_features(fill_all([DEFAULT_TEMPLATE], labels))
    images = torch.stack([classifier.image_features(picture.path) for picture in pictures])
    halves = np.array([half_of(picture.label) for picture in pictures])
    right = [labels.index(picture.label) for picture in pictures]
    return ways(images, texts, names, prototypes, scale), right, halves


if __name__ == "__main__":
    main()
