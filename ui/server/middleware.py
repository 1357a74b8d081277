"""ASGI middleware: security headers, Fetch Metadata, body and disk limits, a rate limit."""

from __future__ import annotations

from pathlib import Path

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.service.telemetry import log_event

from .uploads import FULL, has_room

# Browsers take a file for what it is said to be, and tell other sites no more than where they were
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


class SecurityHeadersMiddleware:
    """Adds `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class FetchMetadataMiddleware:
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


SEEN_BETWEEN_LOOKS = 8_000_000  # bytes of an upload, between two looks at the disk


# A picture may come inside JSON, in letters that take a third more than its bytes
JSON_TO_FILE = 1.4


LARGE = "This is too large: send fewer or smaller pictures at once."


class BodyLimitMiddleware:
    """Answers 507 to uploads that the disk has no room for, and 413 to other bodies too large.

    folder: the uploads'. most_bytes: of one file. An upload is looked at before it is read, by its
    length if it says one, and while it is read.
    """

    def __init__(self, app: ASGIApp, folder: Path, most_bytes: int) -> None:
        self._app, self._folder = app, folder
        self._most_json = int(most_bytes * JSON_TO_FILE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        to_disk = headers.get(b"content-type", b"").startswith(b"multipart/")
        length = headers.get(b"content-length", b"").decode("latin-1")
        refusal = self._refuse(to_disk, int(length) if length.isdecimal() else 0, 0)
        seen = looked = 0

        async def receive_checked() -> Message:
            nonlocal refusal, seen, looked
            message = await receive()
            if message["type"] != "http.request":  # the visitor left, perhaps after the answer
                return message
            seen += len(message.get("body", b""))
            if refusal is None and (not to_disk or seen - looked >= SEEN_BETWEEN_LOOKS):
                refusal, looked = self._refuse(to_disk, 0, seen), seen
            return {"type": "http.disconnect"} if refusal else message

        async def send_unless_refused(message: Message) -> None:
            if refusal is None:
                await send(message)

        if refusal is None:
            try:
                await self._app(scope, receive_checked, send_unless_refused)
            except Exception:
                if refusal is None:
                    raise
        if refusal is not None:
            log_event("refused", kind="disk" if to_disk else "size")
            await refusal(scope, receive, send)

    def _refuse(self, to_disk: bool, coming: int, seen: int) -> Response | None:
        """What to answer instead. coming: bytes still to be read; seen: those that were."""
        if to_disk:  # gradio shows the text as it is
            return None if has_room(self._folder, coming) else PlainTextResponse(FULL, 507)
        fits = max(coming, seen) <= self._most_json
        return None if fits else PlainTextResponse(LARGE, 413)


# What makes the page work: questions, uploads, the camera's frames. Below gradio_api/
WORK = ("queue/join", "call/", "run/", "upload", "component_server")


SECONDS_TO_WAIT = 60


class RateLimitMiddleware:
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
                log_event("refused", kind="rate")
                said = f"These are more than {self._limit.amount} requests a minute: wait a little."
                headers = {"retry-after": str(SECONDS_TO_WAIT)}
                await JSONResponse({"detail": said}, 429, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_work(path: str) -> bool:
    _, _, below = path.partition("/gradio_api/")
    return below.startswith(WORK)
