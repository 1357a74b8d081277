from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch.approximate import ApproximateIndex
from clip_core.batch.search import ExactIndex, make_query

EXAMPLES = Path(__file__).parents[3] / "ui/examples"
NAMES = ["cat.jpg", "coffee.jpg", "temple.jpg", "horse.png", "chart.png"]


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


@pytest.fixture(scope="module")
def index(bundled: ZeroShotClassifier) -> ExactIndex:
    return ExactIndex(torch.stack([bundled.image_features(EXAMPLES / name) for name in NAMES]))


def prompts(*phrases: str) -> list[list[str]]:
    return [[f"a photo of {phrase}."] for phrase in phrases]


@pytest.mark.parametrize(
    ("phrase", "name"), [("a cat", "cat.jpg"), ("a horse", "horse.png"), ("a chart", "chart.png")]
)
def test_a_phrase_finds_its_picture(
    bundled: ZeroShotClassifier, index: ExactIndex, phrase: str, name: str
) -> None:
    scores, rows = index.search(make_query(bundled, prompts(phrase)), top=3)
    assert NAMES[rows[0]] == name
    assert list(scores) == sorted(scores, reverse=True)
    expected = bundled.score(EXAMPLES / name, [phrase], prompts(phrase)).cosine_similarities[0]
    assert scores[0] == pytest.approx(expected, abs=1e-5)


def test_more_like_this_finds_itself_first(bundled: ZeroShotClassifier, index: ExactIndex) -> None:
    by_path = make_query(bundled, pictures=[EXAMPLES / "horse.png"])
    by_features = make_query(bundled, pictures=[index.features[3]])
    for query in (by_path, by_features):
        scores, rows = index.search(query, top=10)
        assert rows[0] == 3
        assert scores[0] == pytest.approx(1, abs=1e-5)
        assert len(rows) == len(NAMES)


def test_one_phrase_less_another(bundled: ZeroShotClassifier, index: ExactIndex) -> None:
    both = prompts("a cat", "a horse")
    _, rows = index.search(make_query(bundled, both), top=2)
    assert {NAMES[row] for row in rows} == {"cat.jpg", "horse.png"}
    scores, rows = index.search(make_query(bundled, both[:1], minus=both[1:]), top=5)
    assert NAMES[rows[0]] == "cat.jpg"
    assert NAMES[rows[-1]] == "horse.png"
    cat, horse = (index.features[0] @ bundled.label_features([p])[0] for p in both)
    assert scores[0] == pytest.approx(float(cat - horse), abs=1e-5)


def test_nothing_to_look_for(bundled: ZeroShotClassifier) -> None:
    with pytest.raises(ValueError, match="Say what to look for"):
        make_query(bundled, minus=prompts("a cat"))


@pytest.fixture(scope="module")
def clustered() -> torch.Tensor:
    """Rows that lie near each other in groups, as pictures' features do."""
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(50, 64, generator=random).repeat(100, 1)
    noise = torch.randn(5000, 64, generator=random)
    return torch.nn.functional.normalize(centres + 0.5 * noise, dim=-1)


def test_an_index_finds_what_exact_search_finds(clustered: torch.Tensor, tmp_path: Path) -> None:
    exact = ExactIndex(clustered)
    path = tmp_path / "pictures.faiss"
    contents = [str(i).encode() for i in range(len(clustered))]
    built = ApproximateIndex.load_or_build(path, clustered, contents, "a-crop")
    written = path.stat().st_mtime_ns
    loaded = ApproximateIndex.load_or_build(path, clustered, contents, "a-crop")
    assert path.stat().st_mtime_ns == written
    recall = []
    for query in clustered[::100]:
        scores, rows = exact.search(query, 10)
        for index in (built, loaded):
            found, at = index.search(query, 10)
            recall.append(len(set(at) & set(rows)) / 10)
            assert np.allclose(found[0], scores[0], atol=1e-5)
    assert np.mean(recall) > 0.95
    ApproximateIndex.load_or_build(path, clustered[:100], contents[:100], "a-crop")
    assert path.stat().st_mtime_ns != written
    path.write_bytes(path.read_bytes()[:50])
    again = ApproximateIndex.load_or_build(path, clustered[:100], contents[:100], "a-crop")
    assert again.search(clustered[7], 1)[1].tolist() == [7]


def test_an_index_of_another_model_is_made_anew(clustered: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "pictures.faiss"
    contents = [str(i).encode() for i in range(100)]
    ApproximateIndex.load_or_build(path, clustered[:100], contents, "a-crop")
    for kept_in, features in (("b-crop", clustered[100:200]), ("b-pad", clustered[200:300])):
        found = ApproximateIndex.load_or_build(path, features, contents, kept_in)
        scores, _ = found.search(features[7], 1)
        assert scores[0] == pytest.approx(1, abs=1e-5)
