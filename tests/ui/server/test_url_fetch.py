from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio import processing_utils

import ui.server.url_fetch
from tests.own_loop import run
from ui.server.url_fetch import fetch, is_public, limit_fetches, public_address

PICTURE = b"picture" * 1000


class Handler(BaseHTTPRequestHandler):
    """/size/N sends N bytes, /slow/N one a second, /to/ADDRESS leads there, /code/N answers N."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        self.send_response({"to": 302, "code": int(rest) if rest.isdecimal() else 0}.get(kind, 200))
        if kind == "to":
            self.send_header("Location", rest)
        self.end_headers()
        try:
            if kind == "size":
                for _ in range(int(rest) // 1_000_000):
                    self.wfile.write(b"x" * 1_000_000)
            elif kind == "slow":
                for _ in range(int(rest)):
                    self.wfile.write(b"x")
                    time.sleep(1)
            elif kind == "pictures":
                self.wfile.write(PICTURE)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server here that passes for a public host under the name "public.example"."""
    Handler.seen = []
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    look_up = public_address

    async def pretend(host: str) -> str:
        return "127.0.0.1" if host == "public.example" else await look_up(host)

    monkeypatch.setattr(ui.server.url_fetch, "public_address", pretend)
    monkeypatch.setattr(ui.server.url_fetch, "PORTS", {"http": (served.server_port, None)})
    yield f"http://public.example:{served.server_port}"
    served.shutdown()
    served.server_close()


def get(url: str, folder: Path) -> str:
    return run(fetch(url, str(folder)))


def test_a_picture_is_fetched_into_a_folder_of_its_own(server: str, tmp_path: Path) -> None:
    first = Path(get(f"{server}/pictures/my%20cat.jpg?size=1", tmp_path))
    second = Path(get(f"{server}/pictures/my%20cat.jpg", tmp_path))
    assert first.read_bytes() == second.read_bytes() == PICTURE
    assert first.name == second.name == "my-cat.jpg"
    assert first.parent != second.parent
    assert first.parent.parent == tmp_path


@pytest.mark.parametrize("path", ["/pictures/..", "/pictures/%2e%2e", "/pictures/"])
def test_the_name_is_a_plain_one(path: str, server: str, tmp_path: Path) -> None:
    assert Path(get(server + path, tmp_path)).parent.parent == tmp_path


def test_what_is_too_large_is_dropped(server: str, tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match="larger than 50 MB"):
        get(f"{server}/size/60000000", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_never_ends_is_left(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui.server.url_fetch, "SECONDS", 2.0)
    started = time.monotonic()
    with pytest.raises(gr.Error, match="more than 2 seconds"):
        get(f"{server}/slow/20", tmp_path)
    assert time.monotonic() - started < 6


def test_redirects_are_looked_at_like_the_first_address(server: str, tmp_path: Path) -> None:
    assert Path(get(f"{server}/to//pictures/cat.jpg", tmp_path)).read_bytes() == PICTURE
    assert Path(get(f"{server}/to/{server}/pictures/cat.jpg", tmp_path)).name == "cat.jpg"
    port = server.rsplit(":", 1)[1]
    Handler.seen.clear()
    for inside in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433"):
        with pytest.raises(gr.Error, match=r"public host|no host"):
            get(f"{server}/to/http://{inside}:{port}/pictures/secret", tmp_path)
    assert not [path for path in Handler.seen if path.startswith("/pictures")]
    with pytest.raises(gr.Error, match="leads on more than 5 times"):
        get(f"{server}/to//to//to//to//to//to//to//pictures/cat.jpg", tmp_path)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.example/b", "http://a.example:22/b"]
)
def test_other_services_are_not_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match="begins with http:// or https://"):
        get(url, tmp_path)


@pytest.mark.parametrize("path", ["/code/404", "/code/500"])
def test_no_answer_is_no_picture(path: str, server: str, tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match=f"answers {path[-3:]}"):
        get(server + path, tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "2002:7f00:1::", "64:ff9b::7f00:1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


def test_a_host_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("8.8.8.8", 0)), (*kind, ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ui.server.url_fetch.FetchError, match="public host"):
        run(public_address("both.example"))


def test_gradio_fetches_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "async_ssrf_protected_download"
    monkeypatch.setattr(processing_utils, name, getattr(processing_utils, name))
    limit_fetches()
    picture = gr.Image(type="filepath")
    with pytest.raises(gr.Error, match="public host"):
        run(picture.async_move_resource_to_block_cache("http://127.0.0.1/cat.jpg"))
