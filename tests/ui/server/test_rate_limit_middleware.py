from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.own_loop import run
from ui.server.middleware import RateLimitMiddleware

WORK = ["queue/join", "call/classify", "run/classify", "upload", "component_server"]


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
