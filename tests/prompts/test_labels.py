from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import prompts
from prompts import UnknownNameError, fill_all, indefinite_article
from prompts.lists import read_list

# openai/CLIP, data/prompts.md: data set, number of classes, the first and the last of them.
DATA_SETS = [
    ("birdsnap", 500, "Acadian Flycatcher", "Zone tailed Hawk"),
    ("caltech101", 102, "background", "yin and yang symbol"),
    ("cifar10", 10, "airplane", "truck"),
    ("cifar100", 100, "apple", "worm"),
    ("clevr-counts", 8, "10", "9"),
    ("country211", 211, "Andorra", "Zimbabwe"),
    ("dtd", 47, "banded", "zigzagged"),
    ("eurosat", 10, "forest", "highway or road"),
    ("fer2013", 7, "angry", "neutral"),
    ("fgvc-aircraft", 100, "707-320", "Yak-42"),
    ("flowers102", 102, "pink primrose", "blackberry lily"),
    ("food101", 101, "apple pie", "waffles"),
    (
        "gtsrb",
        43,
        "red and white circle 20 kph speed limit",
        "white circle with gray strike bar indicating no passing for trucks has ended",
    ),
    ("hateful-memes", 2, "meme", "hatespeech meme"),
    ("kinetics700", 700, "abseiling", "zumba"),
    (
        "kitti",
        4,
        "a photo i took of a car on my left or right side.",
        "a photo i took with no car.",
    ),
    ("mnist", 10, "0", "9"),
    ("oxford-pets", 37, "Abyssinian", "yorkshire terrier"),
    ("patch-camelyon", 2, "lymph node", "lymph node containing metastatic tumor tissue"),
    ("rendered-sst2", 2, "negative", "positive"),
    ("resisc45", 45, "airplane", "wetland"),
    ("stanford-cars", 196, "AM General Hummer SUV 2000", "smart fortwo Convertible 2012"),
    ("stl10", 10, "airplane", "truck"),
    ("sun397", 397, "abbey", "youth hostel"),
    ("ucf101", 101, "Apply Eye Makeup", "Yo Yo"),
    ("voc2007", 20, "aeroplane", "tvmonitor"),
]
# imagenet, then the data sets in the order above; one name a line, synonyms included.
PUBLISHED_SHA256 = "d18ea1fea6659e0f508076bef61cf735691374585e2a12b4f1456aa5a73b6f2e"

READY = list(prompts.label_sets())[: list(prompts.label_sets()).index("imagenet")]


def test_menu_order() -> None:
    names = list(prompts.label_sets())
    assert {"animals", "vehicles", "pictures", "weather"} <= set(READY)
    assert names[len(READY) :] == ["imagenet", *(name for name, *_ in DATA_SETS)]


def test_imagenet_classes() -> None:
    imagenet = prompts.find_label_set("imagenet")
    assert len(imagenet.labels) == 1000
    assert imagenet.template_set == "imagenet-80"
    spots = {0: "tench", 6: "stingray", 134: "crane bird", 340: "zebra", 500: "cliff dwelling"}
    spots |= {517: "construction crane", 657: "missile", 744: "missile", 999: "toilet paper"}
    assert {index: imagenet.labels[index] for index in spots} == spots
    assert len(set(imagenet.labels)) == 998, 'published with "missile" and "sunglasses" twice'


@pytest.mark.parametrize(("name", "count", "first", "last"), DATA_SETS)
def test_data_set_classes(name: str, count: int, first: str, last: str) -> None:
    label_set = prompts.find_label_set(name)
    assert len(label_set.labels) == len(set(label_set.labels)) == count
    assert (label_set.labels[0], label_set.labels[-1]) == (first, last)
    assert label_set.template_set == name
    assert label_set.title.endswith(f": {count} labels")
    assert label_set.source.startswith("openai/CLIP, data/prompts.md, section ")
    assert label_set.licence.startswith("MIT")


def test_published_names_are_unaltered() -> None:
    names = ["imagenet", *(name for name, *_ in DATA_SETS)]
    lines = [
        line for name in names for names_ in prompts.find_label_set(name).names for line in names_
    ]
    assert len(lines) == 3872
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED_SHA256


def test_only_fer2013_has_synonyms() -> None:
    fer = prompts.find_label_set("fer2013")
    assert fer.names[3:6] == (
        ("happy", "smiling"),
        ("sad", "depressed"),
        ("surprised", "shocked", "spooked"),
    )
    assert fer.labels[5] == "surprised"
    several = {
        label_set.name
        for label_set in prompts.label_sets().values()
        if any(len(names) > 1 for names in label_set.names)
    }
    assert several == {"fer2013"}


def test_sets_about_people_are_marked_and_none_is_ready() -> None:
    about_people = {
        label_set.name for label_set in prompts.label_sets().values() if label_set.about_people
    }
    assert about_people == {"cifar100", "fer2013", "kinetics700", "ucf101"}
    assert not about_people & set(READY)


@pytest.mark.parametrize("name", READY)
def test_ready_set_reads_as_english(name: str) -> None:
    ready = prompts.find_label_set(name)
    assert 6 <= len(ready.labels) <= 20
    assert len(set(ready.labels)) == len(ready.labels)
    assert ready.template_set is not None
    templates = prompts.find_template_set(ready.template_set).templates
    for [prompt] in fill_all(templates, ready.labels):
        for article, following in re.findall(r"\b(a|an) (?=(.*))", prompt):
            assert article == indefinite_article(following), prompt


def test_unknown_name_lists_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r'no label set named "animal"; .*"animals"'):
        prompts.find_label_set("animal")


HEADER = "# title: Tea\n# source: written here\n# licence: MIT\n"


def test_read_list(tmp_path: Path) -> None:
    path = tmp_path / "tea.txt"
    path.write_text(HEADER + "# note: one\n# note: two\n\ngreen tea\n\n #1 tea \r\nté", "utf-8")
    tea = read_list(path)
    assert (tea.name, tea.title, tea.source, tea.licence) == ("tea", "Tea", "written here", "MIT")
    assert tea.items == ("green tea", "#1 tea", "té")
    assert (tea.templates, tea.about_people) == (None, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("green tea\n", 'tea.txt has no "# title: ..." line'),
        (HEADER.replace("# source: written here\n", "") + "tea\n", 'no "# source: ..." line'),
        (HEADER.replace("MIT", "") + "tea\n", 'no "# licence: ..." line'),
        (HEADER, "holds no items"),
        (HEADER + "# template: tea\ntea\n", '"# template: tea" is not understood'),
        (HEADER + "# just words\ntea\n", '"# just words" is not understood'),
        (HEADER + "# title: Tea\ntea\n", 'second "# title:"'),
        (HEADER + "# about people: maybe\ntea\n", '"yes" or "no"'),
    ],
)
def test_read_list_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tea.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_list(path)
