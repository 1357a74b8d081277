"""Uploads that the disk has no room for are refused before they are read.

Whoever sends more than the disk holds would otherwise end uploads, answers and the machine's other
work for a day, until what they sent is swept.
"""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .uploads import FULL, make_room
from .watch import tell


class RoomForUploads:
    """Answers 507 to uploads that the disk has no room for.

    folder: the uploads'. What comes without its length is given as much as `most_bytes`, the most
    that an upload may have.
    """

    def __init__(self, app: ASGIApp, folder: Path, most_bytes: int) -> None:
        self._app, self._folder, self._most_bytes = app, folder, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/gradio_api/upload"):
            length = dict(scope["headers"]).get(b"content-length", b"").decode("latin-1")
            size = int(length) if length.isascii() and length.isdecimal() else self._most_bytes
            if not await run_in_threadpool(make_room, self._folder, min(size, self._most_bytes)):
                tell("refused", kind="disk")
                await PlainTextResponse(FULL, 507)(scope, receive, send)  # shown as it is
                return
        await self._app(scope, receive, send)
