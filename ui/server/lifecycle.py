"""Health check, middleware and graceful shutdown of the page's server."""

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

from ui.service.limits import LIMITS
from ui.service.model_pool import ALWAYS, ModelPool
from ui.service.telemetry import log_event

from .middleware import (
    BodyLimitMiddleware,
    FetchMetadataMiddleware,
    RateLimitMiddleware,
    SecurityHeadersMiddleware,
)

SECONDS_TO_FINISH = 25.0  # Kubernetes kills after 30, and closing the page takes some
SECONDS_TO_DELIVER = 1.0  # for the last answers to reach the browsers


class Server:
    """A launched page, and whether it is being stopped."""

    def __init__(self, page: gr.Blocks, models: ModelPool) -> None:
        self._page, self._models = page, models
        self._stopping = threading.Event()

    @property
    def waiting(self) -> int:
        """Number of questions in the queue."""
        return len(self._page._queue)

    @property
    def running(self) -> int:
        """Number of questions being answered."""
        return int(self._page._queue.get_active_worker_count())

    def app_arguments(self, rate: int, uploads: Path) -> dict[str, Any]:
        """The `app_kwargs` of gradio's `launch`: the health check and the middleware.

        rate: requests for work per minute from one address; 0 for no limit. uploads: their folder.
        """
        room = Middleware(BodyLimitMiddleware, folder=uploads, most_bytes=LIMITS.file_mb << 20)
        middleware = [Middleware(SecurityHeadersMiddleware), Middleware(FetchMetadataMiddleware)]
        if rate:
            middleware.append(Middleware(RateLimitMiddleware, a_minute=rate))
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
        """Waits for Ctrl+C or SIGTERM, then answers the questions it has and closes the page.

        New questions are refused meanwhile. A second signal ends the program at once; after
        `SECONDS_TO_FINISH` the page is closed in any case.
        """
        asked = threading.Event()
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: asked.set()) for number in signals}
        while not asked.wait(0.5):  # Windows handles no signal during a wait without a timeout
            pass
        for number, handler in before.items():
            signal.signal(number, handler)
        self._stopping.set()
        log_event("stopping", waiting=self.waiting, running=self.running)
        print("* Stopping: questions that wait or run are answered first.", flush=True)
        self._page._queue.max_size = 0  # new questions are answered that the queue is full
        deadline = time.monotonic() + SECONDS_TO_FINISH
        # gradio's queue has no event or condition to wait for
        while (self.waiting or self.running) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(SECONDS_TO_DELIVER)
        log_event("stopped", unanswered=self.waiting + self.running)
        self._page.close(verbose=False)
