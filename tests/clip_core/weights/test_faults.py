"""Kills, full and read-only disks, flipped bits, wrong clocks: downloads and labels' features."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import filelock
import pytest
import torch

from clip_core import CLIP, ZeroShotClassifier
from clip_core.inference import feature_store, text_features
from clip_core.inference.text_features import FILE, TextFeatures
from clip_core.model import VisionTransformer
from clip_core.weights.download import download
from tests.dying import dying
from tests.file_server import DATA, serve_file
from tests.hub_server import serve_hub

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui/examples/cat.jpg"
KILLS = int(os.environ.get("KILLS", "10"))
FLIPS = int(os.environ.get("FLIPS", "300"))

DOWNLOAD = """
from pathlib import Path
from clip_core.weights.download import download
def work(address, path, sha256):
    download(address, Path(path), sha256, on_progress=lambda done, total: None)
"""

COMMAND = """
import sys
from clip_core.cli.main import main
import clip_core.cli.sort
def work(*arguments):
    sys.stderr = sys.stdout
    return main(list(arguments))
"""

FROM_THE_HUB = """
from clip_core.weights.hub import fetch_file
def work():
    print(fetch_file("owner/name", "weights.bin"))
"""

PUT_LABELS = """
from pathlib import Path
import torch
from clip_core import CLIP
from clip_core.model import VisionTransformer
from clip_core.inference.text_features import TextFeatures
torch.manual_seed(0)
model = CLIP(8, VisionTransformer(32, 16, 64, 1, 1, 8), 77, 100, 64, 1, 1)
def work(folder, first):
    store = TextFeatures(Path(folder), model)
    for number in range(first, first + 1_000_000, 20):
        store.put({(f"label {n}",): torch.full((8,), float(n)) for n in range(number, number + 20)})
        print(number + 20, flush=True)
