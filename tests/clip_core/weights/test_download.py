"""Downloads on bad days, from a loopback server that misbehaves on demand."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from clip_core import DownloadError
from clip_core.files import sha256_of
from clip_core.weights.download import download as fetch
from tests.file_server import DATA, Server, serve_file

SHA256 = hashlib.sha256(DATA).hexdigest()
ROOT = Path(__file__).parents[3]

# Runs a download in a process of its own: address, path, digest.
CHILD = """
import sys
from pathlib import Path
from clip_core.weights.download import download
download(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serve_file() as served:
        yield served


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module(), "SECONDS_BETWEEN_TRIES", (0.01, 0.02, 0.04))
    monkeypatch.setattr(download_module(), "TIMEOUT", httpx.Timeout(0.5))


def download_module() -> object:
    return sys.modules[fetch.__module__]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pt"


def refused(server: Server, path: Path, **options: int) -> str:
    """The sentence of a download that fails, and leaves nothing under the file's name."""
    with pytest.raises(DownloadError) as caught:
        fetch(server.address, path, SHA256, on_progress=ignore, **options)
    assert not path.exists()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def ignore(done: int, total: int | None) -> None:
    pass


def assert_whole(path: Path) -> None:
    assert path.read_bytes() == DATA
    assert sorted(file.name for file in path.parent.iterdir()) in (
        [path.name],
        [path.name, f"{path.name}.lock"],
    )


