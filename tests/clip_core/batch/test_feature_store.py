from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from clip_core import ZeroShotClassifier
from clip_core.batch import feature_store as store_module
from clip_core.batch import shards as parts_module
from clip_core.batch.feature_store import FeatureStore, store_folder, weights_digest
from clip_core.config import Config
from clip_core.errors import StoreError
from clip_core.weights.build import read_checkpoint

D = 8


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row(number: int) -> torch.Tensor:
    return torch.full((D,), float(number))


def stamp(number: int) -> bytes:
    return digest(number)[:16]


def test_what_is_put_is_there_now_and_later(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as first:
        first.put(digest(1), row(1))
        first.note(stamp(1), digest(1))
        assert torch.equal(first.gather([digest(1)]), row(1)[None])
        assert digest(2) not in first
    with FeatureStore(tmp_path, D) as second:
        assert torch.equal(second.gather([digest(1)]), row(1)[None])
        assert second.content_of(stamp(1)) == digest(1)
        assert second.content_of(stamp(2)) is None
        with pytest.raises(KeyError):
            second.gather([digest(2)])


def test_parts_are_few_however_often_is_written(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        for number in range(600):
            writer.put(digest(number), row(number))
            writer.note(stamp(number), digest(number))
            writer.flush()
        assert all(torch.equal(writer.get(digest(n)), row(n)) for n in range(600))
    assert len(list(tmp_path.rglob("*.safetensors"))) < 50
    with FeatureStore(tmp_path, D) as reader:
        assert len(reader) == 600
        assert all(torch.equal(reader.get(digest(n)), row(n)) for n in range(600))
        assert all(reader.content_of(stamp(n)) == digest(n) for n in range(600))


def test_no_merged_part_is_larger_than_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LARGEST_PART", 40)
    with FeatureStore(tmp_path, D) as writer:
        for number in range(200):
            writer.put(digest(number % 190), row(number % 190))
            if number % 5 == 4:
                writer.flush()
    sizes = []
    for path in tmp_path.rglob("*.safetensors"):
        with safe_open(path, framework="np") as stored:
            sizes.append(len(stored.get_tensor("content")))
    assert max(sizes) <= 40
    assert len(sizes) < 30
    wanted = [digest(number) for number in (7, 189, 7, 3)]
    with FeatureStore(tmp_path, D) as reader:
        assert len(reader) == 190
        reader.put(digest(500), row(500))
        assert reader.gather([*wanted, digest(500)])[:, 0].tolist() == [7, 189, 7, 3, 500]


def test_a_hundred_thousand_rows_are_gathered_in_a_moment(tmp_path: Path) -> None:
    contents = [digest(number) for number in range(100_000)]
    with FeatureStore(tmp_path, D) as writer:
        for content in contents:
            writer.put(content, row(1))
    with FeatureStore(tmp_path, D) as reader:
        started = time.process_time()
        assert reader.gather(contents).shape == (100_000, D)
        taken = time.process_time() - started
        started = time.process_time()
        torch.stack([reader.get(content) for content in contents])
        assert taken < (time.process_time() - started) / 2


def test_small_steps_are_gathered(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        for number in range(100):
            writer.put(digest(number), row(number))
            writer.flush(at_once=False)
        assert len(list(tmp_path.rglob("*.safetensors"))) <= 1
    assert len(FeatureStore(tmp_path, D)) == 100


def test_what_waits_too_long_or_is_too_much_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ROWS_IN_MEMORY", 3)
    writer = FeatureStore(tmp_path, D)
    for number in range(4):
        writer.put(digest(number), row(number))
        writer.flush(at_once=False)
    assert len(FeatureStore(tmp_path, D)) == 3  # and this process's copy is still open


def test_a_broken_part_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        with FeatureStore(tmp_path, D) as writer:
            writer.put(digest(number), row(number))
    broken, _ = sorted(tmp_path.rglob("*.safetensors"))
    broken.write_bytes(broken.read_bytes()[:-7])
    (tmp_path / "writer-000/part-x.safetensors").write_bytes(b"")
    with FeatureStore(tmp_path, D) as reader:
        assert len(reader) == 1
        assert reader.broken == 2
    assert capsys.readouterr().err.count("is broken and dropped") == 2
    assert FeatureStore(tmp_path, D).broken == 0  # it is said once


def test_half_a_part_of_a_killed_process_goes(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D):
        pass
    for name in ("part-1.partial", ".tmpAbc123"):  # the second is what safetensors renames
        (tmp_path / "writer-000" / name).write_bytes(b"half")
    with FeatureStore(tmp_path, D):
        assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["lock"]


def test_two_at_once_write_apart_and_read_together(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as one, FeatureStore(tmp_path, D) as two:
        one.put(digest(1), row(1))
        two.put(digest(2), row(2))
    with FeatureStore(tmp_path, D) as reader:
        assert len(reader) == 2
    assert {path.parent.name for path in tmp_path.rglob("*.safetensors")} == {
        "writer-000",
        "writer-001",
    }


def test_other_dimensions_are_dropped(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        writer.put(digest(1), row(1))
    assert FeatureStore(tmp_path, D + 1).broken == 1


def test_the_form_is_open(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        writer.put(digest(1), row(1))
    (path,) = tmp_path.rglob("*.safetensors")
    with safe_open(path, framework="np") as stored:
        assert stored.get_tensor("content").tobytes() == digest(1)
        assert stored.get_tensor("features").tolist() == [[1.0] * D]


def test_a_folder_for_each_model_and_framing(tiny: ZeroShotClassifier, tmp_path: Path) -> None:
    other = ZeroShotClassifier("bundled", device="cpu")
    folders = [
        store_folder(tmp_path, tiny, "crop"),
        store_folder(tmp_path, tiny, "pad"),
        store_folder(tmp_path, other, "pad"),
    ]
    assert len(set(folders)) == 3
    assert store_folder(tmp_path, tiny, "crop") == folders[0]
    said = json.loads((folders[0] / "model.json").read_text(encoding="utf-8"))
    assert said["weights"] == weights_digest(tiny, "crop")
    assert said["kind"] == "crop"


def test_other_weights_have_another_folder(tiny_model: Path) -> None:
    first, second = (ZeroShotClassifier(tiny_model, device="cpu") for _ in range(2))
    assert weights_digest(first, "crop") == weights_digest(second, "crop")
    with torch.no_grad():
        next(second.model.visual.parameters()).view(-1)[0] += 1e-6
    assert weights_digest(first, "crop") != weights_digest(second, "crop")


def test_the_same_tensors_in_another_tower_have_another_folder(tiny_model: Path) -> None:
    published = read_checkpoint(tiny_model)
    configs = [Config(), Config(activation="gelu"), Config(vision_heads=2)]
    digests = {
        weights_digest(ZeroShotClassifier(replace(published, config=config), "cpu"), "crop")
        for config in configs
    }
    assert len(digests) == 3


def test_where_nothing_can_be_written(tmp_path: Path, tiny: ZeroShotClassifier) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="--features"):
        store_folder(tmp_path / "file", tiny, "crop")
    with pytest.raises(StoreError, match="--features"):
        FeatureStore(tmp_path / "file", D)


def test_a_full_disk_loses_nothing_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FeatureStore(tmp_path, D)
    writer.put(digest(1), row(1))
    writer.flush()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    writer.put(digest(2), row(2))
    monkeypatch.setattr(parts_module, "save_file", full)
    with pytest.raises(StoreError, match="No space left"):
        writer.flush()
    assert len(FeatureStore(tmp_path, D)) == 1
