"""The names of the training pictures, and batches of pictures no two of which share a name."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Pairs
from .phrases import article, without_article
from .teacher import WIDTH, Teacher
from .texts import FORMS

# Two names nearer than this to the teacher are taken for synonyms and kept out of one batch.
SYNONYMS = 0.75


@dataclass(frozen=True)
class Names:
    """texts[form][i] is how name i is written in FORMS[form]; vectors: [forms, names, 384]."""

    texts: list[list[str]]
    vectors: Tensor
    pictures: list[list[int]]  # the pictures that bear name i
    is_drawing: Tensor  # [names] bool
    clash: Tensor  # [names, names] bool: the same thing, or nearly


def gather_names(pairs: Pairs) -> Names:
    """Every name in the pairs, as the teacher sees it, and which of them can't be told apart."""
    pictures: dict[str, list[int]] = defaultdict(list)
    for row, names in enumerate(pairs.names):
        for name in names:
            pictures[without_article(name)].append(row)
    names = sorted(pictures)
    texts = [[article(form.format(name)) for name in names] for form in FORMS]
    own = Teacher().embed([text for row in texts for text in row], show=True)
    own = own.view(len(FORMS), len(names), WIDTH)
    vectors = F.normalize(own + F.normalize(own.mean(0), dim=-1), dim=-1)
    middle = F.normalize(own.mean(0), dim=-1)
    clash = middle @ middle.T > SYNONYMS
    number = {name: i for i, name in enumerate(names)}
    for called in {tuple(names) for names in pairs.names}:
        rows = torch.tensor([number[without_article(name)] for name in called])
        clash[rows.unsqueeze(1), rows] = True
    drawn = [any(pairs.source[row] == "drawing" for row in pictures[name]) for name in names]
    return Names(texts, vectors.half(), [pictures[n] for n in names], torch.tensor(drawn), clash)


def sample_pairs(
    names: Names, candidates: int, drawings: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch: rows of `Names` no two of which clash, and one picture for each.

    candidates: how many names are drawn; those that clash with an earlier one are dropped.
    drawings: how many of them name the script's own drawings, which are few names and matter.
    """
    weight = torch.tensor([len(rows) for rows in names.pictures]).sqrt()
    drawn = torch.multinomial(weight * names.is_drawing, drawings, generator=generator)
    others = torch.multinomial(
        weight * ~names.is_drawing, candidates - drawings, generator=generator
    )
    chosen = torch.cat([drawn, others])
    chosen = chosen[torch.randperm(len(chosen), generator=generator)]
    clash = names.clash[chosen.unsqueeze(1), chosen].tril(-1).any(1)
    chosen = chosen[~clash]
    chance = torch.rand(len(chosen), generator=generator).tolist()
    rows = [
        names.pictures[name][int(x * len(names.pictures[name]))]
        for name, x in zip(chosen.tolist(), chance, strict=True)
    ]
    return chosen, torch.tensor(rows)
