"""Measures of zero-shot classification: accuracy, and whether probabilities mean what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15  # as in Guo et al., arXiv 1706.04599
DRAWS = 10  # sets of distractors for each picture
WAYS = 20


@dataclass(frozen=True)
class Accuracy:
    """Percentages, with the standard error of each over pictures."""

    top1: float
    top5: float
    twenty: float
    top1_error: float
    twenty_error: float


def twenty_ways(similarities: Tensor, right: Tensor, seed: int = 0) -> Tensor:
    """Questions of twenty labels: the right one (column 0) and 19 others, ten for each picture.

    similarities: [pictures, labels]; right: [pictures]. Returns [pictures, 10, 20].
    """
    g = np.random.default_rng(seed)
    questions = []
    for row, answer in zip(similarities, right.tolist(), strict=True):
        others = np.delete(np.arange(len(row)), answer)
        drawn = [g.choice(others, WAYS - 1, replace=False) for _ in range(DRAWS)]
        questions.append(row[torch.tensor(np.array([[answer, *some] for some in drawn]))])
    return torch.stack(questions)


def accuracy(similarities: Tensor, right: Tensor) -> Accuracy:
    """Top-1 and top-5 among all labels, and top-1 among twenty."""
    ranks = (similarities > similarities.gather(1, right.unsqueeze(1))).sum(1)
    twenty = (twenty_ways(similarities, right).argmax(-1) == 0).float().mean(1)
    first, five = (ranks == 0).float(), (ranks < 5).float()

    def error(values: Tensor) -> float:
        return 100 * values.std().item() / math.sqrt(len(values))

    return Accuracy(
        100 * first.mean().item(),
        100 * five.mean().item(),
        100 * twenty.mean().item(),
        error(first),
        error(twenty),
    )


def calibration_error(probabilities: Tensor, is_right: Tensor) -> float:
    """Expected calibration error: by how much the top probability misses how often it is right.

    probabilities: [N], that of the answer given; is_right: [N] bool. Mean over 15 equal bins of the
    gap between mean probability and accuracy, weighted by the bins' sizes.
    """
    bins = (probabilities * BINS).ceil().clamp(1, BINS).long() - 1
    total = 0.0
    for i in range(BINS):
        inside = bins == i
        if inside.any():
            gap = probabilities[inside].mean() - is_right[inside].float().mean()
            total += inside.float().mean().item() * abs(gap.item())
    return total


def question_calibration(questions: Tensor, scale: float) -> float:
    """`calibration_error` of questions whose column 0 is right, [..., labels], at a logit scale."""
    flat = questions.reshape(-1, questions.shape[-1])
    best, answer = F.softmax(scale * flat, dim=1).max(1)
    return calibration_error(best, answer == 0)


def fit_scale(questions: list[Tensor]) -> float:
    """The logit scale of least cross-entropy, column 0 being right; each set counts alike."""

    def cost(scale: float) -> float:
        return sum(
            -F.log_softmax(scale * q.reshape(-1, q.shape[-1]), dim=1)[:, 0].mean().item()
            for q in questions
        )

    return min((x / 2 for x in range(8, 121)), key=cost)
