"""The command `evaluate`: which template, wording or model is best for labelled pictures."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.options import make_classifier, templates_for
from clip_core.preprocess import ImageError, open_image
from prompts import fill_all

from .commands import add_input_options, interruptible, open_run, write_errors
from .compare import Comparison, Way, compare
from .encode import Encoded
from .html_report import DISAGREEMENTS, write_report
from .labelled import OWN, Wording, find_labelled, read_wording
from .reading import read_members, read_whole
from .sources import Source
from .tables import to_csv

MOST_WAYS = 24
THUMBNAIL = 160  # pixels of the long side


def evaluate(arguments: list[str]) -> int:
    """Which way of asking is best; returns the exit code, as the other commands."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_core evaluate",
        description="Which template, wording or model is best for labelled pictures, and whether "
        "they can tell. Every template is tried with every wording and model; all are compared "
        "with the first.",
    )
    add_input_options(parser, several=True)
    parser.add_argument(
        "--wording",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="other words for the labels: lines as label = wording, or a CSV of both (may be "
        "repeated)",
    )
    parser.add_argument("--report", type=Path, help="the HTML file to write")
    parser.add_argument("--out", type=Path, help="a CSV of the ways and their figures")
    parser.add_argument("--answers", type=Path, help="a CSV of each picture's answers")
    options = parser.parse_args(arguments)
    if len(options.inputs) != 1:
        raise ValueError("Give one folder, archive or CSV of labelled pictures.")
    for path, suffix in (
        (options.report, ".html"),
        (options.out, ".csv"),
        (options.answers, ".csv"),
    ):
        if path is not None and path.suffix != suffix:
            raise ValueError(f"{path.name!r} must end in {suffix}.")
    labelled = find_labelled(Path(options.inputs[0]))
    labels = sorted({label for _, label in labelled})
    wordings = [OWN, *map(read_wording, options.wording)]
    models, templates = options.model or ["bundled"], options.template or [None]
    check_ways(len(models) * len(templates) * len(wordings))
    ways: list[Way] = []
    read: list[Encoded] = []
    code = 0
    for model in models:
        one = argparse.Namespace(**(vars(options) | {"model": model}))
        classifier = make_classifier(one)
        with (
            interruptible(),
            open_run(one, classifier, [source for source, _ in labelled]) as run,
        ):
            read = list(run)
        code = run.exit_code()
        write_errors(run.problems, None, options.report or options.out)
        if not read:
            raise ValueError("None of the pictures can be read.")
        features = torch.stack([each.features for each in read if each.features is not None])
        named = {
            (template or classifier.default_template or "imagenet-7"): templates_for(
                template, classifier
            )
            for template in templates
        }
        several = model if len(models) > 1 else None
        ways += ask_ways(classifier, features, labels, named, wordings, several)
    label_of = dict(labelled)
    truth = [labels.index(label_of[each.source]) for each in read]
    comparison = compare(ways, labels, truth, [each.source.name for each in read])
    for path, frame in (
        (options.out, comparison.to_frame()),
        (options.answers, comparison.answers()),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(to_csv(frame), encoding="utf-8", newline="")
    if options.report:
        notes = [
            ("Pictures", str(options.inputs[0])),
            ("Models", ", ".join(models)),
            ("Date", date.today().isoformat()),
        ]
        seen = thumbnails(comparison, [each.source for each in read])
        write_report(comparison, options.report, "Which way of asking is best?", notes, seen)
    print(comparison.to_frame().to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    for said in (comparison.sentence, *comparison.warnings):
        print(said)
    return code


def check_ways(count: int) -> None:
    """Raises ValueError for more ways than one table can show."""
    if count > MOST_WAYS:
        raise ValueError(f"That makes {count} ways of asking; {MOST_WAYS} at most are compared.")


@torch.inference_mode()
def ask_ways(
    classifier: ZeroShotClassifier,
    features: Tensor,
    labels: Sequence[str],
    templates: dict[str, tuple[str, ...]],
    wordings: Sequence[Wording],
    model: str | None,
) -> Iterator[Way]:
    """One way for each template and wording.

    features: normalised float32 [N, D] of the pictures. templates: by the name that a way gets.
    model: what its name says of the model; None to leave it out.
    """
    features = features.to(classifier.device)
    scale = classifier.model.logit_scale.exp().float()
    for wording in wordings:
        for name, texts in templates.items():
            rows = classifier.label_features(fill_all(texts, wording.of(labels)))
            parts = [model, name, wording.name]
            yield Way(
                ", ".join(filter(None, parts)), (scale * features @ rows.T).cpu().float().numpy()
            )


def thumbnails(comparison: Comparison, sources: Sequence[Source]) -> dict[str, bytes]:
    """Small JPEGs of the pictures that ways disagree on, by name; those that can't be read lack."""
    if len(comparison.results) < 2:
        return {}
    made = {}
    for number in comparison.disagreements()[:DISAGREEMENTS].tolist():
        source = sources[number]
        try:
            data = _bytes_of(source)
            if data is not None:
                made[source.name] = shrink(data)
        except ImageError:
            continue
    return made


def shrink(data: bytes) -> bytes:
    """A picture's file -> a small JPEG. Raises ImageError."""
    opened = open_image(data)
    opened.thumbnail((THUMBNAIL, THUMBNAIL))
    written = io.BytesIO()
    opened.save(written, "JPEG", quality=80)
    return written.getvalue()


def _bytes_of(source: Source) -> bytes | None:
    if source.member is None:
        return read_whole(source.path)[0]
    members: Iterable[tuple[bytes | None, bytes | None, str | None]]
    members = read_members(source.path, [source.member])
    return next(iter(members))[0]
