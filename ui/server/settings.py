"""The flags of app.py, each with an environment variable behind it."""

from __future__ import annotations

import argparse
import os

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
    """The users and their passwords. Nothing at all is refused: the page would be open to all."""
    pairs = [entry.strip().partition(":") for entry in text.split(",")]
    if not all(user and password for user, _, password in pairs):
        # what was given is a secret, and stays out of the message
        raise argparse.ArgumentTypeError(
            "it must be user:password, or several of these with commas between; a password can't "
            "hold a comma. For a page without a password leave it out."
        )
    return [(user, password) for user, _, password in pairs]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags, each with an environment variable behind it."""
    env = os.environ.get
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="An interactive CLIP demo: a picture, labels in your own words.",
        epilog="Each flag's environment variable is named in brackets; a flag wins over it.",
    )
    parser.add_argument(
        "--host",
        default=env("GRADIO_SERVER_NAME"),
        help="address to listen on; 0.0.0.0 for every network (default 127.0.0.1) "
        "[GRADIO_SERVER_NAME]",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=env("GRADIO_SERVER_PORT"),
        help="port (default: the first free one from 7860) [GRADIO_SERVER_PORT]",
    )
    parser.add_argument(
        "--share",
        action="store_true",
        default=env("GRADIO_SHARE", "").lower() in ("1", "true"),
        help="also open a public link through gradio's servers [GRADIO_SHARE]",
    )
    parser.add_argument(
        "--root-path",
        type=parse_root_path,
        default=env("GRADIO_ROOT_PATH", ""),
        help="where a reverse proxy serves the page, such as /clip (default: at /) "
        "[GRADIO_ROOT_PATH]",
    )
    parser.add_argument(
        "--auth",
        type=parse_auth,
        default=env("CLIP_AUTH"),
        metavar="USER:PASSWORD",
        help="who may use the page and its API, several separated by commas (default: all). Give "
        "it by the variable: others on the machine can read flags in its list of processes "
        "[CLIP_AUTH]",
    )
    parser.add_argument(
        "--model",
        action="append",
        help="a model's name, a file, a folder, or a repository of the Hugging Face Hub as "
        "owner/name; several may be given. The first answers as soon as it is there, until then "
        "bundled does (default: bundled; on a Space ViT-B/32) [CLIP_MODEL]",
    )
    parser.add_argument(
        "--device",
        default=env("CLIP_DEVICE"),
        help="cpu, cuda or mps (default: the best there is) [CLIP_DEVICE]",
    )
    parser.add_argument(
        "--dtype",
        type=_dtype,
        default=env("CLIP_DTYPE"),
        help="precision of the models (default: float16 on CUDA, float32 elsewhere) [CLIP_DTYPE]",
    )
    parser.add_argument(
        "--threads",
        type=_count,
        default=env("CLIP_THREADS"),
        help="threads of a forward pass on a CPU (default: what OMP_NUM_THREADS says, else one for "
        "each physical core that the page may use) [CLIP_THREADS]",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        default=env("CLIP_ONNX", "").lower() in ("1", "true"),
        help="have ONNX Runtime run image towers, which is quicker on a CPU; needs onnxruntime, "
        "onnx and onnxscript [CLIP_ONNX]",
    )
    parser.add_argument(
        "--memory",
        type=_bytes,
        default=env("CLIP_MEMORY"),
        help="what models may take of memory together, as 8GB (default: half of the machine's) "
        "[CLIP_MEMORY]",
    )
    parser.add_argument(
        "--mirror",
        default=env("CLIP_MIRROR"),
        help="an address that has the published files, each at SHA-256/FILE below it, as their own "
        "host has them [CLIP_MIRROR]",
    )
    parser.add_argument(
        "--queue-size",
        type=_count,
        default=env("CLIP_QUEUE_SIZE", "100"),
        help="how many questions may wait for an answer (default 100) [CLIP_QUEUE_SIZE]",
    )
    parser.add_argument(
        "--rate",
        type=int,
        default=env("CLIP_RATE", "0"),
        help="how many questions, uploads and camera frames one address may send a minute (default "
        "0: any number; a camera sends up to 900) [CLIP_RATE]",
    )
    parser.add_argument(
        "--sessions",
        type=_count,
        default=env("CLIP_SESSIONS", "1000"),
        help="of how many visitors the page remembers what they have open, half a megabyte each; "
        "beyond, whoever did nothing for longest begins anew (default 1000) [CLIP_SESSIONS]",
    )
    parser.add_argument(
        "--file-size",
        type=_count,
        default=env("CLIP_FILE_SIZE", str(Limits.file_mb)),
        metavar="MB",
        help=f"how large an upload may be, a zip too (default {Limits.file_mb} MB) "
        "[CLIP_FILE_SIZE]",
    )
    parser.add_argument(
        "--labels",
        type=_count,
        default=env("CLIP_LABELS", str(Limits.labels)),
        help=f"how many labels a question may have (default {Limits.labels}) [CLIP_LABELS]",
    )
    parser.add_argument(
        "--pictures",
        type=_count,
        default=env("CLIP_PICTURES", str(Limits.pictures)),
        help="how many pictures a visitor may have under Many pictures (default "
        f"{Limits.pictures}) [CLIP_PICTURES]",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        default=env("CLIP_MCP", "").lower() in ("1", "true"),
        help="also serve the API as tools for assistants, by the Model Context Protocol, below the "
        "page's address at gradio_api/mcp/; not with a password [CLIP_MCP]",
    )
    parser.add_argument(
        "--log",
        type=_level,
        default=env("CLIP_LOG", "warning"),
        metavar="LEVEL",
        help=f"what is written to the standard error, a line of JSON each: {', '.join(LEVELS)} "
        "(default warning); never anything of a picture or a label [CLIP_LOG]",
    )
    parser.add_argument(
        "--metrics",
        type=_address,
        default=env("CLIP_METRICS"),
        metavar="[HOST:]PORT",
        help="also serve figures for Prometheus at that port, on 127.0.0.1 unless a host is named; "
        "they know no password [CLIP_METRICS]",
    )
    options = parser.parse_args(arguments)
    chosen = env("CLIP_MODEL") or (SPACE_MODEL if env("SPACE_ID") else "bundled")
    options.model = options.model or [chosen]
    if options.rate < 0:
        parser.error("--rate must be 0, for any number, or more.")
    if options.mcp and options.auth:
        # Gradio's MCP server lists its tools to anyone, and can't ask the page with a password
        parser.error("--mcp can't be used with --auth: its tools know no password.")
    return options


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