def part_of(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    return part


def test_whole_file_and_its_progress(server: Server, path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(server.address, path, SHA256, on_progress=lambda *at: seen.append(at))
    assert_whole(path)
    assert seen[0] == (0, None)
    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert sha256_of(path) == SHA256


def test_right_file_is_left_alone_even_where_nothing_can_be_written(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(DATA)
    fetch(server.address, path, SHA256)
    assert server.asked == []
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pt"]  # no lock either


def test_half_a_file_under_the_final_name_is_replaced(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(DATA[:1000])
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert_whole(path)


def test_killed_and_restarted_it_resumes(server: Server, path: Path) -> None:
    server.slowly = 0.05
    command = [sys.executable, "-c", CHILD, server.address, str(path), SHA256]
    child = subprocess.Popen(command, cwd=ROOT)
    part = path.with_name(path.name + ".part")
    deadline = time.monotonic() + 300
    while not (part.exists() and part.stat().st_size > 500_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not path.exists()
    came = part.stat().st_size
    assert 0 < came < len(DATA)
    server.slowly = 0
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert server.asked == [None, f"bytes={came}-"]
    assert_whole(path)


def test_two_processes_fetch_once(server: Server, path: Path) -> None:
    server.slowly = 0.05
    command = [sys.executable, "-c", CHILD, server.address, str(path), SHA256]
    children = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [child.wait(300) for child in children] == [0, 0]
    assert server.asked == [None]
    assert_whole(path)


def test_waiting_for_another_can_be_called_off(server: Server, path: Path) -> None:
    server.stall, server.always_cut = True, 10

    def fetch_in_vain() -> None:
        with pytest.raises(DownloadError):
            fetch(server.address, path, SHA256)

    other = threading.Thread(target=fetch_in_vain)
    other.start()
    while not server.asked:
        time.sleep(0.01)

    class LeaveError(Exception):
        pass

    def leave(done: int, total: int | None) -> None:
        raise LeaveError

    with pytest.raises(LeaveError):
        fetch(server.address, path, SHA256, on_progress=leave)
    assert len(server.asked) == 1
    other.join()


def test_server_that_knows_no_ranges(server: Server, path: Path) -> None:
    server.ranges = False
    part_of(path, DATA[:1_000_000])
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert_whole(path)


@pytest.mark.parametrize("tail", [b"", b"too much"])
def test_part_that_is_whole_or_more(tail: bytes, server: Server, path: Path) -> None:
    part_of(path, DATA + tail)
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert_whole(path)


def test_wrong_bytes_from_before_are_healed(server: Server, path: Path) -> None:
    part_of(path, b"x" * 1_000_000)
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert server.asked == ["bytes=1000000-", None]
    assert_whole(path)


def test_closed_early_it_resumes(server: Server, path: Path) -> None:
    server.cut = [1_000_000, 1_000_000]
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert server.asked == [None, "bytes=1000000-", "bytes=2000000-"]
    assert_whole(path)


def test_closed_early_every_time(server: Server, path: Path) -> None:
    server.always_cut = 0
    assert "closed the connection early, every time" in refused(server, path)
    assert len(server.asked) == 4  # and three retries


def test_wrong_length(server: Server, path: Path) -> None:
    server.length = 1_000_000  # less than it sends
    assert "other bytes than weights.pt has" in refused(server, path)
    # More than it has: it closes early, and then says itself that there is no more
    server.length = len(DATA) + 5
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert_whole(path)


def test_wrong_bytes(server: Server, path: Path) -> None:
    server.data = DATA[:-1] + b"!"
    sentence = refused(server, path)
    assert "127.0.0.1" in sentence
    assert "SHA-256 is wrong" in sentence
    assert not path.with_name("weights.pt.part").exists()
    assert server.asked == [None]


@pytest.mark.parametrize("length", [None, -1])
def test_more_than_can_be_right(length: int | None, server: Server, path: Path) -> None:
    server.length = length
    assert "more than the file has" in refused(server, path, max_bytes=2_000_000)


def test_redirect(server: Server, path: Path) -> None:
    server.location = "/there"
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert_whole(path)


def test_redirects_in_a_circle(server: Server, path: Path) -> None:
    server.location = "/round"
    assert "redirects in a circle" in refused(server, path)
    assert len(server.asked) == 6


def test_stall(server: Server, path: Path) -> None:
    server.stall, server.always_cut = True, 0
    started = time.monotonic()
    assert "stopped sending" in refused(server, path)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "refuses"), (401, "refuses"), (404, "does not have"), (410, "does not"), (418, "418")],
)
def test_statuses_that_are_final(status: int, says: str, server: Server, path: Path) -> None:
    server.statuses = [status] * 9
    assert says in refused(server, path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_statuses_that_pass(status: int, server: Server, path: Path) -> None:
    server.statuses = [status] * 3
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert_whole(path)
    server.statuses = [status] * 4
    path.unlink()
    assert f"status {status}, every time" in refused(server, path)


def test_retry_after(server: Server, path: Path) -> None:
    server.statuses, server.headers = [503], {"Retry-After": "1"}
    seen: list[float] = []
    fetch(server.address, path, SHA256, on_progress=lambda *_: seen.append(time.monotonic()))
    assert seen[-1] - seen[0] >= 1
    assert len(seen) > 8  # it could be called off meanwhile


def test_nobody_listens(path: Path) -> None:
    dead = Server(address="http://127.0.0.1:9/file")
    assert "127.0.0.1 can't be reached (" in refused(dead, path)


def test_no_such_host(path: Path) -> None:
    assert "can't be reached" in refused(Server(address="http://nowhere.invalid/file"), path)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/file", "weights", "http://a:b/"])
def test_address_that_is_none(address: str, path: Path) -> None:
    assert repr(address) in refused(Server(address=address), path)


def test_not_secure(server: Server, path: Path) -> None:
    plain = Server(address=server.address.replace("http:", "https:"))
    assert "is not secure" in refused(plain, path)


def test_called_off_it_keeps_what_came(server: Server, path: Path) -> None:
    class LeaveError(Exception):
        pass

    def leave(done: int, total: int | None) -> None:
        if done > 1_000_000:
            raise LeaveError

    server.slowly = 0.02
    with pytest.raises(LeaveError):
        fetch(server.address, path, SHA256, on_progress=leave)
    came = path.with_name("weights.pt.part").stat().st_size
    assert came > 1_000_000
    fetch(server.address, path, SHA256, on_progress=ignore)
    assert server.asked == [None, f"bytes={came}-"]
    assert_whole(path)


def test_folder_that_cannot_be(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = refused(server, tmp_path / "file" / "weights.pt")
    assert "can't be written" in sentence
    assert "CLIP_CACHE" in sentence


@pytest.mark.parametrize("announced", [True, False])
def test_full_disk(announced: bool, server: Server, mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=1m")
    server.length = None if announced else -1
    sentence = refused(server, disk / "weights.pt")
    assert sentence.startswith("The disk is full: free ")
    assert ("3 MB" in sentence) == announced
    # nothing is left that would keep it full
    assert sum(file.stat().st_size for file in disk.iterdir()) == 0


def test_full_disk_without_a_disk(server: Server, path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path.parent.mkdir()
    path.with_name("weights.pt.part").symlink_to("/dev/full")
    assert refused(server, path).startswith("The disk is full")
    assert os.listdir(path.parent) in ([], ["weights.pt.lock"])


def test_read_only_disk(server: Server, mounted: Callable[[str], Path]) -> None:
    assert "can't be written (Read-only file system)" in refused(
        server, mounted("ro") / "weights.pt"
    )
