"""What the page's server has beside gradio: a health check, guards, and an orderly end."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .allowed import ALLOWED
from .models import ALWAYS, Models
from .rates import Rates
from .room import Room
from .watch import tell

SECONDS_TO_FINISH = 25.0  # Kubernetes kills after 30, and the page's own end takes some
SECONDS_TO_DELIVER = 1.0  # an answer that is ready is on its way to the browser
# Browsers take a file for what it is said to be, and tell other sites no more than where they were
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


class Headers:
    """Adds `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class OwnPagesOnly:
    """Leaves the cookies out of what other sites' pages ask for behind a visitor's back.

    gradio lets any site read what it answers when the page has a public name, cookies included, so
    that a site could ask with the login of whoever looks at it. Browsers say who asks in headers
    that no page can write itself (Fetch Metadata, W3C); following a link is not held against it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            told = dict(scope["headers"])
            follows = told.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET"
            if told.get(b"sec-fetch-site") == b"cross-site" and not follows:
                kept = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
                scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


class Server:
    """A launched page, and whether it is being stopped."""

    def __init__(self, page: gr.Blocks, models: Models) -> None:
        self._page, self._models = page, models
        self._stopping = threading.Event()

    @property
    def waiting(self) -> int:
        """How many questions stand in the queue."""
        return len(self._page._queue)

    @property
    def running(self) -> int:
        """How many questions are being answered."""
        return int(self._page._queue.get_active_worker_count())

    def app_arguments(self, rate: int, uploads: Path) -> dict[str, Any]:
        """What gradio's server is to be made with, as `launch` takes it: `app_kwargs`.

        rate: requests for work a minute from one address; 0 for any number. uploads: their folder.
        """
        room = Middleware(Room, folder=uploads, most_bytes=ALLOWED.file_mb << 20)
        middleware = [Middleware(Headers), Middleware(OwnPagesOnly)]
        if rate:
            middleware.append(Middleware(Rates, a_minute=rate))
        middleware.append(room)
        return {
            "routes": [APIRoute("/healthz", self.health, methods=["GET"])],
            "middleware": middleware,
        }

    def health(self) -> JSONResponse:
        """Whether the page answers: 200, or 503 while its first model loads or it is stopped."""
        ready = self._models.is_ready(ALWAYS) and not self._stopping.is_set()
        answering = self._models.answering(self._models.default)
        state = {
            "alive": True,
            "ready": ready,
            "stopping": self._stopping.is_set(),
            "model": answering if ready else None,
            "wanted_model": self._models.default,
            "queue": {
                "waiting": self.waiting,
                "running": self.running,
                "most_waiting": self._page._queue.max_size,
            },
        }
        return JSONResponse(state, 200 if ready else 503, {"cache-control": "no-store"})

    def wait_for_the_end(self) -> None:
        """Waits for Ctrl+C or SIGTERM; then takes no more questions and ends those it has.

        A second signal ends the program at once, as does `SECONDS_TO_FINISH` without an end.
        """
        asked = threading.Event()
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: asked.set()) for number in signals}
        while not asked.wait(0.5):  # a wait without an end would hear no signal on Windows
            pass
        for number, handler in before.items():
            signal.signal(number, handler)
        self._stopping.set()
        tell("stopping", waiting=self.waiting, running=self.running)
        print("* Stopping: questions that wait or run are answered first.", flush=True)
        self._page._queue.max_size = 0  # whoever asks now is told that the queue is full
        deadline = time.monotonic() + SECONDS_TO_FINISH
        while (self.waiting or self.running) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(SECONDS_TO_DELIVER)
        tell("stopped", unanswered=self.waiting + self.running)
        self._page.close(verbose=False)
