from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch import loader as reading
from clip_core.batch import pipeline as encode_module
from clip_core.batch.inputs import find_inputs
from clip_core.batch.pipeline import encode
from clip_core.batch.store_folder import store_folder
from clip_core.inference.feature_store import FeatureStore


def open_store(folder: Path, classifier: ZeroShotClassifier, framing: str = "crop") -> FeatureStore:
    named = store_folder(folder, classifier, framing)
    return FeatureStore(named, classifier.model.visual.output_dim)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each forward pass had."""
    sizes: list[int] = []
    run = encode_module.run_squares

    def count(
        classifier: ZeroShotClassifier, batch: list[object], appearance: bool
    ) -> torch.Tensor:
        sizes.append(len(batch))
        return run(classifier, batch, appearance)

    monkeypatch.setattr(encode_module, "run_squares", count)
    return sizes


@pytest.mark.parametrize("framing", ["crop", "pad", "squash", "crops"])
def test_features_are_those_of_the_classifier(
    tiny: ZeroShotClassifier, tmp_path: Path, framing: str
) -> None:
    sources = find_inputs(["ui/examples"])
    with open_store(tmp_path, tiny, framing) as store:
        encoded = list(encode(tiny, sources, store, framing, workers=0, batch_size=4))
    assert [each.source for each in encoded] == sources
    for each in encoded:
        single = tiny.image_features(each.source.path, framing)
        assert torch.allclose(each.features, single, atol=1e-5)


def test_nothing_is_computed_twice(
    tiny: ZeroShotClassifier,
    store: FeatureStore,
    photographs: Path,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encode_module, "LONGEST_WAIT", 1e6)
    sources = find_inputs([photographs])
    first = list(encode(tiny, sources, store, "crop", workers=2, batch_size=8))
    contents = {each.content for each in first}
    assert sum(asked) == len(contents) == sum(not each.was_kept for each in first)
    assert set(asked[:-1]) == {8}
    again = list(encode(tiny, sources, store, "crop", workers=0))
    assert sum(asked) == len(contents)
    assert all(each.was_kept for each in again)
    assert all(torch.equal(a.features, b.features) for a, b in zip(first, again, strict=True))


def test_known_pictures_do_not_wait_for_a_batch(
    tiny: ZeroShotClassifier,
    store: FeatureStore,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = find_inputs([photographs])[:12]
    list(encode(tiny, sources[1:], store, "crop", workers=0))
    for name, least in (("MOST_ROWS_WAITING", 3), ("LONGEST_WAIT", 0.0)):
        other = FeatureStore(store.folder, store.dimensions)  # knows all but the first
        monkeypatch.setattr(encode_module, "LONGEST_WAIT", 1e6)
        monkeypatch.setattr(encode_module, name, least)
        read = []
        encoded = encode(tiny, (read.append(s) or s for s in sources), other, "crop", workers=0)
        assert next(encoded).source == sources[0]
        assert len(read) <= 4


def test_copies_and_moved_files_are_known_by_content(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path
) -> None:
    path = sorted(photographs.glob("*/*.jpg"))[0]
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(path.read_bytes())
    kept = [e.was_kept for e in encode(tiny, find_inputs([tmp_path]), store, "crop", workers=0)]
    assert kept == [False, True]
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    assert all(e.was_kept for e in encode(tiny, find_inputs([tmp_path]), store, "crop", workers=0))


def test_unchanged_files_are_not_even_read(
    tiny: ZeroShotClassifier,
    store: FeatureStore,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = find_inputs([photographs])[:20]
    for source in sources:
        os.utime(source.path)
    monkeypatch.setattr(reading, "SETTLED_NS", 0)
    list(encode(tiny, sources, store, "crop", workers=0))

    def refuse(path: str) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(reading, "read_whole", refuse)
    assert all(each.was_kept for each in encode(tiny, sources, store, "crop", workers=0))


def test_a_changed_file_is_read_again(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path
) -> None:
    first, second = sorted(photographs.glob("*/*.jpg"))[:2]
    path = tmp_path / "x.jpg"
    contents = []
    for original in (first, second):
        path.write_bytes(original.read_bytes())
        (each,) = encode(tiny, find_inputs([path]), store, "crop", workers=0)
        contents.append(each.content)
    assert contents[0] != contents[1]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_give_what_their_folder_gives(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path, kind: str
) -> None:
    folder = next(path for path in sorted(photographs.iterdir()))
    path = tmp_path / f"pictures.{kind}"
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in [*sorted(folder.iterdir()), broken]:
                archive.write(file, file.name)
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
            for file in [*sorted(folder.iterdir()), broken]:
                tar.add(file, file.name)
    inside = list(encode(tiny, find_inputs([path]), store, "crop", workers=2))
    outside = list(encode(tiny, find_inputs([folder]), store, "crop", workers=0))
    assert [each.content for each in inside[:-1]] == [each.content for each in outside]
    assert "not a picture" in (inside[-1].problem or "")
    assert all(each.was_kept for each in outside)


def test_an_archive_that_breaks_in_the_middle(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photographs.glob("*/*.jpg"))[:6]:
            archive.write(file)
        offset = archive.infolist()[2].header_offset
    data = bytearray(path.read_bytes())
    data[offset + 200 : offset + 260] = bytes(60)
    path.write_bytes(data)
    problems = [each.problem for each in encode(tiny, find_inputs([path]), store, "crop", 0)]
    assert [bool(problem) for problem in problems] == [False, False, True, False, False, False]
    assert problems[2] == "The archive is broken at this picture."


def test_broken_files_stop_nothing(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path
) -> None:
    good = sorted(photographs.glob("*/*.jpg"))[0].read_bytes()
    for name, data in {
        "a.jpg": good,
        "b.jpg": good[: len(good) // 2],
        "c.jpg": b"",
        "d.jpg": b"not a picture",
        "e.jpg": good,
    }.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "f.jpg").symlink_to("nowhere")
    encoded = list(encode(tiny, find_inputs([tmp_path]), store, "crop", workers=2))
    assert [bool(each.problem) for each in encoded] == [False, True, True, True, False, True]
    assert encoded[4].was_kept
