"""The command line: python -m clip_core photo.jpg cat dog "a city street"."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prompts import fill_all, find_label_set

from . import Scores
from .calibrate import calibrate, encode_pictures, find_pictures, half_of
from .config import ACTIVATIONS
from .convert import convert
from .fitness import fitness, own_background, write_fit
from .heat import draw_heat_map, heat_maps
from .loading import weights_folder
from .many.sources import PICTURE_SUFFIXES
from .options import (
    INTERRUPTED,
    add_framing_option,
    add_model_options,
    make_classifier,
    templates_for,
)

MANY = ("sort", "find", "evaluate", "duplicates")  # of many pictures
NOBODY_READS = 141  # as shells report what ended by SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code.

    0, or 2 after one line on bad input, 130 when it was interrupted, 141 when nobody reads what it
    prints; the commands for many pictures have 1, too.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    try:
        with _ends_as_interrupted():
            if first in MANY:
                # Their libraries take a while to import, which a single picture need not wait for
                where = "evaluate" if first == "evaluate" else "commands"
                module = importlib.import_module(f"clip_core.many.{where}")
                return int(getattr(module, first)(arguments[1:]))
            command = COMMANDS.get(first)
            return command(arguments[1:]) if command else _classify(arguments)
    except KeyboardInterrupt:
        kept = " What was computed is kept: the same command goes on from there."
        print("\nInterrupted." + (kept if first in MANY else ""), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # What is still to be printed would fail once more at the end of the program
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        what = "A file" if error.filename is None else repr(error.filename)
        print(f"clip_core: {what} can't be read or written: {reason}.", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError) as error:
        print(f"clip_core: {error}", file=sys.stderr)
        return 2


@contextmanager
def _ends_as_interrupted() -> Iterator[None]:
    """Has a request to end do what Ctrl+C does, so that what is being written is finished."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _convert(arguments: list[str]) -> int:
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


def _calibrate(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core calibrate",
        description='Fits "none of these" to a model, on pictures in subfolders that are named by '
        "their labels. What is fitted is kept beside downloaded weights, for the page to find when "
        "it starts.",
    )
    parser.add_argument("folder", type=Path, help="a folder of subfolders of pictures")
    add_model_options(parser)
    options = parser.parse_args(arguments)
    classifier = make_classifier(options)
    templates = templates_for(options.template, classifier)
    found = find_pictures(options.folder, PICTURE_SUFFIXES)
    print(f"{len(found)} pictures ...", file=sys.stderr)
    images, named = encode_pictures(classifier, found)
    labels = sorted(set(named))
    background = own_background(classifier.model.visual)
    if background is None:  # then the nouns of a large vocabulary stand for what there is to see
        nouns = find_label_set("imagenet").labels
        background = classifier.label_features(fill_all(templates, nouns))
    texts = classifier.label_features(fill_all(templates, labels))
    fitted, report = calibrate(
        fitness(images, texts, background),
        [labels.index(label) for label in named],
        [half_of(label) for label in named],
        background,
    )
    path = write_fit(classifier.name, fitted, weights_folder())
    print("On the half of the labels that nothing was fitted to:")
    print("labels  AUROC  told so, none fits  told so, one fits")
    for row in report:
        print(f"{row.size:>6}  {row.auroc:.3f}  {row.true_rate:>18.0%}  {row.false_rate:>17.0%}")
    print(f"{path}: threshold {fitted.threshold:.4f}", file=sys.stderr)
    return 0


def _heat_map(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core heat-map",
        description="Draws which parts of a picture speak for its first label, more than for the "
        "others.",
    )
    parser.add_argument("picture", help="a picture's file")
    parser.add_argument("label", nargs="+", help="the label to look for, and others")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--opacity", type=float, default=0.6, help="of the map, 0 to 1")
    add_model_options(parser)
    options = parser.parse_args(arguments)
    if not 0 <= options.opacity <= 1:
        raise ValueError("--opacity must be from 0 to 1.")
    if options.output.suffix.lower() != ".png":
        raise ValueError("--output must end in .png.")
    classifier = make_classifier(options)
    labels = list(dict.fromkeys(options.label))
    prompts = fill_all(templates_for(options.template, classifier), labels)
    maps = heat_maps(classifier, options.picture, labels, prompts)
    squares = classifier.squares(options.picture)
    try:
        draw_heat_map(squares[len(squares) // 2], maps[0], options.opacity).save(options.output)
    except OSError as error:
        raise ValueError(f"{options.output} can't be written: {error.strerror}.") from error
    return 0


def _classify(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core",
        description="How well does each label fit a picture?",
        epilog="Arguments count as pictures up to the first that is no file and has no picture's "
        "ending; the rest are labels. Other commands, each with --help: "
        f"{', '.join([*MANY, *COMMANDS])} (as in python -m clip_core sort --help).",
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
    """Pictures and labels, told apart by what is a file or is named like a picture."""
    count = 1
    while count < len(words) and (
        os.path.isfile(words[count]) or Path(words[count]).suffix.lower() in PICTURE_SUFFIXES
    ):
        count += 1
    if count == len(words):
        raise ValueError("no labels: say at least one after the pictures.")
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


COMMANDS = {"convert": _convert, "calibrate": _calibrate, "heat-map": _heat_map}


if __name__ == "__main__":
    sys.exit(main())
