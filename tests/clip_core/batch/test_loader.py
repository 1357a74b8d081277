from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_core.batch.inputs import InputItem
from clip_core.batch.loader import (
    LOST_WORKER,
    NONE_KNOWN,
    Decoded,
    DecodeTask,
    Loader,
    prefixes,
    run_task,
    stat_key,
)
from clip_core.images.decode import open_image
from clip_core.preprocess import squares


def task(path: Path | str, data: Any = None) -> DecodeTask:
    return DecodeTask(InputItem(str(path), str(path)), 64, "crop", data)


@pytest.fixture(scope="module")
def paths(photographs: Path) -> list[Path]:
    return sorted(photographs.glob("*/*.jpg"))[:40]


def test_what_is_read_is_what_the_page_reads(paths: list[Path]) -> None:
    with Loader(2, NONE_KNOWN) as loader:
        reads = list(loader.load(map(task, paths), ahead=8))
    assert len(reads) == len(paths)
    for path, read in zip(paths, reads, strict=True):
        assert read.content == hashlib.sha256(path.read_bytes()).digest()
        assert read.crops is not None
        assert np.array_equal(read.crops[0], np.asarray(squares(open_image(path), 64)[0]))


def test_known_contents_are_not_decoded(paths: list[Path]) -> None:
    known = prefixes([hashlib.sha256(paths[0].read_bytes()).digest()])
    with Loader(1, known) as loader:
        first, second = loader.load(map(task, paths[:2]), ahead=2)
    assert first.content is not None
    assert first.crops is None
    assert first.error is None
    assert second.crops is not None


class Bomb:
    """Ends the process that unpickles it, as a decoder's crash does."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return os._exit, (1,)


def test_who_reads_needs_no_torch() -> None:
    """Its import would be most of a worker's start."""
    program = (
        "import sys, clip_core.batch.loader as loader\n"
        "assert callable(loader.run_task)\n"
        "print(sorted({'torch', 'torchvision', 'gradio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_a_file_that_kills_its_reader_is_found_and_the_others_are_read(paths: list[Path]) -> None:
    tasks: list[DecodeTask | Decoded] = [task(path) for path in paths]
    tasks[7] = task("bomb", Bomb())
    tasks[9] = Decoded(InputItem("x", "x"), error="known before")
    tasks[23] = task("bomb", Bomb())
    with Loader(2, NONE_KNOWN) as loader:
        reads = list(loader.load(tasks, ahead=8))
    problems = {i: read.error for i, read in enumerate(reads) if read.error}
    assert problems == {7: LOST_WORKER, 9: "known before", 23: LOST_WORKER}
    assert all(reads[i].crops is not None for i in range(len(paths)) if i not in problems)


class Slow:
    """Takes half a second to arrive at a worker, and is nothing then: the path is read."""

    def __reduce__(self) -> tuple[Any, tuple[float]]:
        return time.sleep, (0.5,)


def test_no_other_file_is_blamed_for_a_crash(paths: list[Path]) -> None:
    tasks = [task(path, Slow()) for path in paths[:6]]
    tasks[2] = tasks[3] = task("bomb", Bomb())  # the second comes while the first is sought
    with Loader(3, NONE_KNOWN) as loader:
        problems = [read.error for read in loader.load(tasks, ahead=3)]
    assert problems == [None, None, LOST_WORKER, LOST_WORKER, None, None]


def test_workers_end_with_a_parent_that_is_killed(photographs: Path) -> None:

    script = (
        "import sys, time\n"
        "from clip_core.batch.inputs import InputItem\n"
        "from clip_core.batch.loader import DecodeTask, Loader\n"
        "if __name__ == '__main__':\n"
        "    loader = Loader(2)\n"
        "    tasks = (DecodeTask(InputItem(p, p), 64, 'crop') for p in sys.argv[1:])\n"
        "    print(len(list(loader.load(tasks, 4))), *loader._pool._processes, flush=True)\n"
        "    time.sleep(600)\n"
    )
    files = [str(path) for path in sorted(photographs.glob("*/*.jpg"))[:8]]
    parent = subprocess.Popen([sys.executable, "-c", script, *files], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    count, *workers = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.wait()
    assert count == len(files)
    assert workers
    deadline = time.monotonic() + 300
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "There is no such file"),
        (lambda path: path.mkdir(), "no file but a folder"),
        (os.mkfifo, "no file but a folder, a pipe"),
        (lambda path: path.write_bytes(b""), "This file is empty"),
        (lambda path: path.write_bytes(b"no picture"), "not a picture that can be read"),
        (lambda path: path.symlink_to(path), "can't be read: too many levels of symbolic links"),
    ],
)
def test_what_is_no_picture_has_a_reason(tmp_path: Path, make: Any, problem: str) -> None:
    path = tmp_path / "x.jpg"
    make(path)
    read = run_task(task(path))
    assert read.error is not None
    assert problem in read.error
    assert str(tmp_path) not in read.error


def test_without_rights(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # whoever runs the tests may have all rights
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert run_task(task(paths[0])).error == "This file may not be read: its owner has to allow it."


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.jpg"
    whole = paths[0].read_bytes()
    path.write_bytes(whole[:100])
    looks = []
    look = os.fstat

    def grow(number: int) -> os.stat_result:
        looks.append(number)
        if len(looks) == 2:  # after the first reading
            path.write_bytes(whole)
        return look(number)

    monkeypatch.setattr(os, "fstat", grow)
    read = run_task(task(path))
    assert read.content == hashlib.sha256(whole).digest()
    assert read.stat_key is None  # changed too lately for its times to tell of another change
    assert len(looks) == 4


def test_a_file_that_never_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[Path]
) -> None:
    path = tmp_path / "restless.jpg"
    path.write_bytes(paths[0].read_bytes())
    look = os.fstat

    def grow(number: int) -> os.stat_result:
        with path.open("ab") as file:
            file.write(b"more")
        return look(number)

    monkeypatch.setattr(os, "fstat", grow)
    problem = run_task(task(path)).error
    assert problem is not None
    assert "kept changing" in problem


def test_a_stat_key_tells_one_state_of_a_file_from_another(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"one")
    first = stat_key(str(path), path.stat())
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had happened
    assert stat_key(str(path), path.stat()) != first
    assert len(first) == 16
