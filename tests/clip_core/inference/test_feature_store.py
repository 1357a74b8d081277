"""Features on disk: what is put is found, by whoever asks, within bounds of size and of time."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from clip_core.errors import StoreError
from clip_core.inference import feature_store as store_module
from clip_core.inference.feature_store import FILE, FeatureStore

ROOT = Path(__file__).parents[3]
D = 8

PUT = """
import hashlib, sys
from pathlib import Path
import torch
from clip_core.inference.feature_store import FeatureStore
first = int(sys.argv[2])
with FeatureStore(Path(sys.argv[1]), 8) as store:
    for number in range(first, first + 300):
        content = hashlib.sha256(str(number).encode()).digest()
        store.put(content, torch.full((8,), float(number)))
        store.note(content[:16], content)
        if number % 10 == 0:
            store.flush()
"""


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row(number: int, dimensions: int = D) -> torch.Tensor:
    return torch.full((dimensions,), float(number))


def stat_key(number: int) -> bytes:
    return digest(number)[:16]


def bytes_on_disk(folder: Path) -> int:
    """Of the file with its log and what is beside it."""
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_is_put_is_there_now_and_later(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as first:
        first.put(digest(1), row(1))
        first.note(stat_key(1), digest(1))
        assert digest(1) in first
        assert first.content_of(stat_key(1)) == digest(1)
        assert torch.equal(first.gather([digest(1)]), row(1)[None])
        assert digest(2) not in first
        assert first.get(digest(2)) is None
    with FeatureStore(tmp_path, D) as second:
        assert not second.was_damaged
        assert torch.equal(second.gather([digest(1)]), row(1)[None])
        assert list(second.contents()) == [digest(1)]
        assert second.content_of(stat_key(1)) == digest(1)
        assert second.content_of(stat_key(2)) is None
        with pytest.raises(KeyError):
            second.gather([digest(2)])


def test_a_file_whose_features_are_not_here_is_not_known(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as store:
        store.note(stat_key(1), digest(1))
        assert store.content_of(stat_key(1)) is None
        store.flush()
        assert store.content_of(stat_key(1)) is None
        store.put(digest(1), row(1))
        store.flush()
        assert store.content_of(stat_key(1)) == digest(1)


def test_rows_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        for number in range(1200):
            writer.put(digest(number), row(number))
            if number % 7 == 0:
                writer.flush()
    wanted = [*range(1100, 100, -1), 7, 1100, 7]
    with FeatureStore(tmp_path, D) as reader:
        assert len(reader) == 1200
        reader.put(digest(5000), row(5000))
        found = reader.gather([digest(number) for number in [*wanted, 5000]])
        assert found[:, 0].tolist() == [*wanted, 5000]
        assert reader.gather([]).shape == (0, D)
        assert all(torch.equal(reader.get(digest(n)), row(n)) for n in wanted)


def test_a_hundred_thousand_rows_are_gathered_in_a_moment(tmp_path: Path) -> None:
    contents = [digest(number) for number in range(100_000)]
    with FeatureStore(tmp_path, D) as writer:
        writer.write(dict.fromkeys(contents, row(1)))
    with FeatureStore(tmp_path, D) as reader:
        started = time.process_time()
        assert reader.gather(contents).shape == (100_000, D)
        taken = time.process_time() - started
        started = time.process_time()
        torch.stack([reader.get(content) for content in contents])
        assert taken < (time.process_time() - started) / 2


@pytest.mark.parametrize("dimensions", [256, 1024])
def test_it_is_little_larger_than_the_features(tmp_path: Path, dimensions: int) -> None:
    count = 20_000
    vector = row(1, dimensions)
    with FeatureStore(tmp_path, dimensions) as store:
        store.write(
            {digest(number): vector for number in range(count)},
            {stat_key(number): digest(number) for number in range(count)},
        )
    assert bytes_on_disk(tmp_path) <= 1.25 * count * dimensions * 4


@pytest.mark.parametrize("dimensions", [256, 1024])
def test_a_bound_holds_for_all_that_lies_on_disk(tmp_path: Path, dimensions: int) -> None:
    bound = store_module.LOG_RESERVE + (24 << 20)
    rows = (bound - store_module.LOG_RESERVE) // (4 * dimensions)
    store = FeatureStore(tmp_path, dimensions, max_bytes=bound)
    vector, largest, step = row(1, dimensions), 0, rows // 50
    for first in range(0, 2 * rows, step):
        store.write({digest(number): vector for number in range(first, first + step)})
        if first == 0:  # these are read much later: asked for again, they are not old
            kept = [digest(number) for number in range(step)]
        largest = max(largest, bytes_on_disk(tmp_path))
    assert largest <= bound
    assert len(store) * 4 * dimensions > 0.8 * (bound - store_module.LOG_RESERVE)
    assert len(store.read(kept)) == 0
    assert len(store.read([digest(number) for number in range(first, first + step)])) == step
    store.close()


def test_rows_of_other_sizes_make_room_for_each_other(tmp_path: Path) -> None:
    """As those of several models in one file do."""
    bound = store_module.LOG_RESERVE + (4 << 20)
    for round_, dimensions in enumerate((256, 1024, 64, 1024, 256)):
        store = FeatureStore(tmp_path, dimensions, max_bytes=bound)
        for first in range(0, 6 * (4 << 20) // (4 * dimensions) // 4, 100):
            keys = [digest(1_000_000 * round_ + first + i) for i in range(100)]
            store.write(dict.fromkeys(keys, row(1, dimensions)))
            assert len(store.read(keys)) == 100
        assert bytes_on_disk(tmp_path) <= bound
        store.close()


def test_little_steps_are_written_together(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer, FeatureStore(tmp_path, D) as reader:
        for number in range(100):
            writer.put(digest(number), row(number))
            writer.flush(at_once=False)
        assert len(reader) == 0
    with FeatureStore(tmp_path, D) as reader:
        assert len(reader) == 100


def test_what_waits_too_long_or_is_too_much_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ROWS_IN_MEMORY", 3)
    writer = FeatureStore(tmp_path, D)
    for number in range(4):
        writer.put(digest(number), row(number))
        writer.flush(at_once=False)
    assert len(FeatureStore(tmp_path, D)) == 3  # and this process's copy is still open
    monkeypatch.setattr(store_module, "SECONDS_BETWEEN_FLUSHES", 0)
    writer.flush(at_once=False)
    assert len(FeatureStore(tmp_path, D)) == 4


def test_damaged_rows_are_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FeatureStore(tmp_path, D) as writer:
        for number in range(4):
            writer.put(digest(number), row(number))
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE features SET vector = zeroblob(32) WHERE key = ?", (digest(1),))
        database.execute("UPDATE features SET vector = NULL WHERE key = ?", (digest(2),))
    database.close()
    with FeatureStore(tmp_path, D) as reader:
        assert reader.was_damaged
        assert sorted(reader.contents()) == sorted([digest(0), digest(3)])
    assert "2 features are damaged and dropped" in capsys.readouterr().err
    with FeatureStore(tmp_path, D) as reader:
        assert not reader.was_damaged  # it is said once


def test_a_file_that_is_no_database_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(b"no database " * 100)
    with FeatureStore(tmp_path, D) as store:
        assert store.was_damaged
        store.put(digest(1), row(1))
    assert capsys.readouterr().err.count("\n") == 1
    with FeatureStore(tmp_path, D) as store:
        assert not store.was_damaged
        assert len(store) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_rows_beside_a_damaged_page_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FeatureStore(tmp_path, 256) as store:
        store.write({digest(number): row(number, 256) for number in range(300)})
    data = bytearray((tmp_path / FILE).read_bytes())
    page = data.index(row(150, 256).numpy().tobytes()) // store_module.PAGE_BYTES
    start = page * store_module.PAGE_BYTES
    data[start : start + 8] = b"\xff" * 8  # what the page says of itself
    (tmp_path / FILE).write_bytes(data)
    with FeatureStore(tmp_path, 256) as store:
        assert store.was_damaged
        kept = [number for number in range(300) if digest(number) in store]
        assert 300 - 2 * 31 <= len(kept) < 300
        assert store.gather([digest(n) for n in kept])[:, 0].tolist() == kept
    assert capsys.readouterr().err.count("\n") == 1


def test_two_processes_and_their_threads_write_at_once(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", PUT, str(tmp_path), str(first)], cwd=ROOT)
        for first in (0, 200)
    ]
    with FeatureStore(tmp_path, D) as store, ThreadPoolExecutor(4) as pool:

        def put(number: int) -> None:
            store.put(digest(number), row(number))
            store.flush(at_once=number % 5 == 0)
            found = store.get(digest(number))
            assert found is not None
            assert torch.equal(found, row(number))

        list(pool.map(put, range(400, 700)))
    assert [process.wait(300) for process in running] == [0, 0]
    with FeatureStore(tmp_path, D) as reader:
        assert not reader.was_damaged
        found = reader.gather([digest(number) for number in range(700)])
        assert found[:, 0].tolist() == list(range(700))
        assert all(reader.content_of(stat_key(n)) == digest(n) for n in range(500))


def test_other_dimensions_are_dropped(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        writer.put(digest(1), row(1))
    with FeatureStore(tmp_path, D + 1) as other:
        assert other.was_damaged
        assert len(other) == 0


def test_the_form_is_open(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, D) as writer:
        writer.put(digest(1), row(1))
    with sqlite3.connect(tmp_path / FILE) as database:
        ((key, vector),) = database.execute("SELECT key, vector FROM features").fetchall()
    database.close()
    assert key == digest(1)
    assert torch.frombuffer(bytearray(vector), dtype=torch.float32).tolist() == [1.0] * D


def test_files_of_the_layout_before_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "writer-000").mkdir()
    old = [tmp_path / "writer-000/part-1.safetensors", tmp_path / "texts.sqlite3"]
    for path in old:
        path.write_bytes(b"of an earlier version")
    with FeatureStore(tmp_path, D) as store:
        store.put(digest(1), row(1))
        assert not store.was_damaged
    assert {path.read_bytes() for path in old} == {b"of an earlier version"}


def test_stores_of_several_machines_are_merged(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, numbers in ((here, range(100)), (there, range(50, 150))):
        with FeatureStore(folder, D) as store:
            for number in numbers:
                store.put(digest(number), row(number))
                store.note(stat_key(number), digest(number))
    before = (there / FILE).read_bytes()
    with FeatureStore(here, D) as store:
        for _ in range(2):
            store.merge(there / FILE)
            assert len(store) == 150
        assert store.gather([digest(n) for n in range(150)])[:, 0].tolist() == list(range(150))
        assert all(store.content_of(stat_key(n)) == digest(n) for n in range(150))
    with FeatureStore(here, D) as store:
        assert not store.was_damaged
        assert len(store) == 150
        with pytest.raises(StoreError, match="There are no features in"):
            store.merge(tmp_path / "nowhere.sqlite3")
        (tmp_path / "junk").write_bytes(b"no database " * 100)
        with pytest.raises(StoreError, match="junk' can't be read"):
            store.merge(tmp_path / "junk")
        assert len(store) == 150
    assert (there / FILE).read_bytes() == before
    assert not (tmp_path / "nowhere.sqlite3").exists()


def test_a_copy_of_the_process_opens_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path, D)
    store.put(digest(1), row(1))
    store.flush()
    inherited = store._connection
    monkeypatch.setattr(store_module.os, "getpid", lambda: -1)
    assert store.get(digest(1)) is not None
    assert store._connection is not inherited


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(StoreError, match=r"can't be kept in .*Name another folder by --features\."),
        FeatureStore(tmp_path / "file", D),
    ):
        pass
