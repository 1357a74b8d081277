from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch.search import make_query, nearest

EXAMPLES = Path(__file__).parents[3] / "ui/examples"
NAMES = ["cat.jpg", "coffee.jpg", "temple.jpg", "horse.png", "chart.png"]


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


@pytest.fixture(scope="module")
def features(bundled: ZeroShotClassifier) -> torch.Tensor:
    return torch.stack([bundled.image_features(EXAMPLES / name) for name in NAMES])


def prompts(*phrases: str) -> list[list[str]]:
    return [[f"a photo of {phrase}."] for phrase in phrases]


@pytest.mark.parametrize(
    ("phrase", "name"), [("a cat", "cat.jpg"), ("a horse", "horse.png"), ("a chart", "chart.png")]
)
def test_a_phrase_finds_its_picture(
    bundled: ZeroShotClassifier, features: torch.Tensor, phrase: str, name: str
) -> None:
    scores, rows = nearest(features, make_query(bundled, prompts(phrase)), top=3)
    assert NAMES[rows[0]] == name
    assert list(scores) == sorted(scores, reverse=True)
    expected = bundled.score(EXAMPLES / name, [phrase], prompts(phrase)).cosine_similarities[0]
    assert scores[0] == pytest.approx(expected, abs=1e-5)


def test_more_like_this_finds_itself_first(
    bundled: ZeroShotClassifier, features: torch.Tensor
) -> None:
    by_path = make_query(bundled, pictures=[EXAMPLES / "horse.png"])
    by_features = make_query(bundled, pictures=[features[3]])
    for query in (by_path, by_features):
        scores, rows = nearest(features, query, top=10)
        assert rows[0] == 3
        assert scores[0] == pytest.approx(1, abs=1e-5)
        assert len(rows) == len(NAMES)


def test_one_phrase_less_another(bundled: ZeroShotClassifier, features: torch.Tensor) -> None:
    both = prompts("a cat", "a horse")
    _, rows = nearest(features, make_query(bundled, both), top=2)
    assert {NAMES[row] for row in rows} == {"cat.jpg", "horse.png"}
    scores, rows = nearest(features, make_query(bundled, both[:1], minus=both[1:]), top=5)
    assert NAMES[rows[0]] == "cat.jpg"
    assert NAMES[rows[-1]] == "horse.png"
    cat, horse = (features[0] @ bundled.label_features([p])[0] for p in both)
    assert scores[0] == pytest.approx(float(cat - horse), abs=1e-5)


def test_nothing_to_look_for(bundled: ZeroShotClassifier) -> None:
    with pytest.raises(ValueError, match="Say what to look for"):
        make_query(bundled, minus=prompts("a cat"))
