"""Where CLIP misleads: told from words, and by a model's own yardstick."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_core import ZeroShotClassifier
from clip_core.explain.caveats import SYNONYMS, contrast, is_other_script, near_labels, winners

CAT = Path(__file__).parents[3] / "ui/examples/cat.jpg"
YARDSTICK = [[pair[side]] for side in (0, 1) for pair in SYNONYMS]


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("cat without glasses", "cat with glasses"),
        ("a street with no cars", "a street with cars"),
        ("no dog", "dog"),
        ("not a cat", "a cat"),
        ("it isn't a cat", "it a cat"),
        ("Without a hat", "with a hat"),
        ("notebook", None),
        ("a knot", None),
        ("Norwegian forest", None),
        ("no", None),
        ("nothing", None),
    ],
)
def test_contrast(label: str, other: str | None) -> None:
    assert contrast(label) == other


@pytest.mark.parametrize(
    ("label", "other"),
    [("cat", False), ("crème brûlée, 3 €", False), ("狗", True), ("кошка", True), ("🐈", False)],
)
def test_is_other_script(label: str, other: bool) -> None:
    assert is_other_script(label) == other


def test_near_labels_go_by_the_models_own_synonyms(bundled: ZeroShotClassifier) -> None:
    labels = ["cup of coffee", "dog", "coffee cup", "cat", "sofa", "couch"]
    pairs = near_labels(bundled, labels, [[label] for label in labels], YARDSTICK)
    assert pairs == [("cup of coffee", "coffee cup"), ("sofa", "couch")]


def test_two_labels_far_apart_are_not_near(bundled: ZeroShotClassifier) -> None:
    assert near_labels(bundled, ["cat", "dog"], [["cat"], ["dog"]], YARDSTICK) == []


def test_winners_of_each_prompt(bundled: ZeroShotClassifier) -> None:
    prompts = [["cat", "a photo of a cat."], ["dog", "a photo of a cat, no dog."]]
    each = bundled.score_each(CAT, ["cat", "dog"], prompts)
    assert [answer.prompts for answer in each] == [
        (("cat",), ("dog",)),
        (("a photo of a cat.",), ("a photo of a cat, no dog.",)),
    ]
    assert winners(each).total() == 2
    assert winners(each).most_common(1)[0][0] == "cat"
    with pytest.raises(ValueError, match="zip"):
        bundled.score_each(CAT, ["cat", "dog"], [["cat"], ["dog", "a dog"]])
