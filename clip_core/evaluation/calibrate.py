"""Calibration of "none of these" for a model, on images with known labels.

Each image is tried with lists that hold its label and with lists that don't. By a checksum of its
label it belongs to the half that the fit is chosen on, or to the half that is reported on.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import ImageError, InputError
from clip_core.open_set import OpenSetCalibration

LIST_SIZE = 5  # labels in the lists of the fit
LIST_SIZES = (1, 3, 5, 10)  # of the report, where there are enough labels
DRAWS = 10  # lists with the right label for each image, and as many without
# Share of the lists with the right label that the threshold rejects
FALSE_RATE = 0.10
LEAST_PICTURES = 15  # in each half


@dataclass(frozen=True)
class Rates:
    """How well scores separate lists without the right label from lists with it."""

    size: int  # labels in a list
    auroc: float
    true_rate: float  # share of the lists without the right label that are rejected
    false_rate: float  # share of the lists with the right label that are rejected


def half_of(label: str) -> str:
    """ "choose" or "report", by a checksum of the label: its images stay together."""
    return "choose" if zlib.crc32(label.encode()) % 2 == 0 else "report"


def find_pictures(folder: Path, suffixes: Iterable[str]) -> list[tuple[Path, str]]:
    """The images in a folder's subfolders, whose names are the labels.

    Raises InputError when there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r}.")
    known = set(suffixes)
    found = [
        (path, path.parent.name)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in known
    ]
    if not found:
        raise InputError(
            f"No pictures in {str(folder)!r}: sort them in subfolders named by their labels."
        )
    return found


def encode_pictures(
    classifier: ZeroShotClassifier, pictures: Sequence[tuple[Path, str]]
) -> tuple[Tensor, list[str]]:
    """Features [N, D] and labels of the images that can be read; the others are printed."""
    features, labels = [], []
    for path, label in pictures:
        try:
            features.append(classifier.image_features(path))
        except ImageError as error:
            print(f"{path} is left out. {error}", file=sys.stderr)
        else:
            labels.append(label)
    if not features:
        raise InputError("None of the pictures can be read.")
    return torch.stack(features), labels


def draw_lists(
    right: Sequence[int], labels: int, size: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Label numbers [images, DRAWS, size]: lists with the right label in place 0, and without.

    right: the number of each image's label, below `labels`, which must exceed `size`.
    """
    g = np.random.default_rng(seed)
    drawn = []
    for answer in right:
        others = np.delete(np.arange(labels), answer)
        drawn.append([g.choice(others, size, replace=False) for _ in range(DRAWS)])
    without = np.array(drawn)
    holding = without.copy()
    holding[..., 0] = np.asarray(right)[:, None]
    return holding, without


def list_scores(fits: Tensor, right: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The best score in each list, [images, DRAWS]: lists with the right label, and without.

    fits: [images, labels], from `csls_score`.
    """
    holding, without = draw_lists(right, fits.shape[1], size)
    values = fits.cpu().numpy()
    rows = np.arange(len(values))[:, None, None]
    return values[rows, holding].max(axis=-1), values[rows, without].max(axis=-1)


def auroc(holding: np.ndarray, without: np.ndarray) -> float:
    """How often a list with the right label scores above one without; ties count half."""
    from scipy.stats import mannwhitneyu  # noqa: PLC0415  (slow to import)

    u = mannwhitneyu(holding.ravel(), without.ravel(), method="asymptotic").statistic
    return float(u / (holding.size * without.size))


def fit(holding: np.ndarray, without: np.ndarray, background: Tensor) -> OpenSetCalibration:
    """The threshold at `FALSE_RATE`, and the logistic curve with the least cross-entropy.

    holding, without: scores of equally many lists with and without the right label.
    """
    threshold = float(np.quantile(holding, FALSE_RATE))
    scores = torch.tensor(np.concatenate([holding.ravel(), without.ravel()])).double()
    is_right = torch.cat([torch.ones(holding.size), torch.zeros(without.size)]).double()
    centre, width = scores.mean(), scores.std()
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        guess = weights[0] * (scores - centre) / width + weights[1]
        loss = F.binary_cross_entropy_with_logits(guess, is_right)
        loss.backward()
        return loss

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    slope, offset = (weights.detach() / torch.stack([width, torch.ones(())])).tolist()
    return OpenSetCalibration(threshold, slope, offset - slope * float(centre), background)


def rates(size: int, holding: np.ndarray, without: np.ndarray, threshold: float) -> Rates:
    """Rates of a threshold on scores of lists of one size, with and without the right label."""
    return Rates(
        size,
        auroc(holding, without),
        float((without < threshold).mean()),
        float((holding < threshold).mean()),
    )


def calibrate(
    fits: Tensor, right: Sequence[int], halves: Sequence[str], background: Tensor
) -> tuple[OpenSetCalibration, list[Rates]]:
    """Fits on the half "choose", and reports the rates on the other.

    fits: [images, labels], from `csls_score` against this background. right: the number of each
    image's label. halves: `half_of` each label. Raises InputError when there are too few labels or
    images.
    """
    choosing = np.array([half == "choose" for half in halves])
    labels = fits.shape[1]
    if labels <= LIST_SIZE or min(choosing.sum(), (~choosing).sum()) < LEAST_PICTURES:
        raise InputError(
            f"Too few pictures: {LIST_SIZE + 1} labels are needed, and {LEAST_PICTURES} pictures "
            f"in each half; here are {labels} labels, and {choosing.sum()} and "
            f"{(~choosing).sum()} pictures. A label is in a half as a whole: more labels help."
        )
    holding, without = list_scores(fits, right, LIST_SIZE)
    fitted = fit(holding[choosing], without[choosing], background)
    report = []
    for size in LIST_SIZES:
        if size < labels:
            holding, without = list_scores(fits, right, size)
            report.append(rates(size, holding[~choosing], without[~choosing], fitted.threshold))
    return fitted, report
