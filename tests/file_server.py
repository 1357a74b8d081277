"""A loopback server of one file that misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = bytes(range(256)) * 12_000  # 3 MB


@dataclass
class Server:
    """What goes wrong is said by these; each of `statuses` is answered once, in turn."""

    address: str = ""
    data: bytes = DATA
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # of those answers
    ranges: bool = True  # whether it knows Range
    cut: list[int] = field(default_factory=list)  # bytes after which each answer ends early
    always_cut: int | None = None
    length: int | None = None  # Content-Length, if not the truth; -1: none at all
    stall: bool = False
    slowly: float = 0.0  # seconds between chunks
    location: str = ""  # redirects there
    asked: list[str | None] = field(default_factory=list)  # each request's Range


@contextmanager
def serve_file() -> Iterator[Server]:
    """Serves one file, as its `Server` says, until the context ends."""
    state = Server()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.statuses:
                self.send_response(state.statuses.pop(0))
                for name, value in state.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if state.location and self.path != "/there":
                self.send_response(302)
                self.send_header("Location", state.location)
                self.end_headers()
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start and state.ranges and start >= len(state.data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.data)}")
                self.end_headers()
                return
            partial = bool(start) and state.ranges
            body = state.data[start:] if partial else state.data
            self.send_response(206 if partial else 200)
            if partial:
                last = len(state.data) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.data)}")
            if state.length != -1:
                self.send_header("Content-Length", str(state.length or len(body)))
            self.end_headers()
            if state.always_cut is not None:
                body = body[: state.always_cut]
            elif state.cut:
                body = body[: state.cut.pop(0)]
            try:
                for i in range(0, len(body), 100_000):
                    self.wfile.write(body[i : i + 100_000])
                    over.wait(state.slowly)
                if state.stall:
                    over.wait(30)
            except OSError:
                pass  # the other side has left

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    state.address = f"http://127.0.0.1:{listening.server_port}/file"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield state
    over.set()
    listening.shutdown()
    listening.server_close()
