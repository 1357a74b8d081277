"""What the middleware rejects, and what it lets through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.own_loop import run
from ui.server.middleware import JSON_TO_FILE, LARGE, BodyLimitMiddleware, RateLimitMiddleware
from ui.server.uploads import FULL

UPLOAD = "multipart/form-data; boundary=b"
WORK = ["queue/join", "call/classify", "run/classify", "upload", "component_server"]


def send(
    disk: Path, path: str, size: int, kind: str = UPLOAD, say_length: bool = True
) -> httpx.Response:
    """A request of so many bytes, by pieces of a megabyte, each of which lands on the disk."""

    async def take(request: Request) -> PlainTextResponse:
        count = 0
        async for piece in request.stream():
            count += len(piece)
            if kind == UPLOAD:
                disk.mkdir(exist_ok=True)
                (disk / f"tmp{count}").write_bytes(piece)
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
    monkeypatch.setattr("ui.server.middleware.BYTES_BETWEEN_CHECKS", 200_000)
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


def test_a_request_deletes_nothing(
    disk: Path, put: Callable[[Path, str, int, float], Path]
) -> None:
    """Else whoever claims to send much could have others' pictures deleted."""
    older = put(disk, "a/old.jpg", 400_000, 30 * 3600)
    assert send(disk, "/gradio_api/upload", 900_000).status_code == 507
    assert older.exists()


def ask(paths: list[str], addresses: list[str], method: str = "POST") -> list[int]:
    """The status of each request, where three a minute are allowed."""
    everything = Route("/{path:path}", lambda _: PlainTextResponse("done"), methods=["GET", "POST"])
    app = Starlette(routes=[everything], middleware=[Middleware(RateLimitMiddleware, a_minute=3)])

    async def statuses() -> list[int]:
        seen = []
        for path, address in zip(paths, addresses, strict=True):
            transport = httpx.ASGITransport(app, client=(address, 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                answer = await client.request(method, f"/gradio_api/{path}")
                seen.append(answer.status_code)
                if answer.status_code == 429:
                    assert answer.json()["detail"].startswith("These are more than 3 requests")
                    assert answer.headers["retry-after"] == "60"
        return seen

    return run(statuses())


def test_who_asks_too_often_is_refused_and_others_are_not() -> None:
    addresses = ["8.8.8.8"] * 5 + ["1.1.1.1"]
    assert ask(["queue/join"] * 6, addresses) == [200, 200, 200, 429, 429, 200]


@pytest.mark.parametrize("path", WORK)
def test_each_kind_of_work_counts(path: str) -> None:
    assert ask([path] * 4, ["8.8.8.8"] * 4) == [200, 200, 200, 429]


def test_kinds_count_together() -> None:
    assert ask(WORK, ["8.8.8.8"] * 5) == [200, 200, 200, 429, 429]


def test_the_page_and_its_answers_are_free() -> None:
    paths = ["queue/data", "heartbeat/a", "file=a.png", "info", "upload_progress"]
    assert ask(paths, ["8.8.8.8"] * 5, "GET") == [200] * 5
