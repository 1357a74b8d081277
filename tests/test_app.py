from __future__ import annotations

import os
import re
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
VARIABLES = (
    "GRADIO_SERVER_NAME",
    "GRADIO_SERVER_PORT",
    "GRADIO_SHARE",
    "GRADIO_ROOT_PATH",
    "CLIP_AUTH",
    "CLIP_MODEL",
    "CLIP_DEVICE",
    "CLIP_DTYPE",
    "CLIP_THREADS",
    "CLIP_ONNX",
    "CLIP_MEMORY",
    "CLIP_MIRROR",
    "CLIP_QUEUE_SIZE",
    "CLIP_RATE",
    "CLIP_MCP",
    "CLIP_LOG",
    "CLIP_METRICS",
)
MIRROR = "http://127.0.0.1/clip"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def run_app(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *flags],
        cwd=ROOT,
        env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_needs_no_flags() -> None:
    options = app.parse_arguments([])
    assert vars(options) == {
        "host": None,
        "port": None,
        "share": False,
        "root_path": "",
        "auth": None,
        "model": ["bundled"],
        "device": None,
        "dtype": None,
        "threads": None,
        "onnx": False,
        "memory": None,
        "mirror": None,
        "queue_size": 100,
        "rate": 0,
        "mcp": False,
        "log": "warning",
        "metrics": None,
    }


def test_flags() -> None:
    line = "--host 0.0.0.0 --port 8000 --share --model a.pt --model b.pt --device cpu"
    more = "--queue-size 5 --root-path /clip/ --auth ann:secret"
    more += f" --dtype bfloat16 --threads 3 --onnx --memory 8GB --mirror {MIRROR}"
    more += " --rate 1200 --log INFO --metrics 9100"
    options = app.parse_arguments([*line.split(), *more.split()])
    assert vars(options) == {
        "host": "0.0.0.0",
        "port": 8000,
        "share": True,
        "root_path": "/clip",
        "auth": [("ann", "secret")],
        "model": ["a.pt", "b.pt"],
        "device": "cpu",
        "dtype": "bfloat16",
        "threads": 3,
        "onnx": True,
        "memory": 8_000_000_000,
        "mirror": MIRROR,
        "queue_size": 5,
        "rate": 1200,
        "mcp": False,
        "log": "info",
        "metrics": ("127.0.0.1", 9100),
    }


def test_environment_variables_and_flags_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("0.0.0.0", "8000", "true", "/clip", "ann:secret", "a.pt", "cpu")
    values += ("bfloat16", "3", "1", "8GB", MIRROR, "5", "1200", "0", "info", "9100")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    options = app.parse_arguments([])
    assert vars(options) == {
        "host": "0.0.0.0",
        "port": 8000,
        "share": True,
        "root_path": "/clip",
        "auth": [("ann", "secret")],
        "model": ["a.pt"],
        "device": "cpu",
        "dtype": "bfloat16",
        "threads": 3,
        "onnx": True,
        "memory": 8_000_000_000,
        "mirror": MIRROR,
        "queue_size": 5,
        "rate": 1200,
        "mcp": False,
        "log": "info",
        "metrics": ("127.0.0.1", 9100),
    }
    line = "--host 127.0.0.1 --port 9 --model b.pt --device cuda --queue-size 7"
    options = app.parse_arguments(line.split())
    assert (options.host, options.port, options.model) == ("127.0.0.1", 9, ["b.pt"])
    assert (options.device, options.queue_size) == ("cuda", 7)
    options = app.parse_arguments(["--root-path", "https://here.org/b", "--auth", "bob:word"])
    assert (options.root_path, options.auth) == ("https://here.org/b", [("bob", "word")])


def test_a_space_starts_with_a_published_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert app.parse_arguments([]).model == ["ViT-B/32"]
    monkeypatch.setenv("CLIP_MODEL", "RN50")
    assert app.parse_arguments([]).model == ["RN50"]


@pytest.mark.parametrize(
    ("value", "on"), [("1", True), ("true", True), ("", False), ("0", False), ("false", False)]
)
def test_the_mcp_server_by_its_variable(
    value: str, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_MCP", value)
    assert app.parse_arguments([]).mcp is on
    assert app.parse_arguments(["--mcp"]).mcp is True


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_share_is_off_unless_asked_for(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SHARE", value)
    assert app.parse_arguments([]).share is False


@pytest.mark.parametrize(
    ("flags", "variables", "complaint"),
    [
        (["--queue-size", "0"], {}, "--queue-size must be 1 or more."),
        ([], {"CLIP_QUEUE_SIZE": "many"}, "invalid int value: 'many'"),
        (["--memory", "lots"], {}, "'lots' is no amount of memory: write it as 8GB"),
        (["--threads", "0"], {}, "argument --threads: '0' is no number of threads: 1 or more."),
        ([], {"CLIP_THREADS": "all"}, "argument --threads: 'all' is no number of threads"),
        ([], {"CLIP_DTYPE": "int8"}, "argument --dtype: 'int8' is none of float32"),
        (["--port", "http"], {}, "invalid int value: 'http'"),
        (["--rate", "-1"], {}, "--rate must be 0, for any number, or more."),
        (["--log", "loud"], {}, "argument --log: 'loud' is none of debug, info, warning, error"),
        (["--metrics", "host:"], {}, "argument --metrics: 'host:' must be a port, or a host and"),
        ([], {"CLIP_METRICS": "70000"}, "argument --metrics: '70000' must be a port, or a host"),
        (["--root-path", "clip"], {}, "argument --root-path: 'clip' must be a path that begins"),
        ([], {"GRADIO_ROOT_PATH": "clip"}, "argument --root-path: 'clip' must be a path"),
        (["--mcp", "--auth", "ann:secret"], {}, "--mcp can't be used with --auth"),
        (["cat.jpg"], {}, "unrecognized arguments: cat.jpg"),
    ],
)
def test_what_cannot_be_a_flag(
    flags: list[str],
    variables: dict[str, str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        app.parse_arguments(flags)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "  ", "word", "ann:", ":word", "ann:word,", "ann:secret,word"]
)
@pytest.mark.parametrize("given", ["flag", "variable"])
def test_a_wrong_password_form_is_one_line_that_keeps_it_secret(
    text: str, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if given == "variable":
        monkeypatch.setenv("CLIP_AUTH", text)
    with pytest.raises(SystemExit) as caught:
        app.parse_arguments(["--auth", text] if given == "flag" else [])
    assert caught.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "argument --auth: it must be user:password" in message
    assert not {"ann", "secret", "word"} & set(re.findall(r"\w+", message))


def test_several_passwords() -> None:
    options = app.parse_arguments(["--auth", "ann:one, bob:two:three"])
    assert options.auth == [("ann", "one"), ("bob", "two:three")]


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


def test_help_names_each_flag_and_its_variable() -> None:
    run = run_app("--help")
    assert run.returncode == 0
    for flag in vars(app.parse_arguments([])):
        assert f"--{flag.replace('_', '-')}" in run.stdout
    for name in VARIABLES:
        assert f"[{name}]" in run.stdout


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


def test_the_start_waits_for_no_package_that_only_some_answers_need() -> None:
    code = (
        "import gc, sys, app\n"
        "assert gc.isenabled()\n"
        "print(sorted({'torchvision', 'scipy', 'matplotlib', 'statsmodels'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
