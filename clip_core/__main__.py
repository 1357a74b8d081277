"""The command line: python -m clip_core photo.jpg cat dog "a city street"."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from prompts import fill_all, find_template_set, validate

from . import Scores, ZeroShotClassifier
from .load import available_models

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"),
    *(".heic", ".heif", ".tif", ".tiff", ".bmp"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code: 0, or 2 after one line on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_core",
        description="How well does each label fit a picture?",
        epilog="Arguments count as pictures up to the first that is no file and has no picture's "
        "ending; the rest are labels.",
    )
    parser.add_argument("picture", help="a picture's file; more may follow")
    parser.add_argument("label", nargs="+", help="labels in your own words")
    parser.add_argument(
        "--template",
        help="a template holding {}, or the name of a set such as imagenet-7 "
        "(default: the one that measured best for the model)",
    )
    parser.add_argument(
        "--model", default="bundled", help=f"{', '.join(available_models())}, or a file"
    )
    parser.add_argument("--device", help="cpu, cuda, mps (default: the best there is)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    options = parser.parse_args(arguments)
    try:
        pictures, labels = _split([options.picture, *options.label])
        classifier = ZeroShotClassifier(options.model, options.device)
        templates = _templates(options.template, classifier)
        prompts = fill_all(templates, labels)
        answers = {picture: classifier.score(picture, labels, prompts) for picture in pictures}
    except (ValueError, RuntimeError) as error:
        print(f"clip_core: {error}", file=sys.stderr)
        return 2
    _print(answers, options)
    return 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Pictures and labels, told apart by what is a file or is named like a picture."""
    count = 1
    while count < len(words) and (
        os.path.isfile(words[count]) or Path(words[count]).suffix.lower() in PICTURE_SUFFIXES
    ):
        count += 1
    if count == len(words):
        raise ValueError("no labels: say at least one after the pictures.")
    return words[:count], list(dict.fromkeys(words[count:]))


def _templates(wanted: str | None, classifier: ZeroShotClassifier) -> tuple[str, ...]:
    if wanted is None:
        # The paper's best seven suit published weights; a model of ours names its own template.
        wanted = classifier.default_template or "imagenet-7"
    if "{" in wanted:
        validate(wanted)
        return (wanted,)
    return find_template_set(wanted).templates


def _print(answers: dict[str, Scores], options: argparse.Namespace) -> None:
    frames = {picture: scores.to_frame() for picture, scores in answers.items()}
    if options.json:
        rows = {p: json.loads(frame.to_json(orient="records")) for p, frame in frames.items()}
        model = next(iter(answers.values())).model
        print(json.dumps({"model": model, "pictures": rows}, indent=2, ensure_ascii=False))
        return
    for index, (picture, frame) in enumerate(frames.items()):
        if options.csv:
            frame.insert(0, "picture", picture)
            print(frame.to_csv(index=False, header=index == 0), end="")
            continue
        scores = answers[picture]
        print(f"{picture}  ({scores.model}, {scores.device}, {scores.seconds * 1000:.0f} ms)")
        shown = frame[["rank", "label", "probability", "cosine_similarity", "prompt"]]
        shown.columns = ["rank", "label", "score", "cosine", "prompt"]
        print(
            shown.to_string(
                index=False, formatters={"score": "{:.1%}".format, "cosine": "{:.3f}".format}
            )
        )
        if index < len(frames) - 1:
            print()


if __name__ == "__main__":
    sys.exit(main())
