"""Labels' features that outlive the program."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from clip_core import CLIP, ZeroShotClassifier
from clip_core.inference import feature_store, text_features
from clip_core.inference.fingerprint import text_fingerprint
from clip_core.inference.text_features import FILE, TextFeatures
from clip_core.model import VisionTransformer

LABELS = ["cat", "dog", "a horse = ; drop table texts"]


def classifier(model: Path) -> ZeroShotClassifier:
    return ZeroShotClassifier(model, device="cpu")


def prompts(labels: list[str]) -> list[list[str]]:
    return [[f"a {label}", f"the {label}"] for label in labels]


def features(count: int, start: int = 0) -> dict[tuple[str, ...], torch.Tensor]:
    rows = F.normalize(torch.randn(count, 8), dim=-1)
    return {(f"label {start + i}",): row for i, row in enumerate(rows)}


@pytest.fixture
def model() -> CLIP:
    return CLIP(8, VisionTransformer(32, 16, 64, 1, 1, 8), 77, 100, 64, 1, 1)


def test_after_a_restart_nothing_is_computed(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = classifier(tiny_model).label_features(prompts(LABELS))
    again = classifier(tiny_model)
    monkeypatch.setattr(again, "_encode_texts", None)
    assert torch.equal(again.label_features(prompts(LABELS)), first)
    assert again._encode_prompts([tuple(texts) for texts in prompts(LABELS)]).kept == 3


@pytest.mark.slow
def test_another_process_shares_it(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, clip_core; clip_core.ZeroShotClassifier(sys.argv[1], 'cpu')"
        ".label_features([[f'label {i}'] for i in range(40)])"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tiny_model)], cwd=Path(__file__).parents[3]
        )
        for _ in range(2)
    ]
    assert [process.wait(300) for process in running] == [0, 0]
    here = classifier(tiny_model)
    monkeypatch.setattr(here, "_encode_texts", None)
    assert here.label_features([[f"label {i}"] for i in range(40)]).shape == (40, 64)


def test_nothing_is_written_where_it_is_not_wanted(tiny_model: Path, tmp_path: Path) -> None:
    ZeroShotClassifier(tiny_model, "cpu", texts_on_disk=False).label_features(prompts(LABELS))
    assert not (tmp_path / "clip-cache" / FILE).exists()


def test_what_was_typed_can_not_be_read(tiny_model: Path, tmp_path: Path) -> None:
    classifier(tiny_model).label_features([["my secret label"]])
    data = b"".join(path.read_bytes() for path in (tmp_path / "clip-cache").glob(f"{FILE}*"))
    assert data
    assert b"secret" not in data


def test_a_model_has_its_own(model: CLIP, tmp_path: Path) -> None:
    kept = features(3)
    TextFeatures(tmp_path, model).put(kept)
    assert len(TextFeatures(tmp_path, model).get(list(kept))) == 3
    with torch.no_grad():
        model.ln_final.bias[0] += 1
    assert TextFeatures(tmp_path, model).get(list(kept)) == {}
    gelu = CLIP(8, VisionTransformer(32, 16, 64, 1, 1, 8), 77, 100, 64, 1, 1, "gelu")
    gelu.load_state_dict(model.state_dict())
    assert text_fingerprint(gelu) != text_fingerprint(model)


def test_a_damaged_row_is_missing_and_made_again(model: CLIP, tmp_path: Path) -> None:
    kept = features(3)
    TextFeatures(tmp_path, model).put(kept)
    with sqlite3.connect(tmp_path / FILE) as database:
        (key,) = database.execute("SELECT key FROM features LIMIT 1").fetchone()
        database.execute("UPDATE features SET vector = zeroblob(32) WHERE key = ?", (key,))
    database.close()
    store = TextFeatures(tmp_path, model)
    assert len(store.get(list(kept))) == 2
    store.put(kept)
    found = store.get(list(kept))
    assert all(torch.equal(found[texts], row) for texts, row in kept.items())


def test_it_is_bounded_and_the_oldest_go(
    model: CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = feature_store.LOG_RESERVE + 64 * feature_store.PAGE_BYTES
    monkeypatch.setattr(text_features, "MAX_BYTES", bound)
    store = TextFeatures(tmp_path, model)
    clock = [1_000_000]
    monkeypatch.setattr(feature_store.time, "time", lambda: clock[0])

    def rows() -> int:
        with sqlite3.connect(tmp_path / FILE) as database:
            (count,) = database.execute("SELECT COUNT(*) FROM features").fetchone()
        database.close()
        return count

    store.put(old := features(1000))
    clock[0] += 10 * 86_400
    count = 1000
    while rows() == count:  # until there is no room for more
        assert len(store.get(list(old)[:5])) == 5  # used again: they stay
        store.put(features(100, start=count))
        count += 100
    assert 5000 < rows() < count
    store.put(new := features(20, start=count))
    assert len(store.get(list(new))) == 20
    assert len(store.get(list(old)[:5])) == 5
    assert len(store.get(list(old)[5:])) < 995
    clock[0] += 1
    store.put(features(2 * count, start=count + 20))
    assert store.get([*old, *new]) == {}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound


@pytest.mark.parametrize("harm", ["junk", "folder", "file for a folder"])
def test_where_it_can_not_be_used_answers_come_all_the_same(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    cache = tmp_path / "cache"
    if harm == "file for a folder":
        cache.write_text("x")
    else:
        cache.mkdir()
        if harm == "junk":
            (cache / FILE).write_bytes(b"no database " * 100)
        else:
            (cache / FILE).mkdir()
    monkeypatch.setenv("CLIP_CACHE", str(cache))
    one = classifier(tiny_model).label_features(prompts(LABELS))
    plain = ZeroShotClassifier(tiny_model, "cpu", texts_on_disk=False)
    assert torch.allclose(one, plain.label_features(prompts(LABELS)), atol=1e-6)
    if harm == "junk":  # replaced
        again = classifier(tiny_model)
        monkeypatch.setattr(again, "_encode_texts", None)
        assert torch.equal(again.label_features(prompts(LABELS)), one)
