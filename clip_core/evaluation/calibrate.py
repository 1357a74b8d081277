"""Fits "none of these" to a model on pictures with known labels, and measures the fit.

Each picture is asked with lists that hold its label and with lists that don't. By a checksum of its
label it belongs to a half that the figures are chosen on, or to the half that they are reported on.
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
from clip_core.errors import ImageError
from clip_core.open_set import OpenSetCalibration

LIST_SIZE = 5  # labels in the lists that the figures are fitted to
LIST_SIZES = (1, 3, 5, 10)  # those that are reported, where there are enough labels
DRAWS = 10  # lists with the right label for each picture, and as many without
# Lists that hold the right label and would be told "none of these", at the threshold
FALSE_RATE = 0.10
LEAST_PICTURES = 15  # in each half


@dataclass(frozen=True)
class Rates:
    """How well scores tell lists without the right label from lists with it."""

    size: int  # labels in a list
    auroc: float
    true_rate: float  # lists without the right label that are told so
    false_rate: float  # lists with the right label that are told to have none


def half_of(label: str) -> str:
    """ "choose" or "report", by a checksum: pictures of one label stay together."""
    return "choose" if zlib.crc32(label.encode()) % 2 == 0 else "report"


def find_pictures(folder: Path, suffixes: Iterable[str]) -> list[tuple[Path, str]]:
    """The pictures in a folder's subfolders, each with its subfolder's name as its label.

    Raises ValueError when there is no such folder or no picture in it.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {str(folder)!r}.")
    known = set(suffixes)
    found = [
        (path, path.parent.name)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in known
    ]
    if not found:
        raise ValueError(
            f"No pictures in {str(folder)!r}: sort them in subfolders named by their labels."
        )
    return found


def encode_pictures(
    classifier: ZeroShotClassifier, pictures: Sequence[tuple[Path, str]]
) -> tuple[Tensor, list[str]]:
    """Features [N, D] and labels of those pictures that can be read; the others are named."""
    features, labels = [], []
    for path, label in pictures:
        try:
            features.append(classifier.image_features(path))
        except ImageError as error:
            print(f"{path} is left out. {error}", file=sys.stderr)
        else:
            labels.append(label)
    if not features:
        raise ValueError("None of the pictures can be read.")
    return torch.stack(features), labels


def draw_lists(
    right: Sequence[int], labels: int, size: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Label numbers [pictures, DRAWS, size]: lists with the right label in place 0, and without.

    right: the number of each picture's label, below `labels`, which must exceed `size`.
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
    """The best fit in each list, [pictures, DRAWS]: lists with the right label, and without.

    fits: [pictures, labels], as `fitness` gives them.
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
    """The threshold at `FALSE_RATE`, and the logistic curve of least cross-entropy.

    holding, without: scores of lists with and without the right label, equally many.
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
    """How a threshold does on scores of lists of one size, with and without the right label."""
    return Rates(
        size,
        auroc(holding, without),
        float((without < threshold).mean()),
        float((holding < threshold).mean()),
    )


def calibrate(
    fits: Tensor, right: Sequence[int], halves: Sequence[str], background: Tensor
) -> tuple[OpenSetCalibration, list[Rates]]:
    """Fits on the choosing half, and gives the rates on the other.

    fits: [pictures, labels], as `fitness` gives them against this background. right: the number of
    each picture's label. halves: `half_of` each. Raises ValueError when there are too few labels or
    pictures.
    """
    choosing = np.array([half == "choose" for half in halves])
    labels = fits.shape[1]
    if labels <= LIST_SIZE or min(choosing.sum(), (~choosing).sum()) < LEAST_PICTURES:
        raise ValueError(
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
