"""Copies and near-copies among images, and outliers, by their features.

scipy is imported where it is used: it takes half a second, which the page's start would wait for.
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
from clip_core.errors import InputError

BLOCK = 2048  # rows compared at once
# Of the bundled model's appearance features, as measured (docs/many.md). `NEAR` is a guess for
# published models, which was not measured.
NEAR_BY_APPEARANCE = 0.85
NEAR = 0.95
NEIGHBOURS = 10  # nearest ones, whose mean similarity is compared
# A modified z-score beyond this marks an outlier; the constant scales the median absolute deviation
# to a standard deviation (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, page 12).
ODD = 3.5
MAD_TO_SIGMA = 0.6745
LEAST_PICTURES = 20  # with fewer, no outlier can be told


COLUMNS = {
    "kind": pa.string(),  # "copy" or "odd"
    "group": pa.int32(),
    "picture": pa.string(),
    "similarity": pa.float32(),  # to the group's first image, or the mean to the neighbours
    "identical": pa.bool_(),  # same bytes as the group's first image
}


@dataclass(frozen=True)
class Group:
    """Numbers of rows that are copies of each other, in order.

    similarities: cosine similarity of each to the first; 1.0 for the first itself.
    """

    rows: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True)
class Outlier:
    """A row that is unlike the others, and its mean similarity to its nearest neighbours."""

    row: int
    similarity: float
    z_score: float


def default_threshold(classifier: ZeroShotClassifier) -> float:
    """The similarity from which two images count as copies, by a model's appearance features."""
    return NEAR if classifier.appearance_dim is None else NEAR_BY_APPEARANCE


def check_threshold(threshold: float) -> None:
    """Raises InputError for a threshold outside (0, 1]."""
    if not 0 < threshold <= 1:
        raise InputError("The threshold must be above 0 and at most 1.")


@torch.inference_mode()
def find_near_copies(features: Tensor, threshold: float) -> list[Group]:
    """Groups of rows of features [N, D], normalised float32, whose cosine reaches a threshold.

    Groups are connected components of such pairs, largest first. All N x N pairs are compared,
    `BLOCK` x `BLOCK` at a time, and equal rows once. Raises InputError for a threshold outside
    (0, 1].
    """
    check_threshold(threshold)
    first, place = _distinct(features)
    distinct = features[first]
    components = np.arange(len(distinct))  # named by their lowest row
    for top in range(0, len(distinct), BLOCK):
        block = distinct[top : top + BLOCK]
        for left in range(top, len(distinct), BLOCK):
            # With a tolerance: the cosine of equal features is not exactly 1
            near = block @ distinct[left : left + BLOCK].T >= threshold - 1e-6
            pairs = near.nonzero().cpu().numpy() + np.array([top, left])
            components = _join(components, pairs)
    groups = []
    for members in _by_component(components[place]):
        similarities = (features[members] @ features[members[0]]).clamp(-1, 1).tolist()
        groups.append(Group(tuple(members), (1.0, *similarities[1:])))
    return sorted(groups, key=lambda group: (-len(group.rows), group.rows))


@torch.inference_mode()
def find_outliers(features: Tensor) -> list[Outlier]:
    """Rows of features [N, D] that are far less like their neighbours than others, worst first.

    Equal rows count as one, the first: a copy doesn't make an image usual. Fewer than
    `LEAST_PICTURES` rows have no outliers.
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
        cosines[rows, rows + start] = -2  # a row is no neighbour of itself
        means.append(cosines.topk(min(NEIGHBOURS, count - 1), dim=1).values.mean(dim=1))
    similarity = torch.cat(means).cpu().numpy().astype(np.float64)
    spread = median_abs_deviation(similarity)
    if not spread:
        return []
    scores = MAD_TO_SIGMA * (similarity - np.median(similarity)) / spread
    odd = np.flatnonzero(scores < -ODD)
    return [
        Outlier(int(first[row]), float(similarity[row]), float(scores[row]))
        for row in odd[np.argsort(scores[odd])]
    ]


def to_columns(
    names: Sequence[str],
    contents: Sequence[bytes | None],
    groups: Sequence[Group],
    outliers: Sequence[Outlier],
) -> dict[str, list[Any]]:
    """Both lists as one table with `COLUMNS`.

    names, contents: of each row; contents are the SHA-256 of the files.
    """
    rows: list[tuple[Any, ...]] = [
        ("copy", number, names[row], similarity, contents[row] == contents[group.rows[0]])
        for number, group in enumerate(groups, start=1)
        for row, similarity in zip(group.rows, group.similarities, strict=True)
    ]
    rows += [("odd", None, names[each.row], each.similarity, None) for each in outliers]
    return {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}


def _distinct(features: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of rows that no earlier row equals, and each row's index among these."""
    seen: dict[bytes, int] = {}
    rows = features.cpu().contiguous().numpy()
    place = np.array(
        [seen.setdefault(hashlib.sha256(row).digest(), len(seen)) for row in rows], dtype=np.int64
    )
    return np.unique(place, return_index=True)[1], place


def _join(components: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The components after joining these pairs [n, 2] of rows."""
    from scipy.sparse import coo_matrix  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    edges = components[pairs]
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges):
        return components
    nodes, ends = np.unique(edges, return_inverse=True)
    left, right = ends.reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(len(nodes), len(nodes)))
    _, joined = connected_components(graph, directed=False)
    lowest = np.full(len(nodes), len(components))
    np.minimum.at(lowest, joined, nodes)
    renamed = np.arange(len(components))
    renamed[nodes] = lowest[joined]
    return renamed[components]


def _by_component(components: np.ndarray) -> list[list[int]]:
    """The members of each component with more than one, in order."""
    order = np.argsort(components, kind="stable")
    ends = np.flatnonzero(np.diff(components[order])) + 1
    return [members.tolist() for members in np.split(order, ends) if len(members) > 1]
