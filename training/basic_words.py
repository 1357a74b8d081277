"""The question people ask first: is it a dog, a bird, a car? A test that needs no picture.

Of ImageNet's classes, those that WordNet puts under exactly one of these words: is that word the
nearest to the class's prototype?
"""

from __future__ import annotations

from pathlib import Path

from .imagenet import ImageNetClass
from .listed import listed
from .wordnet import WordNet

BASIC_WORDS = listed(
    """
    dog|cat|bird|fish|snake|lizard|turtle|frog|spider|insect|butterfly|monkey|bear|rabbit
    |fruit|vegetable|car|truck|boat|ship|airplane|train|bicycle|furniture|building
    |musical instrument|tool|clothing|bottle|shark|fungus|ball|computer
    """
)
# What WordNet calls them, where the word alone means too little or too much there.
WORDNET_NAMES = {
    "car": {"car", "auto", "automobile"},
    "airplane": {"airplane", "aeroplane"},
    "train": {"train", "railroad train"},
    "clothing": {"clothing", "garment"},
    "fruit": {"edible fruit"},
    "building": {"building", "edifice"},
}
TABLE = Path(__file__).with_name("basic_words.tsv")
NOTICE = (
    "# ImageNet class number, basic word. Derived from WordNet 3.0, Copyright 2006 by Princeton",
    "# University; its licence and disclaimer stand in training/README.md.",
)


def basic_words(wordnet: WordNet, classes: list[ImageNetClass]) -> dict[int, str]:
    """Class number -> its one basic word, for the classes that have one."""
    words = [basic_word(wordnet, c.offset) for c in classes]
    return {number: word for number, word in enumerate(words) if word is not None}


def basic_word(wordnet: WordNet, offset: str) -> str | None:
    """The one basic word that a synset is under; None when there is none, or more than one."""
    family = [offset, *(up for up, _ in wordnet.ancestors(offset))]
    words = {word.lower() for each in family for word in wordnet.synsets[each].words}
    fits = [word for word in BASIC_WORDS if WORDNET_NAMES.get(word, {word}) & words]
    return fits[0] if len(fits) == 1 else None


def write_table(table: dict[int, str], path: Path) -> None:
    """The table as lines of class number and word, with the notice that WordNet asks for."""
    lines = [f"{number}\t{word}" for number, word in sorted(table.items())]
    path.write_text("\n".join([*NOTICE, *lines]) + "\n", encoding="utf-8")


def read_table(path: Path) -> dict[int, str]:
    """What `write_table` wrote."""
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    return {int(number): word for number, word in (row.split("\t") for row in rows)}
