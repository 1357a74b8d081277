"""How often one address may ask: those who ask too often are told so, and others aren't slowed."""

from __future__ import annotations

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .watch import tell

# What makes the page work: questions, uploads, the camera's frames. Below gradio_api/
WORK = ("queue/join", "call/", "run/", "upload", "component_server")
SECONDS_TO_WAIT = 60


class Rates:
    """Answers 429 to an address that asked for work `a_minute` times within the last minute.

    The address is what the server takes for the visitor's: behind a proxy on this machine what the
    proxy says, else who connects.
    """

    def __init__(self, app: ASGIApp, a_minute: int) -> None:
        self._app = app
        self._limit = RateLimitItemPerMinute(a_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and _is_work(scope["path"]):
            address = scope["client"][0] if scope.get("client") else ""
            if not self._limiter.hit(self._limit, address):
                tell("refused", kind="rate")
                said = f"These are more than {self._limit.amount} requests a minute: wait a little."
                headers = {"retry-after": str(SECONDS_TO_WAIT)}
                await JSONResponse({"detail": said}, 429, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_work(path: str) -> bool:
    _, _, below = path.partition("/gradio_api/")
    return below.startswith(WORK)
