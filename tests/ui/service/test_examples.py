"""The pictures that answer by one click must answer rightly."""

from __future__ import annotations

import pytest

from clip_core import ZeroShotClassifier
from ui.service.examples import EXAMPLE_LABELS, EXAMPLES


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


@pytest.mark.parametrize("name", EXAMPLE_LABELS)
def test_first_label_wins_clearly(bundled: ZeroShotClassifier, name: str) -> None:
    labels = EXAMPLE_LABELS[name].splitlines()
    assert bundled.default_template is not None
    scores = bundled.classify(EXAMPLES / name, labels, [bundled.default_template])
    assert scores.probabilities[0] > 0.5
    assert scores.none_of_these is not None
    assert not scores.none_of_these.is_none


def test_each_picture_is_credited() -> None:
    credits = (EXAMPLES / "CREDITS.md").read_text()
    assert {path.name for path in EXAMPLES.glob("*.??g")} == set(EXAMPLE_LABELS)
    assert all(f"| {name} |" in credits for name in EXAMPLE_LABELS)
