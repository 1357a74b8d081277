"""Requests that the disk or the memory has no room for end early, in a sentence.

gradio limits each file of an upload but takes a thousand of them at once, and any body that is no
upload whole into memory. Whoever sends more than the disk holds would end uploads, answers and the
machine's other work for a day, until what they sent is swept.
"""

from __future__ import annotations

from pathlib import Path

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .uploads import FULL, has_room
from .watch import tell

SEEN_BETWEEN_LOOKS = 8_000_000  # bytes of an upload, between two looks at the disk
# A picture may come inside JSON, in letters that take a third more than its bytes
JSON_TO_FILE = 1.4
LARGE = "This is too large: send fewer or smaller pictures at once."


class Room:
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
            tell("refused", kind="disk" if to_disk else "size")
            await refusal(scope, receive, send)

    def _refuse(self, to_disk: bool, coming: int, seen: int) -> Response | None:
        """What to answer instead. coming: bytes still to be read; seen: those that were."""
        if to_disk:  # gradio shows the text as it is
            return None if has_room(self._folder, coming) else PlainTextResponse(FULL, 507)
        fits = max(coming, seen) <= self._most_json
        return None if fits else PlainTextResponse(LARGE, 413)
