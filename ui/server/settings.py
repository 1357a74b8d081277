"""Settings of the page: command-line flags, each with an environment variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from clip_core.weights.resolve import DTYPES
from ui.server import PROGRAM
from ui.service.limits import Limits
from ui.service.memory import parse_bytes
from ui.service.telemetry import LEVELS

SPACE_MODEL = "ViT-B/32"  # the README's front matter has a Space fetch it before it starts


def parse_root_path(text: str) -> str:
    """A path such as /clip, or a whole address, without a slash at its end; "" is no path."""
    if text and not text.startswith(("/", "http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a path that begins with /, or an address that begins with http:// "
            "or https://."
        )
    return text.rstrip("/")


def parse_auth(text: str) -> list[tuple[str, str]]:
    """Users and their passwords. An empty text is refused: the page would be open to everybody."""
    pairs = [entry.strip().partition(":") for entry in text.split(",")]
    if not all(user and password for user, _, password in pairs):
        # The text is a secret: it must not be in the message
        raise argparse.ArgumentTypeError(
            "it must be user:password, or several of these with commas between; a password can't "
            "hold a comma. For a page without a password leave it out."
        )
    return [(user, password) for user, _, password in pairs]


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:  # argparse would drop its sentence
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more.")
    return int(text)


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(LEVELS)}")
    return text.lower()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a port, or a host and a port as HOST:PORT."
        )
    return host or "127.0.0.1", int(port)


def _dtype(text: str) -> str:
    if text not in DTYPES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DTYPES)}")
    return text


class Flag(NamedTuple):
    """A flag and its environment variable.

    type: turns the text of either into a value; None for a switch. default: used when neither is
    given, as text. several: whether the flag may be given more than once.
    """

    name: str
    variable: str
    type: Callable[[str], Any] | None
    default: str | None
    help: str
    metavar: str | None = None
    several: bool = False


FLAGS = (
    Flag(
        "--host",
        "GRADIO_SERVER_NAME",
        str,
        None,
        "address to listen on; 0.0.0.0 for every network (default 127.0.0.1)",
    ),
    Flag("--port", "GRADIO_SERVER_PORT", int, None, "port (default: the first free one from 7860)"),
    Flag(
        "--share",
        "GRADIO_SHARE",
        None,
        None,
        "also open a public link through gradio's servers",
    ),
    Flag(
        "--root-path",
        "GRADIO_ROOT_PATH",
        parse_root_path,
        "",
        "path at which a reverse proxy serves the page, such as /clip (default: /)",
    ),
    Flag(
        "--auth",
        "CLIP_AUTH",
        parse_auth,
        None,
        "users who may use the page and its API, separated by commas (default: everybody). Set "
        "the variable instead of the flag: other users of the machine can see flags in its list "
        "of processes",
        metavar="USER:PASSWORD",
    ),
    Flag(
        "--model",
        "CLIP_MODEL",
        str,
        None,
        "name of a model, a file, a folder, or a repository of the Hugging Face Hub as "
        "owner/name; may be repeated. The first is the default; bundled answers until it is "
        "loaded (default: bundled; on a Space ViT-B/32)",
        several=True,
    ),
    Flag("--device", "CLIP_DEVICE", str, None, "cpu, cuda or mps (default: the best there is)"),
    Flag(
        "--dtype",
        "CLIP_DTYPE",
        _dtype,
        None,
        "precision of the models (default: float16 on CUDA, float32 elsewhere)",
    ),
    Flag(
        "--threads",
        "CLIP_THREADS",
        _count,
        None,
        "number of threads of a forward pass on a CPU (default: OMP_NUM_THREADS, else the number "
        "of physical cores that the page may use)",
    ),
    Flag(
        "--onnx",
        "CLIP_ONNX",
        None,
        None,
        "run image towers with ONNX Runtime, which is quicker on a CPU; needs onnxruntime, onnx "
        "and onnxscript",
    ),
    Flag(
        "--memory",
        "CLIP_MEMORY",
        _bytes,
        None,
        "memory that all models together may take, such as 8GB (default: half of the machine's)",
    ),
    Flag(
        "--mirror",
        "CLIP_MIRROR",
        str,
        None,
        "address of a copy of the published files, each at SHA-256/FILE below it, as on their own "
        "host",
    ),
    Flag(
        "--queue-size",
        "CLIP_QUEUE_SIZE",
        _count,
        "100",
        "maximum number of questions that wait for an answer (default 100)",
    ),
    Flag(
        "--rate",
        "CLIP_RATE",
        int,
        "0",
        "maximum number of questions, uploads and camera frames from one address per minute "
        "(default 0: no limit; a camera sends up to 900)",
    ),
    Flag(
        "--sessions",
        "CLIP_SESSIONS",
        _count,
        "1000",
        "maximum number of sessions kept in memory (about 0.5 MB each); the least recently active "
        "is dropped (default 1000)",
    ),
    Flag(
        "--file-size",
        "CLIP_FILE_SIZE",
        _count,
        str(Limits.file_mb),
        f"maximum size of an uploaded file, also of a zip (default {Limits.file_mb} MB)",
        metavar="MB",
    ),
    Flag(
        "--labels",
        "CLIP_LABELS",
        _count,
        str(Limits.labels),
        f"maximum number of labels in a question (default {Limits.labels})",
    ),
    Flag(
        "--pictures",
        "CLIP_PICTURES",
        _count,
        str(Limits.pictures),
        f"maximum number of pictures of a visitor under Many pictures (default {Limits.pictures})",
    ),
    Flag(
        "--mcp",
        "CLIP_MCP",
        None,
        None,
        "also serve the API as tools for assistants (Model Context Protocol) at gradio_api/mcp/ "
        "below the page's address; not with a password",
    ),
    Flag(
        "--log",
        "CLIP_LOG",
        _level,
        "warning",
        f"lowest level of events logged to standard error as lines of JSON: {', '.join(LEVELS)} "
        "(default warning); events never contain anything of a picture or a label",
        metavar="LEVEL",
    ),
    Flag(
        "--metrics",
        "CLIP_METRICS",
        _address,
        None,
        "also serve metrics for Prometheus at that port, on 127.0.0.1 unless a host is named; "
        "without a password",
        metavar="[HOST:]PORT",
    ),
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The settings from flags, else from environment variables, else the defaults."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="An interactive CLIP demo: a picture, labels in your own words.",
        epilog="Each flag's environment variable is named in brackets; a flag wins over it.",
    )
    for flag in FLAGS:
        text = f"{flag.help} [{flag.variable}]"
        value = os.environ.get(flag.variable, flag.default)
        if flag.type is None:
            is_on = (value or "").lower() in ("1", "true")
            parser.add_argument(flag.name, action="store_true", default=is_on, help=text)
        elif flag.several:
            parser.add_argument(flag.name, action="append", type=flag.type, help=text)
        else:
            parser.add_argument(
                flag.name, type=flag.type, default=value, metavar=flag.metavar, help=text
            )
    options = parser.parse_args(arguments)
    on_space = os.environ.get("SPACE_ID")
    model = os.environ.get("CLIP_MODEL") or (SPACE_MODEL if on_space else "bundled")
    options.model = options.model or [model]
    if options.rate < 0:
        parser.error("--rate must be 0, for any number, or more.")
    if options.mcp and options.auth:
        # Gradio's MCP server lists its tools to anyone, and can't send a password to the page
        parser.error("--mcp can't be used with --auth: its tools know no password.")
    return options
