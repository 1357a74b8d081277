from __future__ import annotations

import re

import pytest

from ui.server.settings import parse_arguments

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
    "CLIP_SESSIONS",
    "CLIP_FILE_SIZE",
    "CLIP_LABELS",
    "CLIP_PICTURES",
    "CLIP_MCP",
    "CLIP_LOG",
    "CLIP_METRICS",
)
MIRROR = "http://127.0.0.1/clip"


pytestmark = pytest.mark.usefixtures("no_variables")


def test_needs_no_flags() -> None:
    options = parse_arguments([])
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
        "sessions": 1000,
        "file_size": 50,
        "labels": 1000,
        "pictures": 1000,
        "mcp": False,
        "log": "warning",
        "metrics": None,
    }


def test_flags() -> None:
    line = "--host 0.0.0.0 --port 8000 --share --model a.pt --model b.pt --device cpu"
    more = "--queue-size 5 --root-path /clip/ --auth ann:secret"
    more += f" --dtype bfloat16 --threads 3 --onnx --memory 8GB --mirror {MIRROR}"
    more += " --rate 1200 --sessions 50 --file-size 20 --labels 100 --pictures 30"
    more += " --log INFO --metrics 9100"
    options = parse_arguments([*line.split(), *more.split()])
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
        "sessions": 50,
        "file_size": 20,
        "labels": 100,
        "pictures": 30,
        "mcp": False,
        "log": "info",
        "metrics": ("127.0.0.1", 9100),
    }


def test_environment_variables_and_flags_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("0.0.0.0", "8000", "true", "/clip", "ann:secret", "a.pt", "cpu")
    values += ("bfloat16", "3", "1", "8GB", MIRROR, "5", "1200", "50", "20", "100", "30")
    values += ("0", "info", "9100")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    options = parse_arguments([])
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
        "sessions": 50,
        "file_size": 20,
        "labels": 100,
        "pictures": 30,
        "mcp": False,
        "log": "info",
        "metrics": ("127.0.0.1", 9100),
    }
    line = "--host 127.0.0.1 --port 9 --model b.pt --device cuda --queue-size 7"
    options = parse_arguments(line.split())
    assert (options.host, options.port, options.model) == ("127.0.0.1", 9, ["b.pt"])
    assert (options.device, options.queue_size) == ("cuda", 7)
    options = parse_arguments(["--root-path", "https://here.org/b", "--auth", "bob:word"])
    assert (options.root_path, options.auth) == ("https://here.org/b", [("bob", "word")])


def test_a_space_starts_with_a_published_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert parse_arguments([]).model == ["ViT-B/32"]
    monkeypatch.setenv("CLIP_MODEL", "RN50")
    assert parse_arguments([]).model == ["RN50"]


@pytest.mark.parametrize(
    ("value", "on"), [("1", True), ("true", True), ("", False), ("0", False), ("false", False)]
)
def test_the_mcp_server_by_its_variable(
    value: str, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_MCP", value)
    assert parse_arguments([]).mcp is on
    assert parse_arguments(["--mcp"]).mcp is True


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_share_is_off_unless_asked_for(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SHARE", value)
    assert parse_arguments([]).share is False


@pytest.mark.parametrize(
    ("flags", "variables", "complaint"),
    [
        (["--queue-size", "0"], {}, "--queue-size: '0' must be a whole number"),
        ([], {"CLIP_QUEUE_SIZE": "many"}, "'many' must be a whole number, 1 or more."),
        (["--labels", "1e3"], {}, "--labels: '1e3' must be a whole number, 1 or more."),
        (["--memory", "lots"], {}, "'lots' is no amount of memory: write it as 8GB"),
        (["--threads", "0"], {}, "argument --threads: '0' must be a whole number, 1 or more."),
        ([], {"CLIP_THREADS": "all"}, "argument --threads: 'all' must be a whole number"),
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
        parse_arguments(flags)
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
        parse_arguments(["--auth", text] if given == "flag" else [])
    assert caught.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "argument --auth: it must be user:password" in message
    assert not {"ann", "secret", "word"} & set(re.findall(r"\w+", message))


def test_several_passwords() -> None:
    options = parse_arguments(["--auth", "ann:one, bob:two:three"])
    assert options.auth == [("ann", "one"), ("bob", "two:three")]


def test_help_names_each_flag_and_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for flag in vars(parse_arguments([])):
        assert f"--{flag.replace('_', '-')}" in told
    for name in VARIABLES:
        assert f"[{name}]" in told
