"""The default command: scores each label against each image."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from clip_core import Scores
from clip_core.batch.inputs import PICTURE_SUFFIXES
from clip_core.cli.options import (
    COMMANDS,
    add_framing_option,
    add_model_options,
    make_classifier,
    templates_for,
)
from clip_core.errors import InputError
from prompts import fill_all


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core",
        description="How well does each label fit a picture?",
        epilog="Arguments count as pictures up to the first that is no file and has no picture's "
        "ending; the rest are labels. Other commands, each with --help: "
        f"{', '.join(COMMANDS)} (as in python -m clip_core sort --help).",
    )
    parser.add_argument("picture", help="a picture's file; more may follow")
    parser.add_argument("label", nargs="+", help="labels in your own words")
    add_model_options(parser)
    add_framing_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    options = parser.parse_args(arguments)
    pictures, labels = _split([options.picture, *options.label])
    classifier = make_classifier(options)
    templates = templates_for(options.template, classifier)
    prompts = fill_all(templates, labels)
    answers = {
        picture: classifier.score(picture, labels, prompts, options.framing) for picture in pictures
    }
    _print(answers, options)
    return 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Images and labels: the first label is no file, and has no image's ending."""
    count = 1
    while count < len(words) and (
        os.path.isfile(words[count]) or Path(words[count]).suffix.lower() in PICTURE_SUFFIXES
    ):
        count += 1
    if count == len(words):
        raise InputError("no labels: say at least one after the pictures.")
    return words[:count], list(dict.fromkeys(words[count:]))


def _print(answers: dict[str, Scores], options: argparse.Namespace) -> None:
    frames = {picture: scores.to_frame() for picture, scores in answers.items()}
    if options.json:
        rows = {p: json.loads(frame.to_json(orient="records")) for p, frame in frames.items()}
        model = next(iter(answers.values())).model
        chances = {
            p: scores.none_of_these and round(scores.none_of_these.chance, 4)
            for p, scores in answers.items()
        }
        answer = {"model": model, "pictures": rows, "none_of_these": chances}
        print(json.dumps(answer, indent=2, ensure_ascii=False))
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
        none = scores.none_of_these
        if none and none.is_none:
            print(f"Perhaps none of these: {none.chance:.0%}")
        if index < len(frames) - 1:
            print()
