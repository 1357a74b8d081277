from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch import loader, pipeline
from clip_core.batch.inputs import InputItem, find_inputs
from clip_core.batch.pipeline import Embedding, MemoryStore, encode, encode_with
from clip_core.batch.store_folder import store_folder
from clip_core.inference.feature_store import FeatureStore


def open_store(folder: Path, classifier: ZeroShotClassifier, framing: str = "crop") -> FeatureStore:
    named = store_folder(folder, classifier, framing)
    return FeatureStore(named, classifier.model.visual.output_dim)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each forward pass had."""
    sizes: list[int] = []
    run = pipeline.encode_crops

    def count(
        classifier: ZeroShotClassifier, batch: list[object], appearance: bool
    ) -> torch.Tensor:
        sizes.append(len(batch))
        return run(classifier, batch, appearance)

    monkeypatch.setattr(pipeline, "encode_crops", count)
    return sizes


@pytest.mark.parametrize("framing", ["crop", "pad", "squash", "crops"])
def test_features_are_those_of_the_classifier(
    tiny: ZeroShotClassifier, tmp_path: Path, framing: str
) -> None:
    sources = find_inputs(["ui/examples"])
    with open_store(tmp_path, tiny, framing) as store:
        encoded = list(encode(tiny, sources, store, framing, workers=0, batch_size=4))
    assert [each.item for each in encoded] == sources
    for each in encoded:
        single = tiny.image_features(each.item.path, framing)
        assert torch.allclose(each.features, single, atol=1e-5)


def test_nothing_is_computed_twice(
    tiny: ZeroShotClassifier,
    store: FeatureStore,
    photographs: Path,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "LONGEST_WAIT", 1e6)
    sources = find_inputs([photographs])
    first = list(encode(tiny, sources, store, "crop", workers=2, batch_size=8))
    contents = {each.content for each in first}
    assert sum(asked) == len(contents) == sum(not each.was_cached for each in first)
    assert set(asked[:-1]) == {8}
    again = list(encode(tiny, sources, store, "crop", workers=0))
    assert sum(asked) == len(contents)
    assert all(each.was_cached for each in again)
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
        monkeypatch.setattr(pipeline, "LONGEST_WAIT", 1e6)
        monkeypatch.setattr(pipeline, name, least)
        read = []
        encoded = encode(tiny, (read.append(s) or s for s in sources), other, "crop", workers=0)
        assert next(encoded).item == sources[0]
        assert len(read) <= 4


def test_copies_and_moved_files_are_known_by_content(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path
) -> None:
    path = sorted(photographs.glob("*/*.jpg"))[0]
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(path.read_bytes())
    kept = [e.was_cached for e in encode(tiny, find_inputs([tmp_path]), store, "crop", workers=0)]
    assert kept == [False, True]
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    assert all(
        e.was_cached for e in encode(tiny, find_inputs([tmp_path]), store, "crop", workers=0)
    )


def test_unchanged_files_are_not_even_read(
    tiny: ZeroShotClassifier,
    store: FeatureStore,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = find_inputs([photographs])[:20]
    for source in sources:
        os.utime(source.path)
    monkeypatch.setattr(loader, "SETTLED_NS", 0)
    list(encode(tiny, sources, store, "crop", workers=0))

    def refuse(path: str) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(loader, "read_whole", refuse)
    assert all(each.was_cached for each in encode(tiny, sources, store, "crop", workers=0))


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
    assert "not a picture" in (inside[-1].error or "")
    assert all(each.was_cached for each in outside)


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
    problems = [each.error for each in encode(tiny, find_inputs([path]), store, "crop", 0)]
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
    assert [bool(each.error) for each in encoded] == [False, True, True, True, False, True]
    assert encoded[4].was_cached


def test_in_threads_and_in_memory_it_is_the_same(
    tiny: ZeroShotClassifier, store: FeatureStore, photographs: Path, tmp_path: Path
) -> None:
    """What the page does: no process, no store on disk, a look at each opened image."""
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photographs.glob("*/*.jpg"))[:12]:
            archive.write(file, file.name)
        archive.writestr("broken.jpg", b"no picture")
    items = [*find_inputs([path]), *find_inputs([photographs / "cheetah"])]
    memory, opened = MemoryStore(), []

    def run(batch: list[np.ndarray]) -> torch.Tensor:
        return pipeline.encode_crops(tiny, batch)

    def embed(items: Iterable[InputItem]) -> Iterator[Embedding]:
        return encode_with(
            run,
            items,
            memory,
            tiny.input_resolution,
            "crop",
            batch_size=4,
            threads=2,
            on_image=lambda item, image: opened.append((item.name, image.size)),
        )

    expected = list(encode(tiny, items, store, "crop", workers=0))
    for _ in range(2):
        found = list(embed(items))
        assert [each.item for each in found] == items
        for one, other in zip(found, expected, strict=True):
            assert one.error == other.error
            assert (one.features is None) == (other.features is None)
            if one.features is not None and other.features is not None:
                assert torch.allclose(one.features, other.features, atol=1e-5)
        readable = [each.item.name for each in expected if each.error is None]
        assert sorted(name for name, _ in opened) == sorted(readable)  # copies and known ones too
        opened.clear()
    stopped = embed(items * 50)
    next(stopped)
    stopped.close()
    assert len(opened) < 50
