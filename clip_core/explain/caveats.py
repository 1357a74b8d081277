"""Where CLIP is known to mislead: what can be told from labels, and from an answer.

Sources: models like CLIP read a text much like a bag of words (Yuksekgonul et al., arXiv
2210.01936), so that "no" and "without" count for little; their captions were English (section 2.2
of arXiv 2103.00020), and their answers change with the prompt (section 3.1.4).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import torch

from clip_core.classifier import Scores, ZeroShotClassifier

NEGATIONS = (
    (re.compile(r"\bwithout\b", re.I), "with"),
    (re.compile(r"\bwith no\b", re.I), "with"),
    (re.compile(r"\b(?:is|are|does|do|has|have)n[\'’]t\b", re.I), ""),
    (re.compile(r"\b(?:no|not|non)\b[- ]?", re.I), ""),
)
# Two words for one thing: labels as near to each other as the farthest of these pairs mean nearly
# the same to a model, whatever its cosines are like.
SYNONYMS = (
    ("couch", "sofa"),
    ("car", "automobile"),
    ("rabbit", "bunny"),
    ("bike", "bicycle"),
    ("tv", "television"),
    ("plane", "airplane"),
)


def contrast(label: str) -> str | None:
    """A label that denies something, without its "no", "not" or "without"; None for any other."""
    for negation, instead in NEGATIONS:
        if negation.search(label):
            return " ".join(negation.sub(instead, label, count=1).split()) or None
    return None


def is_other_script(label: str) -> bool:
    """Whether a label has letters that are not Latin."""
    return any(
        character.isalpha() and "LATIN" not in unicodedata.name(character, "LATIN")
        for character in label
    )


def near_labels(
    classifier: ZeroShotClassifier,
    labels: Sequence[str],
    prompts: Sequence[Sequence[str]],
    synonym_prompts: Sequence[Sequence[str]],
) -> list[tuple[str, str]]:
    """The pairs of labels that mean nearly the same to a model, nearest first.

    prompts: the texts of each label. synonym_prompts: the texts of the words of `SYNONYMS`, first
    all first words, then all second words, in the same templates: the yardstick. Raises
    TextTooLongError for a prompt longer than the context.
    """
    first, second = classifier.label_features(synonym_prompts).chunk(2)
    nearest = (first * second).sum(dim=1).min()
    features = classifier.label_features(prompts)
    cosines = features @ features.T
    pairs = torch.nonzero((cosines >= nearest).triu(diagonal=1)).tolist()
    pairs.sort(key=lambda pair: -cosines[pair[0], pair[1]].item())
    return [(labels[i], labels[j]) for i, j in pairs]


def winners(answers: Sequence[Scores]) -> Counter[str]:
    """How many answers each label wins, most first."""
    return Counter(answer.labels[int(answer.logits.argmax())] for answer in answers)
