"""Stage C: class prototypes that agree with their names and with what their classes are kinds of.

The text tower is fixed. Each class's point is moved until its names, and every word for what it is
a kind of, beat all other words; it is held near its start, for a point that fits only its own words
serves other pictures badly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from .imagenet import ImageNetClass
from .phrases import article
from .wordnet import WordNet

STEPS = 120
SHARPNESS = 18.0  # about the logit scale that probabilities are read at
HOLD = 0.6  # how strongly a prototype is held to its start
KINDS_SHARE = 0.5  # of a class's weight, the part that its kinds have; its names have the rest
FALL_OFF = 0.85  # what a kind's weight loses with each step up
FORMS = ("{}", "a {}", "a photo of a {}.")


@dataclass(frozen=True)
class WordBank:
    """words; own[c], kinds[c]: where the names and kinds of class c stand in it."""

    words: list[str]
    own: list[list[int]]
    kinds: list[list[tuple[int, int]]]

    def texts(self) -> list[list[str]]:
        """The words in each of FORMS."""
        return [[article(form.format(word)) for word in self.words] for form in FORMS]


def build_bank(classes: list[ImageNetClass], others: list[str]) -> WordBank:
    """All names and kinds of classes, and `others` that they must beat."""
    words = dict.fromkeys(name for c in classes for name in c.names)
    words |= dict.fromkeys(kind for c in classes for kind, _ in c.kinds)
    words |= dict.fromkeys(others)
    number = {word: i for i, word in enumerate(words)}
    return WordBank(
        words=list(words),
        own=[[number[name] for name in c.names] for c in classes],
        kinds=[[(number[kind], distance) for kind, distance in c.kinds] for c in classes],
    )


def learn_prototypes(
    start: Tensor, bank: WordBank, vectors: Tensor, wordnet: WordNet, seed: int
) -> Tensor:
    """New prototypes [classes, D], each as long as it was at the start.

    vectors: the bank's texts as the text tower says them [forms, words, D], unit length.
    """
    g = torch.Generator().manual_seed(seed)
    true = torch.zeros(len(start), len(bank.words), dtype=torch.bool)
    weight = torch.zeros(len(start), len(bank.words))
    for c, (own, kinds) in enumerate(zip(bank.own, bank.kinds, strict=True)):
        true[c, own + [word for word, _ in kinds]] = True
        weight[c, own[:5]] = (1 - KINDS_SHARE) / len(own[:5])
        shares = torch.zeros(len(bank.words))
        for word, distance in kinds:  # a word in use is one that people ask with
            use = min(1.0, (wordnet.counts[bank.words[word].lower()] + 0.02) ** 0.3)
            shares[word] = FALL_OFF**distance * use
        weight[c] += KINDS_SHARE * shares / shares.sum().clamp(min=1e-6)
    weight /= weight.sum(1, keepdim=True)
    length = start.norm(dim=1, keepdim=True)
    anchor = F.normalize(start, dim=1)
    points = nn.Parameter(anchor.clone())
    optimizer = torch.optim.Adam([points], lr=5e-3)
    for _ in (progress := trange(STEPS, desc="prototypes")):
        form = int(torch.randint(len(vectors), (), generator=g))
        unit = F.normalize(points, dim=1)
        logits = SHARPNESS * unit @ vectors[form].T
        # Each true word by itself against all that are not true of the class.
        rivals = logits.masked_fill(true, -1e4).logsumexp(1, keepdim=True)
        missed = (weight * (torch.logaddexp(logits, rivals) - logits)).sum(1).mean()
        held = SHARPNESS * (1 - (unit * anchor).sum(1)).mean()
        loss = missed + HOLD * held
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.set_postfix(missed=missed.item(), held=held.item())
    return F.normalize(points.detach(), dim=1) * length
