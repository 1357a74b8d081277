"""Requests for what isn't the visitor's: files, the server's network, another's login."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.running_app import RunningApp

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui" / "examples" / "cat.jpg"
SECRET = "this-is-nobody-elses-business"


@pytest.fixture(scope="module")
def app(shared_app: RunningApp) -> RunningApp:
    return shared_app


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the server's, outside of all that is anyone's."""
    path = tmp_path_factory.mktemp("private") / "secret.jpg"
    path.write_text(SECRET)
    return path


class Inside:
    """A server in the app's own network, which counts who comes; /there leads to its picture."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        inside = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                inside.paths.append(self.path)
                self.send_response(302 if self.path == "/there" else 200)
                self.send_header("Location", "/cat.jpg")
                self.end_headers()
                self.wfile.write(CAT.read_bytes())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def inside() -> Iterator[Inside]:
    server = Inside()
    yield server
    server.server.shutdown()
    server.server.server_close()


def get(app: RunningApp, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """One answer to a path exactly as written: httpx would tidy it up first."""
    connection = http.client.HTTPConnection(app.address.removeprefix("http://"), timeout=300)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def classify(app: RunningApp, image: object, labels: str = "cat, dog") -> str:
    """What comes of a question about that image, as the server's events."""
    data = [image, labels, "{}", "bundled", "best"]
    asked = httpx.post(f"{app.address}/gradio_api/call/classify", json={"data": data})
    if asked.status_code != 200:
        return f"event: refused {asked.status_code} {asked.text}"
    event = asked.json()["event_id"]
    return httpx.get(f"{app.address}/gradio_api/call/classify/{event}", timeout=300).text


def upload(app: RunningApp, name: str, data: bytes) -> httpx.Response:
    """Sends a file under a name that is written as it is, as only a program of one's own does."""
    body = (
        (
            f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + data
        + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return httpx.post(f"{app.address}/gradio_api/upload", content=body, headers=headers)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={}",
        "/gradio_api/file=//{}",
        "/gradio_api/file=/proc/self/root{}",
        "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{}",
        "/gradio_api/file=../../../../../../../../..{}",
        "/gradio_api/file=file://{}",
        "/gradio_api/file/..%2f..%2f..%2f..%2f..%2f..{}",
        "/file={}",
        "/file/{}",
        "/static/../../../../../../../../../../..{}",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{}",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{}",
        "/assets//{}",
        "/svelte/../../../../../../../../../..{}",
        "/custom_component/a/component/../../../../../../../..{}",
        "/gradio_api/stream/a/b/c/..%2f..%2f..%2f..%2f..{}",
        "/gradio_api/proxy=file://{}",
        "/gradio_api/process_recording?path={}",
    ],
)
def test_files_of_the_server_are_not_read(path: str, app: RunningApp, secret: Path) -> None:
    status, body, _ = get(app, path.replace("{}", str(secret)))
    assert SECRET.encode() not in body
    assert status in (307, 400, 403, 404, 405, 422), (status, body[:200])


@pytest.mark.parametrize("name", ["app.py", "clip_core/bundled.safetensors", ".git/config", ""])
def test_the_project_s_own_files_are_not_served(name: str, app: RunningApp) -> None:
    for path in (ROOT / name, name):
        assert get(app, f"/gradio_api/file={path}")[0] in (403, 404)


def test_folders_of_uploads_are_not_listed(app: RunningApp) -> None:
    (path,) = upload(app, "cat.jpg", CAT.read_bytes()).json()
    assert get(app, f"/gradio_api/file={path}")[0] == 200
    for folder in Path(path).parents:
        if folder == app.folder.parent:
            break
        assert get(app, f"/gradio_api/file={folder}")[0] in (403, 404), folder


