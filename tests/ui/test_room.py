from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.own_loop import run
from ui.room import RoomForUploads
from ui.uploads import FULL, RESERVE, make_room

DISK = RESERVE + 1_000_000  # bytes
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
    assert make_room(disk, 600_000)
    assert older.exists()


def test_the_oldest_go_first_and_no_more_than_need_be(disk: Path) -> None:
    day, hours, minutes, now = (
        put(disk, f"{age}/a.jpg", 250_000, age) for age in (90_000, 7_200, 1_200, 5)
    )
    assert make_room(disk, 200_000)
    assert [path.exists() for path in (day, hours, minutes, now)] == [False, True, True, True]
    assert make_room(disk, 400_000)
    assert [path.exists() for path in (hours, minutes, now)] == [False, True, True]
    assert make_room(disk, 700_000)
    assert [path.exists() for path in (minutes, now)] == [False, True]
    assert not make_room(disk, 900_000)  # what came just now stays: somebody looks at it
    assert now.exists()


def test_uploads_that_broke_off_stay_an_hour_at_most(disk: Path) -> None:
    part, arriving = put(disk, "tmpab12cd", 600_000, 3_700), put(disk, "tmpef34gh", 100_000, 60)
    assert make_room(disk, 800_000)
    assert not part.exists()
    assert arriving.exists()


def send(disk: Path, path: str, size: int, say_length: bool = True) -> httpx.Response:
    async def take(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{len(await request.body())}")

    guard = Middleware(RoomForUploads, folder=disk, most_bytes=2_000_000)
    app = Starlette(routes=[Route("/{path:path}", take, methods=["POST"])], middleware=[guard])

    async def pieces():  # type: ignore[no-untyped-def]
        yield bytes(size)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.post(path, content=bytes(size) if say_length else pieces())

    return run(ask())


def test_an_upload_that_does_not_fit_is_told_so_before_it_is_read(disk: Path) -> None:
    assert send(disk, "/gradio_api/upload", 900_000).text == "900000"
    refused = send(disk, "/clip/gradio_api/upload", 1_100_000)
    assert (refused.status_code, refused.text) == (507, FULL)
    assert send(disk, "/gradio_api/queue/join", 1_100_000).status_code == 200


def test_an_upload_of_unsaid_length_may_be_the_largest(disk: Path) -> None:
    assert send(disk, "/gradio_api/upload", 10, say_length=False).status_code == 507