"""


@pytest.fixture
def model() -> CLIP:
    torch.manual_seed(0)
    return CLIP(8, VisionTransformer(32, 16, 64, 1, 1, 8), 77, 100, 64, 1, 1)


def label(number: int) -> tuple[str, ...]:
    return (f"label {number}",)


def row(number: int) -> torch.Tensor:
    return torch.full((8,), float(number))


def kept_rows(count: int) -> dict[tuple[str, ...], torch.Tensor]:
    return {label(number): row(number) for number in range(count)}


def close(store: TextFeatures) -> None:
    store._store.close()


def test_a_download_killed_again_and_again_begins_once(tmp_path: Path) -> None:
    chance = random.Random(1)
    path, part = tmp_path / "weights.pt", tmp_path / "weights.pt.part"
    sha256 = hashlib.sha256(DATA).hexdigest()
    asked: list[str | None] = []
    with serve_file() as server, dying(DOWNLOAD) as work:
        server.slowly = 0.1
        for _ in range(KILLS):
            before = part.stat().st_size if part.exists() else 0
            asked.append(f"bytes={before}-" if before else None)
            ended = work.run(server.address, path, sha256, kill_after=chance.uniform(0, 0.5))
            assert ended.was_killed
            if len(server.asked) < len(asked):
                asked.pop()  # killed before it asked
            came = part.read_bytes() if part.exists() else b""
            assert len(came) >= before  # nothing is lost
            assert came == DATA[: len(came)]
            assert not path.exists()
            with filelock.FileLock(f"{path}.lock", timeout=0):
                pass
        server.slowly = 0
        before = part.stat().st_size
        assert before > 0
        download(server.address, path, sha256, on_progress=lambda done, total: None)
        assert server.asked == [*asked, f"bytes={before}-"]
    assert path.read_bytes() == DATA


def test_a_download_from_the_hub_that_is_killed_ends_right(tmp_path: Path) -> None:
    chance = random.Random(2)
    folder = tmp_path / "repositories/owner/name"
    folder.mkdir(parents=True)
    data = chance.randbytes(24_000_000)
    (folder / "weights.bin").write_bytes(data)
    home = {"HF_HOME": str(tmp_path / "huggingface"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with (
        serve_hub(tmp_path / "repositories") as hub,
        dying(FROM_THE_HUB, HF_ENDPOINT=hub.address, **home) as work,
    ):
        hub.pause = 0.02
        for _ in range(max(KILLS // 3, 1)):
            assert work.run(kill_after=chance.uniform(0, 0.9)).was_killed
            assert not list((tmp_path / "huggingface").rglob("snapshots/*/*"))
        hub.pause = 0
        ended = work.run()
    assert ended.code == 0
    assert Path(ended.said[-1]).read_bytes() == data


@pytest.mark.parametrize(
    ("options", "sentence"),
    [("ro", "can't be written: set HF_HOME."), ("size=1m", "The disk is full: free some space")],
)
def test_where_the_hub_s_cache_can_not_be_written(
    tmp_path: Path, mounted: Callable[[str], Path], options: str, sentence: str
) -> None:
    folder = tmp_path / "repositories/owner/name"
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(3_000_000))
    home = {"HF_HOME": str(mounted(options)), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    code = (
        "from clip_core.weights.hub import fetch_file\n"
        "try: fetch_file('owner/name', 'weights.bin')\n"
        "except RuntimeError as error: print(error)\n"
    )
    with serve_hub(tmp_path / "repositories") as hub:
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"HF_ENDPOINT": hub.address} | home,
            capture_output=True,
            text=True,
            check=True,
        )
    assert sentence in run.stdout
    assert run.stdout.count("\n") == 1


def test_labels_put_before_a_kill_are_kept(tmp_path: Path, model: CLIP) -> None:
    chance = random.Random(3)
    count = 0
    with dying(PUT_LABELS) as work:
        for _ in range(KILLS):
            ended = work.run(tmp_path, count, kill_after=chance.uniform(0, 0.15))
            assert ended.was_killed
            count = int(ended.said[-1]) if ended.said else count
            some = range(max(0, count - 1000), count)
            found = TextFeatures(tmp_path, model).get(list(map(label, some)))
            assert len(found) == len(some)
            assert all(torch.equal(found[label(n)], row(n)) for n in some)
    assert count > 0


def test_a_flipped_bit_gives_no_wrong_answer_and_is_made_good(tmp_path: Path, model: CLIP) -> None:
    """In a row, a page, the header: what is found is right, and what is put again is there."""
    kept = kept_rows(60)
    store = TextFeatures(tmp_path, model)
    store.put(kept)
    close(store)
    file, chance, lost = tmp_path / FILE, random.Random(4), 0
    whole = file.read_bytes()
    for number in range(FLIPS):
        for left in tmp_path.iterdir():
            left.unlink()
        # The header, which says what all else means, twice as often as the rest
        at = chance.randrange(200 if number % 3 == 0 else len(whole))
        data = bytearray(whole)
        data[at] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        store = TextFeatures(tmp_path, model)
        found = store.get(list(kept))
        assert all(torch.equal(found[texts], kept[texts]) for texts in found), at
        lost += len(found) < len(kept)
        for _ in range(2):  # a page may be found broken only when it is written
            missing = {texts: each for texts, each in kept.items() if texts not in found}
            store.put(missing)
            found = store.get(list(kept))
        assert len(found) == len(kept), at
        assert all(torch.equal(found[texts], kept[texts]) for texts in found), at
        close(store)
    assert lost > FLIPS / 20


@pytest.mark.parametrize("column", ["vector", "checksum", "used"])
@pytest.mark.parametrize("value", ["NULL", "'text'", "1.5"])
def test_a_column_of_another_kind_counts_as_missing(
    tmp_path: Path, model: CLIP, column: str, value: str
) -> None:
    kept = kept_rows(2)
    store = TextFeatures(tmp_path, model)
    store.put(kept)
    close(store)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute(f"UPDATE features SET {column} = {value}")
    database.close()
    store = TextFeatures(tmp_path, model)
    assert store.get(list(kept)) == {}
    store.put(kept)
    assert len(store.get(list(kept))) == 2


@pytest.mark.parametrize("harm", ["the table's columns", "the schema's format"])
def test_a_file_that_makes_no_sense_is_replaced(tmp_path: Path, model: CLIP, harm: str) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("SQLite's codes are not told")
    kept = kept_rows(2)
    store = TextFeatures(tmp_path, model)
    store.put(kept)
    close(store)
    data = bytearray((tmp_path / FILE).read_bytes())
    if harm == "the schema's format":
        data[47] ^= 32
    else:
        data = data.replace(b"checksum INTEGER", b"chacksum INTEGER")
    (tmp_path / FILE).write_bytes(data)
    store = TextFeatures(tmp_path, model)
    assert store.get(list(kept)) == {}
    store.put(kept)
    assert len(store.get(list(kept))) == 2


def test_labels_on_a_full_disk(
    model: CLIP, mounted: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    disk = mounted("size=1m")
    store = TextFeatures(disk, model)
    store.put(kept := kept_rows(100))
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    store.put({label(n): row(n) for n in range(100, 3000)})
    assert len(store.get(list(kept))) == 100
    (disk / "filler").unlink()
    store.put(more := kept_rows(300))
    found = store.get(list(more))
    assert len(found) == 300
    assert all(torch.equal(found[texts], more[texts]) for texts in found)
    close(store)
    assert capfd.readouterr() == ("", "")


def test_labels_after_a_clock_was_set_back(
    tmp_path: Path, model: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = feature_store.LOG_RESERVE + 8 * feature_store.PAGE_BYTES
    monkeypatch.setattr(text_features, "MAX_BYTES", bound)
    clock = [2_000_000_000]
    monkeypatch.setattr(feature_store.time, "time", lambda: clock[0])
    store = TextFeatures(tmp_path, model)
    store.put(future := kept_rows(2000))  # more than there is room for
    clock[0] -= 365 * 86_400
    assert 200 < len(store.get(list(future))) < 2000
    clock[0] -= 86_400  # so that those are of the future again
    for first in range(10_000, 12_000, 20):  # nobody asks for those of the future any more
        store.put({label(n): row(n) for n in range(first, first + 20)})
        clock[0] += 1
    found = store.get([label(n) for n in range(10_000, 12_000)])
    assert 200 < len(found) < 2000
    assert label(11_999) in found
    assert store.get(list(future)) == {}


def test_in_a_home_that_can_not_be_written(mounted: Callable[[str], Path]) -> None:
    # With the Hub offline nothing is asked of anybody
    environment = {"HOME": str(mounted("ro")), "HF_HUB_OFFLINE": "1", "CLIP_CACHE": ""}
    with dying(COMMAND, **environment) as work:
        ended = work.run(CAT, "cat", "dog")
        assert ended.code == 0
        assert ended.said[0].startswith(str(CAT))  # and nothing of the cache
        ended = work.run("--model", "ViT-B/32", CAT, "cat", "dog")
        assert ended.code == 2
        assert "can't be written (Read-only file system): set CLIP_CACHE" in ended.said[0]
        assert len(ended.said) == 1
        ended = work.run("sort", CAT, "--labels", "cat", "dog")
        assert ended.code == 2
        assert "read-only file system. Name another folder by --features." in ended.said[0]
        assert len(ended.said) == 1


def test_a_broken_cache_changes_no_answer(tiny_model: Path, tmp_path: Path) -> None:
    prompts = [["a cat"], ["a dog"]]
    right = ZeroShotClassifier(tiny_model, "cpu").label_features(prompts)
    file = tmp_path / "clip-cache" / FILE
    for left in file.parent.glob(f"{FILE}-*"):
        left.unlink()
    data = bytearray(file.read_bytes())
    for at in range(100, len(data), 97):
        data[at] ^= 0xFF
    file.write_bytes(data)
    assert torch.equal(ZeroShotClassifier(tiny_model, "cpu").label_features(prompts), right)
