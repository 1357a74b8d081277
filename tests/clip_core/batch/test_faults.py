"""Kills, full disks, flipped bits and wrong clocks: the store of features and a folder's run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from clip_core import ZeroShotClassifier
from clip_core.batch.inputs import InputItem, find_inputs
from clip_core.batch.loader import is_settled
from clip_core.batch.organize import execute, plan
from clip_core.batch.pipeline import encode
from clip_core.errors import StoreError
from clip_core.inference.feature_store import FILE, DamagedStoreError, FeatureStore
from tests.dying import Work, dying

KILLS = int(os.environ.get("KILLS", "10"))
FLIPS = int(os.environ.get("FLIPS", "300"))
D = 8

PUT = """
import hashlib
from pathlib import Path
import torch
from clip_core.inference.feature_store import FeatureStore
def work(folder, first):
    with FeatureStore(Path(folder), 8) as store:
        print("open", flush=True)
        for number in range(first, first + 1_000_000):
            content = hashlib.sha256(str(number).encode()).digest()
            store.put(content, torch.full((8,), float(number)))
            store.note(content[:16], content)
            if number % 3 == 0:
                store.flush()
                print(number + 1, flush=True)
"""

COMMAND = """
import sys
from clip_core.cli.main import main
from clip_core.inference import feature_store
from clip_core.cli import sort
feature_store.SECONDS_BETWEEN_FLUSHES = 0.05
def work(*arguments):
    sys.stderr = sys.stdout
    return main(list(arguments))
"""

PLACE = """
from pathlib import Path
from clip_core.batch.organize import execute, plan
from clip_core.batch.inputs import find_inputs
def work(pictures, into, way):
    placed = [(source, "cat") for source in find_inputs([pictures])]
    print("found", flush=True)
    execute(plan(placed, Path(into), way), way, Path(into))
"""


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row(number: int) -> torch.Tensor:
    return torch.full((D,), float(number))


def test_no_flipped_bit_gives_a_wrong_feature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a row, a page, the header: what is found is right, and what is put again is there."""
    contents = [digest(number) for number in range(200)]
    rows = torch.stack([torch.full((64,), float(number)) for number in range(200)])
    with FeatureStore(tmp_path, 64) as store:
        for content, each in zip(contents, rows, strict=True):
            store.put(content, each)
            store.note(content[:16], content)
    file, chance, lost, said = tmp_path / FILE, random.Random(4), 0, 0
    whole = file.read_bytes()
    used = [at for at in range(len(whole)) if whole[at]]
    for number in range(FLIPS):
        # The header, which says what all else means, more often than the rest
        at = chance.randrange(100) if number % 5 == 0 else chance.choice(used)
        data = bytearray(whole)
        data[at] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        for again in range(3):  # what finds files by their names is read only when it is used
            with suppress(DamagedStoreError), FeatureStore(tmp_path, 64) as store:
                found = [content for content in contents if content in store]
                assert len(found) == 200 or again < 2, at
                places = [contents.index(content) for content in found]
                assert store.gather(found).equal(rows[places]), at
                lost += len(found) < 200
                said += store.was_damaged
                for content, each in zip(contents, rows, strict=True):
                    store.put(content, each)
                    assert store.content_of(content[:16]) in (content, None), at
                    store.note(content[:16], content)
        with FeatureStore(tmp_path, 64) as store:
            assert not store.was_damaged
            assert all(store.content_of(content[:16]) == content for content in contents), at
        for left in tmp_path.iterdir():
            left.unlink()
    assert lost > FLIPS / 20
    assert capsys.readouterr().err.count("encoded anew") == said


@pytest.mark.parametrize("where", ["vector", "key", "files"])
def test_pictures_of_changed_rows_are_encoded_again(
    tiny: ZeroShotClassifier, photographs: Path, tmp_path: Path, where: str
) -> None:
    sources = find_inputs([str(photographs / "cheetah")])[:4]

    def run() -> tuple[list[bool], torch.Tensor, bool]:
        with FeatureStore(tmp_path, tiny.model.visual.output_dim) as store:
            found = list(encode(tiny, sources, store, "crop", workers=0))
            rows = [each.features for each in found if each.features is not None]
            return [each.was_cached for each in found], torch.stack(rows), store.was_damaged

    time.sleep(2.1)  # files that were written just now have no stat key
    _, right, _ = run()
    with sqlite3.connect(tmp_path / FILE) as database:
        table, column = ("files", "key") if where == "files" else ("features", where)
        for number, data in database.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
            changed = data[:-1] + bytes([data[-1] ^ 4])
            update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
            database.execute(update, (changed, number))
    database.close()
    were_cached, again, was_damaged = run()
    # A file of unknown content is only read again
    assert (were_cached, was_damaged) == ([where == "files"] * 4, where != "files")
    assert torch.allclose(again, right, atol=1e-6)
    assert run()[::2] == ([True] * 4, False)


@pytest.mark.smoke
def test_a_store_killed_again_and_again_keeps_what_was_written(tmp_path: Path) -> None:
    chance = random.Random(1)
    count = 0
    with dying(PUT) as work:
        for _ in range(KILLS):
            ended = work.run(tmp_path, count, once="open", kill_after=chance.uniform(0, 0.4))
            assert ended.was_killed
            count = int(ended.said[-1]) if len(ended.said) > 1 else count
            with FeatureStore(tmp_path, D) as store:
                contents = [digest(number) for number in range(count)]
                assert store.gather(contents)[:, 0].tolist() == list(range(count))
                assert all(store.content_of(each[:16]) == each for each in contents)
                assert not store.was_damaged
            assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert count > KILLS


