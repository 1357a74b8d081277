from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.own_loop import run
from ui.server.middleware import JSON_TO_FILE, LARGE, BodyLimitMiddleware
from ui.server.uploads import FULL, RESERVE, has_room, make_room

DISK = RESERVE + 1_000_000  # bytes
UPLOAD = "multipart/form-data; boundary=b"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a small disk that holds nothing else."""

    def usage(folder: Path) -> Usage:
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Usage(DISK, used, DISK - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return tmp_path / "uploads"


def put(folder: Path, name: str, size: int, age: float) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_nothing_is_deleted_while_there_is_room(disk: Path) -> None:
    older = put(disk, "a/old.jpg", 400_000, 30 * 3600)
    make_room(disk, 600_000)
    assert older.exists()


def test_the_oldest_go_first_and_no_more_than_need_be(disk: Path) -> None:
    day, hours, minutes, now = (
        put(disk, f"{age}/a.jpg", 250_000, age) for age in (90_000, 7_200, 1_200, 5)
    )
    make_room(disk, 200_000)
    assert [path.exists() for path in (day, hours, minutes, now)] == [False, True, True, True]
    make_room(disk, 400_000)
    assert [path.exists() for path in (hours, minutes, now)] == [False, True, True]
    make_room(disk, 700_000)
    assert [path.exists() for path in (minutes, now)] == [False, True]
    make_room(disk, 900_000)
    assert now.exists()  # somebody looks at it
    assert not has_room(disk, 900_000)


def test_uploads_that_broke_off_stay_an_hour_at_most(disk: Path) -> None:
    part, arriving = put(disk, "tmpab12cd", 600_000, 3_700), put(disk, "tmpef34gh", 100_000, 60)
    make_room(disk, 800_000)
    assert not part.exists()
    assert arriving.exists()


def test_where_nothing_can_be_written_there_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    assert not has_room(tmp_path / "taken" / "uploads", 0)


def send(
    disk: Path, path: str, size: int, kind: str = UPLOAD, say_length: bool = True
) -> httpx.Response:
    """A request of so many bytes, by pieces of a megabyte, each of which lands on the disk."""

    async def take(request: Request) -> PlainTextResponse:
        count = 0
        async for piece in request.stream():
            count += len(piece)
            if kind == UPLOAD:
                put(disk, f"tmp{count}", len(piece), 0)
        return PlainTextResponse(f"{count}")

    guard = Middleware(BodyLimitMiddleware, folder=disk, most_bytes=2_000_000)
    app = Starlette(
        routes=[Route("/{path:path}", take, methods=["GET", "POST"])], middleware=[guard]
    )

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 100_000):
            yield bytes(min(100_000, size - start))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            content = bytes(size) if say_length else pieces()
            return await client.post(path, content=content, headers={"content-type": kind})

    return run(ask())


def test_an_upload_that_does_not_fit_is_told_so_before_it_is_read(disk: Path) -> None:
    assert send(disk, "/gradio_api/upload", 900_000).text == "900000"
    refused = send(disk, "/clip/gradio_api/upload", 1_100_000)
    assert (refused.status_code, refused.text) == (507, FULL)


def test_an_upload_of_unsaid_length_ends_when_the_disk_is_full(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.server.middleware.SEEN_BETWEEN_LOOKS", 200_000)
    refused = send(disk, "/gradio_api/upload", 5_000_000, say_length=False)
    assert (refused.status_code, refused.text) == (507, FULL)
    written = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
    assert written <= 1_300_000  # what fits, and what came between two looks


@pytest.mark.parametrize("say_length", [True, False])
def test_what_is_no_upload_is_held_to_a_size(disk: Path, say_length: bool) -> None:
    most = int(2_000_000 * JSON_TO_FILE)
    kind = "application/json"
    assert send(disk, "/gradio_api/queue/join", most, kind, say_length).text == f"{most}"
    refused = send(disk, "/gradio_api/queue/join", most + 1, kind, say_length)
    assert (refused.status_code, refused.text) == (413, LARGE)


def test_a_request_deletes_nothing(disk: Path) -> None:
    """Else whoever claims to send much could have others' pictures deleted."""
    older = put(disk, "a/old.jpg", 400_000, 30 * 3600)
    assert send(disk, "/gradio_api/upload", 900_000).status_code == 507
    assert older.exists()