@pytest.mark.parametrize(
    "name", ["../../escaped.jpg", "/escaped.jpg", "..\\..\\escaped.jpg", "a/../../../escaped.jpg"]
)
def test_uploads_stay_in_their_folder(name: str, app: RunningApp) -> None:
    answer = upload(app, name, CAT.read_bytes())
    if answer.status_code == 200:
        (path,) = answer.json()
        assert Path(path).resolve().is_relative_to(app.folder.resolve())
    else:
        assert answer.status_code in (400, 422)
    assert not list(app.folder.parent.glob("escaped*"))
    assert not Path("/escaped.jpg").exists()


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "script.js", "page.xhtml"])
def test_what_a_browser_would_run_is_a_download(name: str, app: RunningApp) -> None:
    (path,) = upload(app, name, b"<svg xmlns='http://www.w3.org/2000/svg'></svg>").json()
    _, _, headers = get(app, f"/gradio_api/file={path}")
    assert headers["content-disposition"].startswith("attachment")
    assert "html" not in headers["content-type"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_path_is_no_picture(app: RunningApp, secret: Path) -> None:
    private = secret.with_name("private.jpg")
    private.write_bytes(CAT.read_bytes())
    for path in (private, secret, f"{app.folder}/../../{private}", private.relative_to("/")):
        for image in (
            {"path": str(path), "meta": {"_type": "gradio.FileData"}},
            {"path": str(path), "meta": {"_type": "gradio.FileData"}, "is_stream": True},
            {"path": str(path), "url": str(CAT), "orig_name": "cat.jpg"},
            {"path": str(path)},
            str(path),
        ):
            said = classify(app, image)
            assert "event: complete" not in said, image
            assert SECRET not in said


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "127.1", "0x7f000001"]
)
def test_addresses_in_the_server_s_network_are_not_fetched(
    host: str, app: RunningApp, inside: Inside
) -> None:
    for path in ("cat.jpg", "there"):
        url = f"http://{host}:{inside.port}/{path}"
        for image in (
            {"path": url, "meta": {"_type": "gradio.FileData"}},
            {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}},
            {"path": "cat.jpg", "url": url, "meta": {"_type": "gradio.FileData"}},
            {"url": url, "meta": {"_type": "gradio.FileData"}},
        ):
            assert "event: complete" not in classify(app, image)
    assert inside.paths == []


@pytest.mark.parametrize("route", ["/gradio_api/proxy=", "/proxy="])
def test_nothing_is_asked_for_on_a_visitor_s_behalf(
    route: str, app: RunningApp, inside: Inside
) -> None:
    for url in (f"http://127.0.0.1:{inside.port}/", f"http://127.0.0.1:{inside.port}/.hf.space"):
        assert get(app, route + url)[0] in (400, 403, 404)
    assert inside.paths == []


def test_other_sites_may_not_read_a_page_on_this_machine(app: RunningApp) -> None:
    for origin in ("https://evil.example", "null"):
        _, _, headers = get(app, "/config", Origin=origin)
        assert headers.get("access-control-allow-origin") not in (origin, "*")


def test_other_sites_don_t_get_a_visitor_s_login(
    run_app: Callable[..., RunningApp], tiny_model: Path
) -> None:
    app = run_app("--model", str(tiny_model), CLIP_AUTH="ann:sesame")
    login = httpx.post(f"{app.address}/login", data={"username": "ann", "password": "sesame"})
    cookies = login.headers.get_list("set-cookie")
    assert cookies
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "unsecure" in cookie or "Secure" in cookie
    found = (re.match("[^;]+", cookie) for cookie in cookies)
    sent = "; ".join(match[0] for match in found if match)
    own = {"Cookie": sent, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert get(app, "/config", **own)[0] == 200
    foreign = own | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert get(app, "/config", **foreign)[0] == 401
    followed = foreign | {"Sec-Fetch-Mode": "navigate"}
    status, body, _ = get(app, "/", **followed)
    assert status == 200
    assert b'"auth_required":true' not in body


def test_nothing_below_the_disk_may_be_served() -> None:
    """No folder is opened to the page: `allowed_paths` would make each of its files readable."""
    for path in [ROOT / "app.py", *(ROOT / "ui").glob("*.py")]:
        text = path.read_text()
        assert "allowed_paths" not in text, path
        assert "set_static_paths" not in text, path


def test_an_error_names_no_folder(app: RunningApp) -> None:
    (path,) = upload(app, "cat.jpg", CAT.read_bytes()[:500]).json()
    said = classify(app, {"path": path, "meta": {"_type": "gradio.FileData"}})
    assert "event: error" in said
    assert "/" not in json.loads(said.split("data: ")[-1])["error"]


def test_limits_are_the_host_s_to_set(run_app: Callable[..., RunningApp], tiny_model: Path) -> None:
    app = run_app("--model", str(tiny_model), "--labels", "3", "--file-size", "1")
    sent = {"files": ("large.jpg", bytes(2_000_000))}
    assert httpx.post(f"{app.address}/gradio_api/upload", files=sent).status_code == 413
    sent = {"files": ("cat.jpg", CAT.read_bytes())}
    (path,) = httpx.post(f"{app.address}/gradio_api/upload", files=sent).json()
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert "at most 3 can be compared at once" in classify(app, image, "a, b, c, d")
    assert "confidences" in classify(app, image, "a, b, c")
