from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AuthenticationError

import app

ROOT = Path(__file__).parents[1]
CAT = ROOT / "ui" / "examples" / "cat.jpg"


pytestmark = pytest.mark.usefixtures("no_variables")


def run_app(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *flags],
        cwd=ROOT,
        env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def locked(start_app: Callable[..., str], tiny_model: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_AUTH", "ann:open sesame,bob:other")
        return start_app("--model", str(tiny_model))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "config"),
        ("GET", "gradio_api/info"),
        ("POST", "gradio_api/call/classify"),
        ("POST", "gradio_api/run/classify"),
        ("POST", "gradio_api/queue/join"),
        ("GET", "gradio_api/queue/data?session_hash=a"),
        ("POST", "gradio_api/upload"),
        ("POST", "gradio_api/component_server"),  # the camera's frames
        ("GET", f"gradio_api/file={CAT}"),
    ],
)
def test_without_the_password_nothing_is_answered(method: str, path: str, locked: str) -> None:
    assert httpx.request(method, f"{locked}/{path}").status_code == 401


def test_without_the_password_the_page_holds_nothing_but_the_question_for_it(locked: str) -> None:
    page = httpx.get(locked).text
    assert '"auth_required":true' in page
    assert "typed-labels" not in page  # a component's id; the page's words are in its head
    assert '"components":[],"dependencies":[]' in page


@pytest.mark.parametrize("auth", [None, ("ann", "other"), ("ann", ""), ("eve", "open sesame")])
def test_a_program_without_the_password_stays_out(
    auth: tuple[str, str] | None, locked: str
) -> None:
    with pytest.raises((AuthenticationError, ValueError)):
        Client(locked, auth=auth, verbose=False)


@pytest.mark.parametrize("auth", [("ann", "open sesame"), ("bob", "other")])
def test_with_a_password_the_endpoint_answers(auth: tuple[str, str], locked: str) -> None:
    client = Client(locked, auth=auth, verbose=False)
    label, _ = client.predict(image=handle_file(str(CAT)), labels="cat, dog", api_name="/classify")
    assert {entry["label"] for entry in label["confidences"]} == {"cat", "dog"}


@pytest.mark.parametrize(
    ("root_path", "root"),
    [("/clip/", "https://here.org/clip"), ("https://there.org/b", "https://there.org/b")],
)
def test_behind_a_proxy_the_page_names_the_addresses_it_has_there(
    root_path: str, root: str, start_app: Callable[..., str], tiny_model: Path
) -> None:
    address = start_app("--model", str(tiny_model), "--root-path", root_path)
    headers = {"X-Forwarded-Host": "here.org", "X-Forwarded-Proto": "https"}
    assert httpx.get(f"{address}/config", headers=headers).json()["root"] == root


@pytest.mark.slow
def test_a_wrong_model_is_one_line_and_no_traceback() -> None:
    run = run_app("--model", "none.pt")
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("app.py: Model none.pt not found: ")
    assert len(run.stderr.splitlines()) == 1, run.stderr


def refusal(*flags: str) -> str:
    """What main() leaves with; Python prints it alone, as the test above has seen."""
    with pytest.raises(SystemExit) as caught:
        app.main(list(flags))
    message = str(caught.value)
    assert message.startswith("app.py: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("device", ["abacus", "meta:x"])
def test_no_such_device(device: str, tiny_model: Path) -> None:
    assert f"The device {device!r} can't be used here" in refusal(
        "--model", str(tiny_model), "--device", device
    )


def test_two_models_of_one_file_name(tiny_model: Path, tmp_path: Path) -> None:
    again = tmp_path / tiny_model.name
    again.write_bytes(tiny_model.read_bytes())
    assert refusal("--model", str(tiny_model), "--model", str(again)) == (
        "app.py: Two of these models have the same file name: rename one."
    )


def test_a_port_that_is_taken(tiny_model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        message = refusal("--model", str(tiny_model), "--host", "127.0.0.1", "--port", port)
    assert "choose another --port" in message
    assert port in message


@pytest.mark.slow
def test_the_start_waits_for_no_package_that_only_some_answers_need() -> None:
    code = (
        "import gc, sys, app\n"
        "assert gc.isenabled()\n"
        "print(sorted({'torchvision', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
