"""Command `convert`: writes any model file as safetensors."""

from __future__ import annotations

import argparse
import os
import sys

from clip_core.config import ACTIVATIONS
from clip_core.weights.convert import convert


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core convert",
        description="Writes a model of any format as a safetensors file under the published names.",
    )
    parser.add_argument("source", help="a model's name, file, folder or repository")
    parser.add_argument("target", help="the file to write, which must not be there yet")
    parser.add_argument(
        "--half", action="store_true", help="matrices in float16, as in the published archives"
    )
    parser.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        help="what the weights were trained with, where no config says so (default: quick_gelu)",
    )
    options = parser.parse_args(arguments)
    convert(options.source, options.target, options.half, options.activation)
    size = os.path.getsize(options.target) / 1e6
    print(f"{options.target}: {size:,.0f} MB", file=sys.stderr)
    return 0
