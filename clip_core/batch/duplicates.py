"""Copies and near-copies in a folder, and pictures unlike all others, by their features.

scipy is imported where it is used: half a second, which the page's start would wait for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier

BLOCK = 2048  # rows that are compared at once
# For the features that the bundled model compares pictures by; docs/many.md has what is found and
# what is confused at this. For published models it is a guess: no weights were at hand.
NEAR_BY_APPEARANCE = 0.85
NEAR = 0.95
NEIGHBOURS = 10  # that tell how much a picture is like the others
# A modified z-score beyond this marks an outlier (Iglewicz and Hoaglin, How to Detect and Handle
# Outliers, 1993, page 12), with the constant that makes it one for normal values.
ODD = 3.5
MAD_TO_SIGMA = 0.6745
LEAST_PICTURES = 20  # with fewer, nothing is usual


COLUMNS = {
    "kind": pa.string(),  # "copy" or "odd"
    "group": pa.int32(),
    "picture": pa.string(),
    "similarity": pa.float32(),  # to the group's first, or the mean to the neighbours
    "identical": pa.bool_(),  # the same file as the group's first
}


@dataclass(frozen=True)
class Group:
    """Rows that are copies of each other, the first one's number first.

    similarities: cosine similarity of each to the first; 1.0 of the first itself.
    """

    rows: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True)
class OddOne:
    """A row that is unlike the others: its mean similarity to its neighbours, and how far off."""

    row: int
    similarity: float
    z_score: float


def default_threshold(classifier: ZeroShotClassifier) -> float:
    """From which similarity on two pictures count as one, with a model's `appearance` features."""
    return NEAR if classifier.appearance_dim is None else NEAR_BY_APPEARANCE


def check_threshold(threshold: float) -> None:
    """Raises ValueError for a threshold outside (0, 1]."""
    if not 0 < threshold <= 1:
        raise ValueError("The threshold must be above 0 and at most 1.")


@torch.inference_mode()
def find_near_copies(features: Tensor, threshold: float) -> list[Group]:
    """Groups of rows of features [N, D], normalised float32, whose cosine reaches a threshold.

    Two rows are in one group when a chain of such pairs joins them. Largest group first. Takes N x
    N products, `BLOCK` x `BLOCK` of them at a time; equal rows, which copies of a file have, are
    compared once. Raises ValueError for a threshold outside (0, 1].
    """
    check_threshold(threshold)
    first, place = _distinct(features)
    distinct = features[first]
    names = np.arange(len(distinct))  # of each row's component: the lowest number in it
    for top in range(0, len(distinct), BLOCK):
        block = distinct[top : top + BLOCK]
        for left in range(top, len(distinct), BLOCK):
            # A little less than the threshold: the cosine of equal features is not exactly 1
            near = block @ distinct[left : left + BLOCK].T >= threshold - 1e-6
            pairs = near.nonzero().cpu().numpy() + np.array([top, left])
            names = _join(names, pairs)
    groups = []
    for members in _by_name(names[place]):
        similarities = (features[members] @ features[members[0]]).clamp(-1, 1).tolist()
        groups.append(Group(tuple(members), (1.0, *similarities[1:])))
    return sorted(groups, key=lambda group: (-len(group.rows), group.rows))


@torch.inference_mode()
def find_odd_ones(features: Tensor) -> list[OddOne]:
    """Rows of features [N, D] that are much less like their neighbours than is usual, oddest first.

    Equal rows, which copies of a file have, count as one, the first: a picture is not usual for
    having a copy. None where there are fewer than `LEAST_PICTURES`.
    """
    from scipy.stats import median_abs_deviation  # noqa: PLC0415

    first, _ = _distinct(features)
    features = features[first]
    count = len(features)
    if count < LEAST_PICTURES:
        return []
    means = []
    for start in range(0, count, BLOCK):
        cosines = features[start : start + BLOCK] @ features.T
        rows = torch.arange(len(cosines))
        cosines[rows, rows + start] = -2  # not with itself
        means.append(cosines.topk(min(NEIGHBOURS, count - 1), dim=1).values.mean(dim=1))
    similarity = torch.cat(means).cpu().numpy().astype(np.float64)
    spread = median_abs_deviation(similarity)
    if not spread:
        return []
    scores = MAD_TO_SIGMA * (similarity - np.median(similarity)) / spread
    odd = np.flatnonzero(scores < -ODD)
    return [
        OddOne(int(first[row]), float(similarity[row]), float(scores[row]))
        for row in odd[np.argsort(scores[odd])]
    ]


def to_columns(
    names: Sequence[str],
    contents: Sequence[bytes | None],
    groups: Sequence[Group],
    odd_ones: Sequence[OddOne],
) -> dict[str, list[Any]]:
    """Both lists as the columns of one table, `COLUMNS`.

    names, contents: of the rows; contents are the SHA-256 of their files.
    """
    rows: list[tuple[Any, ...]] = [
        ("copy", number, names[row], similarity, contents[row] == contents[group.rows[0]])
        for number, group in enumerate(groups, start=1)
        for row, similarity in zip(group.rows, group.similarities, strict=True)
    ]
    rows += [("odd", None, names[each.row], each.similarity, None) for each in odd_ones]
    return {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}


def _distinct(features: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of rows that no earlier row equals, and for each row the place among these."""
    seen: dict[bytes, int] = {}
    rows = features.cpu().contiguous().numpy()
    place = np.array(
        [seen.setdefault(hashlib.sha256(row).digest(), len(seen)) for row in rows], dtype=np.int64
    )
    return np.unique(place, return_index=True)[1], place


def _join(names: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The names of components, after these pairs [n, 2] of rows are joined."""
    from scipy.sparse import coo_matrix  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    edges = names[pairs]
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges):
        return names
    nodes, ends = np.unique(edges, return_inverse=True)
    left, right = ends.reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(len(nodes), len(nodes)))
    _, components = connected_components(graph, directed=False)
    lowest = np.full(len(nodes), len(names))
    np.minimum.at(lowest, components, nodes)
    renamed = np.arange(len(names))
    renamed[nodes] = lowest[components]
    return renamed[names]


def _by_name(names: np.ndarray) -> list[list[int]]:
    """The members of each component of more than one, in order."""
    order = np.argsort(names, kind="stable")
    ends = np.flatnonzero(np.diff(names[order])) + 1
    return [members.tolist() for members in np.split(order, ends) if len(members) > 1]
