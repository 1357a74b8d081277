"""WordNet 3.0's nouns: what they are called, what kind of thing they are, how often they are used.

Reads the database files of the Debian package wordnet-base; their layout is that of wndb(5WN).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .listed import listed

# Lexicographer files (lexnames(5WN)) whose nouns can be seen: animal, artifact, body, food,
# location, object, person, phenomenon, plant, shape, substance.
VISIBLE = frozenset({5, 6, 8, 13, 15, 17, 18, 19, 20, 25, 27})
PERSON = 18

# Kinds that say too little about a picture to be an answer to "what is this?".
TOO_GENERAL = frozenset(
    listed(
        """
        entity|physical entity|abstraction|abstract entity|object|physical object|whole|unit|thing
        |matter|substance|solid|part|portion|piece|component|constituent|component part
        |living thing
        |animate thing|organism|being|causal agent|cause|causal agency|artifact|artefact|creation
        |instrumentality|instrumentation|product|production|commodity|trade good|good
        |consumer goods
        |durables|durable goods|consumer durables|device|implement|equipment|covering|structure
        |system
        |construction|conveyance|way|produce|chordate|vertebrate|craniate|placental|placental mammal
        |eutherian|eutherian mammal|invertebrate|carnivore|location|region|area|group|grouping
        |psychological feature|attribute|relation|natural object|article|surface|body|mechanism
        |material
        |plant part|plant structure|plant organ|natural covering|protective covering|nutriment
        |nourishment|nutrition|sustenance|aliment|alimentation|victuals|foodstuff|food product
        |vascular plant|tracheophyte|reproductive structure|fruit tree|domestic animal
        |domesticated animal
        """
    )
)


@dataclass(frozen=True)
class Synset:
    """One meaning: its words, most usual first, and the meanings it is a kind of."""

    words: tuple[str, ...]
    category: int  # number of its lexicographer file
    hypernyms: tuple[str, ...]  # keys of other synsets
    is_instance: bool  # a single thing with a name, like a city
    gloss: str


@dataclass
class WordNet:
    """`synsets` by offset (8 digits), `senses` by lower-case word, most frequent sense first."""

    synsets: dict[str, Synset]
    senses: dict[str, list[str]]
    counts: Counter[str]  # occurrences of a word as a noun in WordNet's tagged texts
    _kinds: dict[str, list[str]] = field(default_factory=dict)

    def ancestors(self, offset: str) -> Iterator[tuple[str, int]]:
        """The synsets that this one is a kind of, nearest first, with how far up they stand."""
        seen, rank = {offset}, [offset]
        distance = 0
        while rank:
            distance += 1
            rank = [up for below in rank for up in self.synsets[below].hypernyms]
            rank = [up for up in dict.fromkeys(rank) if up not in seen]
            seen.update(rank)
            yield from ((up, distance) for up in rank)

    def kinds(self, offset: str, limit: int = 2, least_count: int = 4) -> list[str]:
        """Up to `limit` everyday words for what a synset is a kind of, nearest first."""
        if offset not in self._kinds:
            found: list[str] = []
            for up, _ in self.ancestors(offset):
                words = [word.lower() for word in self.synsets[up].words]
                usual = [word for word in words if self.counts[word] >= least_count]
                if usual and not TOO_GENERAL.intersection(words):
                    found.append(usual[0])
            self._kinds[offset] = list(dict.fromkeys(found))
        return self._kinds[offset][:limit]

    def kinds_of_word(self, word: str, limit: int = 2) -> list[str]:
        """`kinds` of a word's most frequent sense that can be seen."""
        for offset in self.senses.get(word.lower(), []):
            if self.synsets[offset].category in VISIBLE and not self.synsets[offset].is_instance:
                own = {name.lower() for name in self.synsets[offset].words}
                return [kind for kind in self.kinds(offset, limit + 2) if kind not in own][:limit]
        return []


def read_wordnet(folder: Path) -> WordNet:
    """Reads `data.noun`, `index.noun` and `cntlist.rev` below `folder`."""
    place = next(folder.rglob("data.noun")).parent
    texts = [
        (place / name).read_text(encoding="latin-1").splitlines()
        for name in ("data.noun", "index.noun", "cntlist.rev")
    ]
    return WordNet(parse_synsets(texts[0]), parse_senses(texts[1]), parse_counts(texts[2]))


def parse_synsets(lines: Iterable[str]) -> dict[str, Synset]:
    """`data.noun`: offset, category, type, count of words (hex), words, count, pointers."""
    synsets = {}
    for line in lines:
        if line.startswith(" "):  # the licence stands at the head of every file
            continue
        data, _, gloss = line.partition(" | ")
        fields = data.split(" ")
        count = int(fields[3], 16)
        words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
        pointers = fields[5 + 2 * count :]
        pairs = list(zip(pointers[0::4], pointers[1::4], strict=False))
        synsets[fields[0]] = Synset(
            words=words,
            category=int(fields[1]),
            hypernyms=tuple(target for symbol, target in pairs if symbol in ("@", "@i")),
            is_instance=any(symbol == "@i" for symbol, _ in pairs),
            gloss=re.split(r"; |\(", gloss)[0].strip(),
        )
    return synsets


def parse_senses(lines: Iterable[str]) -> dict[str, list[str]]:
    """`index.noun`: a word, then among other fields its synsets' offsets in order of frequency."""
    senses = {}
    for line in lines:
        if not line.startswith(" "):
            word, *fields = line.split()
            senses[word.replace("_", " ")] = [f for f in fields if re.fullmatch(r"\d{8}", f)]
    return senses


def parse_counts(lines: Iterable[str]) -> Counter[str]:
    """`cntlist.rev`: sense key, sense number, count; a sense key is word%1:... for a noun."""
    counts: Counter[str] = Counter()
    for line in lines:
        key, _, count = line.split()
        word, _, sense = key.partition("%")
        if sense.startswith("1"):
            counts[word.replace("_", " ")] += int(count)
    return counts


def group_by_word(wordnet: WordNet) -> dict[str, list[Synset]]:
    """Every word as it is spelt, with its meanings."""
    grouped: dict[str, list[Synset]] = defaultdict(list)
    for synset in wordnet.synsets.values():
        for word in synset.words:
            grouped[word].append(synset)
    return grouped
