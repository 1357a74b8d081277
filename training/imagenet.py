"""ImageNet's thousand classes: their WordNet meanings and what people call them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from .wordnet import TOO_GENERAL, WordNet


@dataclass(frozen=True)
class ImageNetClass:
    """One class: its synset's offset, its names (best first), and its kinds with their distance."""

    offset: str
    names: tuple[str, ...]
    kinds: tuple[tuple[str, int], ...]


def read_classes(wordnet: WordNet) -> list[ImageNetClass]:
    """The classes in the order of the classifier's outputs.

    The synsets come from timm's list (Apache-2.0), the first name of each from open_clip's list
    (MIT; OpenAI's, curated by hand for zero-shot use), the other names from WordNet.
    """
    from open_clip import IMAGENET_CLASSNAMES  # noqa: PLC0415  slow to import

    listed = files("timm").joinpath("data/_info/imagenet_synsets.txt").read_text().split()
    classes = []
    for name, key in zip(IMAGENET_CLASSNAMES, listed, strict=True):
        offset = key.removeprefix("n")
        kinds = [
            (word.lower(), distance)
            for up, distance in wordnet.ancestors(offset)
            for word in wordnet.synsets[up].words[:3]
            if word.lower() not in TOO_GENERAL
        ]
        names = dict.fromkeys([name, *wordnet.synsets[offset].words])
        classes.append(ImageNetClass(offset, tuple(names), tuple(dict(reversed(kinds)).items())))
    return classes
