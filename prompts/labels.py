"""Label sets: a few to try first, the 1,000 ImageNet classes, and the 26 data sets' classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .lists import DATA, look_up, read_list
from .templates import find_template_set


@dataclass(frozen=True)
class LabelSet:
    """Labels to choose between, in the published order where there is one.

    `names` holds every name of each class; only FER2013 has classes with several. `template_set`
    names the template set that goes with the labels.

    `about_people` is True where the answer describes a person in the picture: FER2013 (what they
    feel), UCF101 and Kinetics-700 (what they do), CIFAR-100 (which sorts people into baby, boy,
    girl, man and woman). It is False for sets that at most say that a person is there
    (Caltech-101's faces, VOC 2007's person), for Hateful Memes, which judges the meme, and for
    ImageNet, where three of the 1,000 classes are people known by their dress or gear.
    """

    name: str
    title: str
    names: tuple[tuple[str, ...], ...]
    template_set: str | None
    source: str
    licence: str
    about_people: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """The first name of each class. ImageNet's "missile" and "sunglasses" stand twice."""
        return tuple(names[0] for names in self.names)


def label_sets() -> dict[str, LabelSet]:
    """Every label set by name, in the order of a menu.

    The ready sets (none about people), then `imagenet`, then the 26 data sets by name.
    """
    return dict(_label_sets())


def find_label_set(name: str) -> LabelSet:
    """The label set of that name.

    Raises:
        UnknownNameError: a ValueError that lists near matches.
    """
    return look_up(_label_sets(), name, "label set")


@cache
def _label_sets() -> dict[str, LabelSet]:
    folder = DATA / "labels"
    paths = [
        *sorted((folder / "ready").glob("*.txt")),
        folder / "imagenet.txt",
        *sorted((folder / "datasets").glob("*.txt")),
    ]
    sets: dict[str, LabelSet] = {}
    for path in paths:
        file = read_list(path)
        if file.templates is not None:
            find_template_set(file.templates)
        if file.name in sets:
            raise ValueError(f'Two label sets are named "{file.name}"; rename one of the files.')
        sets[file.name] = LabelSet(
            name=file.name,
            title=f"{file.title}: {len(file.items)} labels",
            names=tuple(tuple(name.strip() for name in item.split(" | ")) for item in file.items),
            template_set=file.templates,
            source=file.source,
            licence=file.licence,
            about_people=file.about_people,
        )
    return sets