def test_a_full_disk_ends_a_store_by_one_sentence(
    mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk, number = mounted("size=1m"), 0
    store = FeatureStore(disk, 512)

    def fill() -> None:
        nonlocal number
        while True:
            store.put(digest(number), torch.full((512,), float(number)))
            number += 1
            if number % 100 == 0:
                store.flush()

    with pytest.raises(StoreError, match=r"No space left.*make room, or name another") as caught:
        fill()
    assert "\n" not in str(caught.value)
    with FeatureStore(disk, 512) as reader:
        assert not reader.was_damaged
        written = [digest(each) for each in range(number - 100)]
        assert len(written) > 0
        assert reader.gather(written)[:, 0].tolist() == list(range(number - 100))
    with suppress(StoreError):  # what waits still finds no room
        store.close()


@pytest.fixture(scope="module")
def some(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("some")
    for number, path in enumerate(sorted(photographs.glob("*/*.jpg"))[::5][:24]):
        shutil.copy(path, folder / f"{number:02d}.jpg")
    return folder


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    with dying(COMMAND) as commands:
        yield commands


def test_a_folder_s_run_killed_at_any_moment(
    work: Work, tiny_model: Path, some: Path, tmp_path: Path
) -> None:
    """What is under the table's name is whole, nobody stays behind, the next run completes it."""
    chance = random.Random(2)
    common = ["sort", str(some), "--labels", "cat", "lion", "tower", "--device", "cpu"]
    common += ["--model", str(tiny_model), "--workers", "1", "--batch-size", "2"]
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    started = time.monotonic()
    assert work.run(*common, "--out", whole, "--features", tmp_path / "f").code == 0
    seconds = time.monotonic() - started
    arguments = [*common, "--out", str(out), "--features", str(tmp_path / "features")]
    kills = 0
    for _ in range(max(KILLS // 3, 1)):
        ended = work.run(*arguments, kill_after=chance.uniform(0, seconds))
        ended.wait_for_its_own()
        kills += ended.was_killed
        if out.exists():
            pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv(whole), atol=1e-5)
            out.unlink()
    assert kills
    assert work.run(*arguments).code == 0
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv(whole), atol=1e-5)
    left = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {".json", ".csv", ".sqlite3", ".sqlite3-wal", ".sqlite3-shm"}


@pytest.mark.parametrize("full", ["--out", "--features"])
def test_a_folder_s_run_on_a_full_disk(
    work: Work,
    tiny_model: Path,
    some: Path,
    tmp_path: Path,
    mounted: Callable[[str], Path],
    full: str,
) -> None:
    disk = mounted("size=1m")
    out = (disk if full == "--out" else tmp_path) / "out.csv"
    out.write_text("of an earlier run")
    features = disk / "features" if full == "--features" else tmp_path / "features"
    arguments = ["sort", some, "--labels", "cat", "dog", "--all-scores", "--out", out]
    arguments += ["--model", tiny_model, "--device", "cpu", "--workers", "0"]
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(1024)):
            pass
    ended = work.run(*arguments, "--features", features)
    assert ended.code == 2
    assert "no space left on device" in ended.said[-1].lower()
    assert sum("no space left" in line.lower() for line in ended.said) == 1
    assert not any("Traceback" in line for line in ended.said)
    assert out.read_text() == "of an earlier run"
    assert not list(disk.rglob("*.partial"))
    (disk / "filler").unlink()
    ended = work.run(*arguments, "--features", features)
    assert ended.code == 0
    assert len(pd.read_csv(out)) == len(list(some.iterdir()))


@pytest.mark.parametrize("way", ["copy", "link", "move"])
def test_placing_killed_at_any_moment(tmp_path: Path, way: str) -> None:
    chance = random.Random(3)
    pictures, into = tmp_path / "pictures", tmp_path / "into"
    pictures.mkdir()
    datas = {f"{number:03d}.jpg": chance.randbytes(100_000) for number in range(200)}
    for name, data in datas.items():
        (pictures / name).write_bytes(data)

    def left() -> list[tuple[InputItem, str]]:
        return [(InputItem(str(path), str(path)), "cat") for path in sorted(pictures.iterdir())]

    kills = 0
    with dying(PLACE) as work:
        for number in range(KILLS):
            if not left():  # all moved before the kill came
                break
            seconds = chance.uniform(0, 0.01) if number else 0
            ended = work.run(pictures, into, way, once="found", kill_after=seconds)
            kills += ended.was_killed
            for path in into.rglob("*.jpg"):
                assert path.read_bytes() == datas[path.name]
    assert kills
    assert execute(plan(left(), into, way), way, into) == []
    found = {path.name: path.read_bytes() for path in into.rglob("*.jpg")}
    assert found == datas
    assert len(left()) == (0 if way == "move" else len(datas))


@pytest.mark.parametrize("days", [-365, 365])
def test_a_clock_that_is_set_anew_gives_no_wrong_answer(
    tiny: ZeroShotClassifier,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
) -> None:
    first, second = sorted((photographs / "cheetah").iterdir())[:2]
    path = tmp_path / "picture.jpg"
    shutil.copyfile(first, path)
    nanoseconds, seconds = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + days * 86_400 * 10**9)
    monkeypatch.setattr(time, "time", lambda: seconds() + days * 86_400)
    assert is_settled(path.stat()) == (days > 0)
    source = replace(find_inputs([str(path)])[0])

    def features() -> torch.Tensor:
        with FeatureStore(tmp_path / "features", tiny.model.visual.output_dim) as store:
            (found,) = encode(tiny, [source], store, "crop", workers=0)
        assert found.features is not None
        return found.features

    before = features()
    assert torch.equal(features(), before)
    shutil.copyfile(second, path)
    assert not torch.equal(features(), before)
