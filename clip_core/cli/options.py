"""Options that the commands share: the model, the templates, the labels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import InputError
from clip_core.files import reason_of
from clip_core.inference.malloc import keep_freed_memory
from clip_core.inference.threads import choose_threads
from clip_core.preprocess import FRAMINGS
from clip_core.weights.resolve import DTYPES, available_models
from prompts import find_label_set, find_template_set, label_sets, validate

MANY = ("sort", "find", "evaluate", "duplicates")  # commands for many images
COMMANDS = (*MANY, "convert", "calibrate", "heat-map")
INTERRUPTED = 130  # the exit code, as shells report a process that Ctrl+C ended
# A single label with such an ending is taken for a file
TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xlsx", ".lst", ".list", ".md")


def add_model_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Adds --template, --model, --device, --dtype, --threads and --onnx.

    several: whether --template and --model may be repeated; then they are lists, or None.
    """
    repeated: dict[str, Any] = {"action": "append"} if several else {}
    parser.add_argument(
        "--template",
        help="a template holding {}, or the name of a set such as imagenet-7 "
        "(default: the one that measured best for the model)",
        **repeated,
    )
    parser.add_argument(
        "--model",
        **(repeated or {"default": "bundled"}),
        help=f"{', '.join(available_models())}, a file, a folder, or a repository of the Hugging "
        "Face Hub as owner/name (default: bundled)",
    )
    parser.add_argument("--device", help="cpu, cuda, mps (default: the best there is)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="precision of the model (default: float16 on CUDA, float32 elsewhere)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="threads of a forward pass on a CPU (default: what OMP_NUM_THREADS says, else one for "
        "each physical core that this process may use)",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="have ONNX Runtime run the image tower, which is quicker on a CPU (needs onnxruntime, "
        "onnx and onnxscript; the first time it takes up to a minute)",
    )


def templates_for(wanted: str | None, classifier: ZeroShotClassifier) -> tuple[str, ...]:
    """The templates that --template stands for. Raises as `find_templates` does."""
    # The paper's best seven suit published weights; the bundled model names its own template.
    return find_templates(wanted or classifier.default_template or "imagenet-7")


def find_templates(wanted: str) -> tuple[str, ...]:
    """A template by itself, or the templates of a set.

    Raises TemplateError or UnknownNameError, with one sentence.
    """
    if "{" in wanted:
        validate(wanted)
        return (wanted,)
    return find_template_set(wanted).templates


def add_framing_option(parser: argparse.ArgumentParser) -> None:
    """Adds --framing."""
    parser.add_argument(
        "--framing",
        choices=FRAMINGS,
        help="how a picture is made square (default: the one that measured best for the model)",
    )


def make_classifier(options: argparse.Namespace) -> ZeroShotClassifier:
    """A classifier from the options of `add_model_options`.

    Raises InputError for a device that torch doesn't know or that isn't here, and as
    `ZeroShotClassifier` does.
    """
    try:
        device = torch.device(options.device or "cpu")
    except RuntimeError as error:
        raise InputError(str(error)) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"There is no CUDA device here for --device {options.device}.")
    keep_freed_memory()
    choose_threads(options.threads)
    return ZeroShotClassifier(options.model, options.device, options.dtype, onnx=options.onnx)


def read_labels(wanted: Sequence[str]) -> list[str]:
    """The labels that --labels stands for, without duplicates.

    wanted: the name of a label set, a .txt file with a label a line, or labels. Raises InputError,
    with one sentence.
    """
    if len(wanted) == 1 and wanted[0] in label_sets():
        return list(dict.fromkeys(find_label_set(wanted[0]).labels))
    path = Path(wanted[0])
    if len(wanted) == 1 and path.suffix.lower() == ".txt":
        try:
            if path.exists() and not path.is_file():  # reading a pipe may never end
                raise InputError(f"{wanted[0]!r} is no file: give one with a label a line.")
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{wanted[0]!r} is no text in UTF-8: save it as such.") from error
        except OSError as error:
            raise InputError(f"{wanted[0]!r} can't be read: {reason_of(error)}.") from error
        wanted = text.splitlines()
    elif len(wanted) == 1 and (path.suffix.lower() in TABLE_SUFFIXES or path.is_file()):
        raise InputError(
            f"{wanted[0]!r} is taken for a file, not for a label: save the labels as text, one a "
            "line, in a file that ends in .txt."
        )
    labels = list(dict.fromkeys(label.strip() for label in wanted if label.strip()))
    if not labels:
        raise InputError("There are no labels: give a file with one a line, or the labels.")
    return labels
