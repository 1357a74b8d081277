"""How time grows: with labels, with pictures, with people."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clip_core import ZeroShotClassifier
from clip_core.batch.inputs import find_inputs
from clip_core.batch.pipeline import encode
from clip_core.batch.store_folder import open_store

from .many import write_pictures
from .page import running_app
from .peers import OURS, make
from .people import Page, random_weights
from .towers import TEMPLATE

QUESTIONS = 128  # that a crowd asks together
MINUTES_TO_LOAD = 2


@dataclass
class Curve:
    """Points of one curve, measured in one run. unit: of x; y: what is measured, in its unit."""

    title: str
    unit: str
    y: str
    points: list[tuple[int, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # a sentence for each point


def curves(quick: bool) -> Iterator[Curve]:
    """All of them; with `quick` only the first points."""
    yield labels([1, 10, 100] if quick else [1, 10, 100, 1000, 10_000])
    yield people([8] if quick else [1, 2, 4, 8, 16, 32, 64], QUESTIONS // 4 if quick else QUESTIONS)
    yield pictures([1, 10] if quick else [1, 10, 100, 1000, 10_000])


def labels(counts: list[int]) -> Curve:
    """New labels in one template, ViT-B/32: from strings to features."""
    model = make("ViT-B/32", (OURS,)).model
    curve = Curve("New labels, ViT-B/32", "labels", "seconds")
    ZeroShotClassifier(model, "cpu", texts_on_disk=False).label_features([["warm up"]])
    for count in counts:
        classifier = ZeroShotClassifier(model, "cpu", texts_on_disk=False)
        prompts = [[TEMPLATE.replace("{}", _words(number))] for number in range(count)]
        started = time.perf_counter()
        classifier.label_features(prompts)
        _add(curve, count, time.perf_counter() - started)
    return curve


def pictures(counts: list[int]) -> Curve:
    """Pictures of 640 x 480 from disk, bundled model, the start of the workers included."""
    curve = Curve("Pictures from disk, bundled model", "pictures", "seconds")
    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name) / "pictures", max(counts))
        sources = find_inputs([Path(name) / "pictures"])
        for count in counts:
            started = time.perf_counter()
            with open_store(Path(name) / f"features-{count}", classifier, "crop") as store:
                for _ in encode(classifier, sources[:count], store, "crop"):
                    pass
            _add(curve, count, time.perf_counter() - started)
    return curve


def people(counts: list[int], questions: int) -> Curve:
    """People who each ask about pictures of their own, ViT-B/32 on the page, 10 labels.

    questions: that they ask together.
    """
    curve = Curve("People at once, ViT-B/32, 10 labels", "people", "answers a second")
    asked = [questions if count > 1 else questions // 4 for count in counts]
    with tempfile.TemporaryDirectory() as name, random_weights(Path(name)) as weights:
        write_pictures(Path(name), sum(asked) + 1)
        paths = iter(sorted(Path(name).rglob("*.jpg")))
        with running_app("--model", str(weights)) as (address, _):
            page = Page(address, str(weights))
            page.wait_until_ready(next(paths), MINUTES_TO_LOAD)
            for count, number in zip(counts, asked, strict=True):
                own = [next(paths) for _ in range(number)]
                page.expect(own)
                crowd = page.ask_all(count, own)
                curve.points.append((count, crowd.rate))
                curve.said.append(str(crowd))
                print(crowd, file=sys.stderr, flush=True)
    return curve


def _add(curve: Curve, count: int, seconds: float) -> None:
    curve.points.append((count, seconds))
    each = 1000 * seconds / count
    curve.said.append(f"{count:,} {curve.unit}: {seconds:,.2f} s, {each:,.1f} ms each")
    print(f"{curve.title}: {curve.said[-1]}", file=sys.stderr, flush=True)


def _words(number: int) -> str:
    """Another label of one to four words for each number."""
    kinds = ("red", "old", "small", "wooden", "broken", "striped", "golden", "quiet", "wet", "tall")
    things = ("cat", "bridge", "cup", "tree", "boat", "clock", "house", "piano", "river", "chair")
    digits = [int(digit) for digit in str(number)]
    return " ".join([*(kinds[digit] for digit in digits[:-1]), things[digits[-1]]])
