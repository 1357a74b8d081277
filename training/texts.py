"""The corpus: a few hundred thousand short texts, each with what it is to be taught.

WordNet's visible nouns and ImageNet's names, bare and in templates, with adjectives, places and one
another, glosses, kinds of pictures, and the forms that people type by accident.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from .imagenet import ImageNetClass
from .phrases import (
    ACTIONS,
    ACTORS,
    ADJECTIVES,
    DESCRIBING,
    NAMING,
    PAIRINGS,
    PICTURES,
    PLACES,
    PLURAL,
    article,
    plural,
)
from .wordnet import PERSON, VISIBLE, WordNet, group_by_word

# How a noun is embedded by the teacher: the mean of these steadies it.
FORMS = ("{}", "a {}", "a photo of a {}.")


@dataclass(frozen=True)
class Corpus:
    """texts[i] is taught the teacher's view of taught[i], and of nouns[noun[i]] (-1: no noun).

    weight[i]: how much of the lesson the noun is. kinds[j], rarity[j]: what nouns[j] is a kind of,
    and how far that should be told, 0 to 1. common: nouns in everyday use, of things to be seen.
    """

    texts: list[str]
    taught: list[str]
    noun: list[int]
    weight: list[float]
    nouns: list[str]
    kinds: list[list[str]]
    rarity: list[float]
    common: list[str]


def build_corpus(wordnet: WordNet, classes: list[ImageNetClass], seed: int = 0) -> Corpus:
    """Writes the corpus. The same seed gives the same texts in the same order."""
    r = random.Random(seed)
    visible, seldom = _visible_nouns(wordnet)
    named = {name: c for c in classes for name in c.names}
    counts = {noun: wordnet.counts[noun.lower()] for noun in visible}
    common = sorted({noun for noun in visible if counts[noun] and noun not in seldom} | set(named))
    use = [(counts.get(noun, 3) + 1) ** 0.4 for noun in common]
    lessons: dict[str, tuple[str, str | None, float]] = {}

    def teach(text: str, noun: str | None, weight: float, taught: str | None = None) -> None:
        lessons.setdefault(text, (taught or text, noun, weight))

    def pick() -> str:
        return r.choices(common, use)[0]

    for noun in tqdm([*visible, *named], desc="nouns", leave=False):
        teach(noun, noun, 0.5)
    for noun in common:
        _teach_forms(teach, noun, r)
    for noun in [*named, *r.choices(common, use, k=45_000)]:
        teach(article(r.choice(NAMING).format(noun)), noun, 0.5)
        teach(article(r.choice(DESCRIBING).format(noun)), noun, 0.3)
    for noun in r.choices(common, use, k=12_000):
        teach(r.choice(PLURAL).format(plural(noun)), noun, 0.4)
    for noun in r.sample(visible, 20_000):
        teach(article(r.choice(FORMS[1:]).format(noun)), noun, 0.5)
    for _ in range(30_000):
        noun, adjective = pick(), r.choice(ADJECTIVES)
        teach(article(r.choice(FORMS).format(f"{adjective} {noun}")), noun, 0.25)
    for _ in range(18_000):
        noun = pick()
        teach(article(r.choice(FORMS[:2]).format(noun)) + " " + r.choice(PLACES), noun, 0.25)
    for _ in range(16_000):
        teach(article(r.choice(PAIRINGS).format(pick(), pick())), None, 0.0)
    for actor in ACTORS:
        for action in ACTIONS:
            for template in FORMS:
                teach(article(template.format(f"{actor} {action}")), None, 0.0)
    _teach_pictures(teach, r)
    for synset in _described(wordnet, r)[:12_000]:
        teach(" ".join(synset[1].split()[:14]), None, 0.0)
    return _pack(lessons, wordnet, named, common, r)


def _teach_forms(teach: Callable[..., None], noun: str, r: random.Random) -> None:
    """The forms that a noun in use is typed in, by design and by accident."""
    for template in FORMS[1:]:
        teach(article(template.format(noun)), noun, 0.5)
    teach(plural(noun), noun, 0.5)
    # The page's template around a label that has its article already, or the wrong one.
    right, wrong = article(f"a {noun}"), f"{'a' if noun[0] in 'aeiou' else 'an'} {noun}"
    clean = article(f"a photo of a {noun}.")
    teach(f"a photo of a {right}.", noun, 0.5, clean)
    if noun[0].lower() in "aeiou" or r.random() < 0.2:
        teach(wrong, noun, 0.5, right)
        teach(f"a photo of {wrong}.", noun, 0.5, clean)
    if r.random() < 0.3:
        teach(f"a photo of a {plural(noun)}.", noun, 0.5, f"a photo of {plural(noun)}.")


def _visible_nouns(wordnet: WordNet) -> tuple[list[str], set[str]]:
    """Words for things that can be seen, and those among them that name a single thing."""
    visible, instances = [], set()
    for word, synsets in group_by_word(wordnet).items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z'\- .]{1,40}", word):
            continue
        seen = [s for s in synsets if s.category in VISIBLE]
        if seen and not all(s.is_instance and s.category == PERSON for s in seen):
            visible.append(word)
            if any(s.is_instance for s in synsets):
                instances.add(word)
    return sorted(visible), instances


def _teach_pictures(teach: Callable[..., None], r: random.Random) -> None:
    extra = ("a {} with labels", "a simple {}", "a colorful {}", "a hand-drawn {}", "a {} of a dog")
    for kind in PICTURES:
        for template in (*NAMING, *extra):
            teach(article(template.format(kind)), kind, 0.5)
        right = article(f"a {kind}")
        teach(f"a photo of a {right}.", kind, 0.5, article(f"a photo of a {kind}."))


def _described(wordnet: WordNet, r: random.Random) -> list[tuple[int, str]]:
    """Glosses of visible things, those of words in use first."""
    glosses = [
        (-int(any(wordnet.counts[word.lower()] for word in s.words)), s.gloss)
        for s in wordnet.synsets.values()
        if s.category in VISIBLE and not s.is_instance and 8 < len(s.gloss) < 110
    ]
    r.shuffle(glosses)
    return sorted(glosses, key=lambda pair: pair[0])


def _pack(
    lessons: dict[str, tuple[str, str | None, float]],
    wordnet: WordNet,
    named: dict[str, ImageNetClass],
    common: list[str],
    r: random.Random,
) -> Corpus:
    texts = sorted(lessons)
    r.shuffle(texts)
    nouns = sorted({noun for _, noun, _ in lessons.values() if noun is not None})
    number = {noun: i for i, noun in enumerate(nouns)}
    kinds, rarity = [], []
    for noun in nouns:
        if noun in named:  # the class's own meaning, not the word's most frequent one
            own = {name.lower() for name in named[noun].names}
            kinds.append([k for k in wordnet.kinds(named[noun].offset, 4) if k not in own][:2])
        else:
            kinds.append(wordnet.kinds_of_word(noun) if noun not in PICTURES else [])
        rarity.append((1 + wordnet.counts[noun.lower()]) ** -0.5)
    rows = [lessons[text] for text in texts]
    return Corpus(
        texts=texts,
        taught=[taught for taught, _, _ in rows],
        noun=[-1 if noun is None else number[noun] for _, noun, _ in rows],
        weight=[weight for _, _, weight in rows],
        nouns=nouns,
        kinds=kinds,
        rarity=rarity,
        common=common,
    )
