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

# Browsers believe a file's declared type, and send the page's address to no other site
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
    """Removes the cookies from requests that other sites' pages make.

    When the page has a public name, gradio lets any site read its answers, with cookies: a site
    could use the login of anyone who visits it. Browsers name the origin of a request in headers
    that no page can set (Fetch Metadata, W3C). Links to the page keep their cookies.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            is_link = headers.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET"
            if headers.get(b"sec-fetch-site") == b"cross-site" and not is_link:
                kept = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
                scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


BYTES_BETWEEN_CHECKS = 8_000_000  # of the free disk space, during an upload
# An image inside JSON is base64: a third larger than its file
JSON_TO_FILE = 1.4
LARGE = "This is too large: send fewer or smaller pictures at once."


class BodyLimitMiddleware:
    """Rejects uploads when the disk is nearly full (507), and other bodies too large (413).

    folder: that of the uploads. most_bytes: of one file. A body is checked by its declared length
    before it is read, and again while it is read.
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
        seen = checked = 0

        async def receive_checked() -> Message:
            nonlocal refusal, seen, checked
            message = await receive()
            if message["type"] != "http.request":  # a disconnect, maybe after the response
                return message
            seen += len(message.get("body", b""))
            if refusal is None and (not to_disk or seen - checked >= BYTES_BETWEEN_CHECKS):
                refusal, checked = self._refuse(to_disk, 0, seen), seen
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
        """The response that rejects a body, if any. coming: bytes to be read; seen: bytes read."""
        if to_disk:  # gradio shows the text as it is
            return None if has_room(self._folder, coming) else PlainTextResponse(FULL, 507)
        fits = max(coming, seen) <= self._most_json
        return None if fits else PlainTextResponse(LARGE, 413)


# Paths below gradio_api/ that make the server work: questions, uploads, frames of the camera
WORK = ("queue/join", "call/", "run/", "upload", "component_server")
SECONDS_TO_WAIT = 60


class RateLimitMiddleware:
    """Rejects requests for work (429) beyond `a_minute` per minute and client address.

    The address is the one the server knows: the one that a proxy on this machine forwards, else
    that of the connection.
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
