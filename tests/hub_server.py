"""A loopback server that speaks the Hugging Face Hub's protocol over folders of files."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 500_000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it serves, and what it was asked."""

    root: Path  # owner/name/file
    address: str = ""
    token: str | None = None  # wanted for every repository, if any
    gated: bool = False
    pause: float = 0.0  # seconds between pieces of a large file
    asked: list[str] = field(default_factory=list)  # "GET /path"


@contextmanager
def serve_hub(root: Path) -> Iterator[Hub]:
    """Serves the repositories below `root` until the context ends."""
    hub = Hub(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def send(self, status: int, data: bytes, body: bool, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not body:
                return
            with suppress(OSError):  # the other side has left
                for i in range(0, len(data), PIECE):
                    self.wfile.write(data[i : i + PIECE])
                    time.sleep(hub.pause if len(data) > PIECE else 0)

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.asked.append(f"{self.command} {path}")
            parts = path.removeprefix("/api/models/").strip("/").split("/")
            folder = hub.root / parts[0] / (parts[1] if len(parts) > 1 else "-")
            file = folder.joinpath(*parts[4:])  # owner/name/resolve/REVISION/file
            refused: tuple[int, str] | None = None
            if not folder.is_dir():
                refused = 404, "RepoNotFound"
            elif hub.gated:
                refused = 403, "GatedRepo"
            elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                refused = 401, "RepoNotFound"
            elif "missing" in parts:
                refused = 404, "RevisionNotFound"
            elif not path.startswith("/api/") and not file.is_file():
                refused = 404, "EntryNotFound"
            if refused:
                self.send(refused[0], b"{}", body, X_Error_Code=refused[1], X_Repo_Commit=COMMIT)
            elif path.startswith("/api/"):
                self.describe(parts, folder, body)
            else:
                data = file.read_bytes()
                etag = f'"{hashlib.sha1(data).hexdigest()}"'
                self.send(200, data, body, ETag=etag, X_Repo_Commit=COMMIT)

        def describe(self, parts: list[str], folder: Path, body: bool) -> None:
            names = sorted(file.name for file in folder.iterdir())
            if "tree" in parts:
                found: object = [
                    {"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names
                ]
            else:
                found = {
                    "id": "/".join(parts[:2]),
                    "sha": COMMIT,
                    "siblings": [{"rfilename": name} for name in names],
                }
            data = json.dumps(found).encode()
            self.send(200, data, body, Content_Type="application/json")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
