"""A person's many pictures: what they dropped on the page, and what is known of each.

Pictures are encoded once for a model and a framing; sorting, finding and comparing read from that.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_core import ImageError, open_image
from clip_core.batch.inputs import find_inputs
from clip_core.batch.loader import read_members, read_whole
from clip_core.evaluation.dataset import folder_labels, read_label_table
from clip_core.preprocess import squares

from .errors import QuestionError
from .labels import strip_control_characters
from .limits import LIMITS
from .uploaded import uploaded_path

BATCH = 8  # pictures between two looks at whether somebody wants to stop
THUMBNAIL = 320  # pixels of the long side
READERS = 2  # threads that decode while the model runs
SECONDS_BETWEEN_REPORTS = 0.7
NO_PICTURES = "Drop some pictures above first."
STOPPED = "Stopped. What was done is kept: start again to go on."

# A model, a framing, and whether it is the features that compare pictures with pictures
Kind = tuple[str, str, bool]
# Squares of several pictures -> their features [N, D]
Run = Callable[[list[np.ndarray]], Tensor]


@dataclass(eq=False)
class Picture:
    """One picture.

    folder: what its place in an archive calls it. short_name: its name without the folders, but for
    the last where that tells it from another. label: what `folder` or a CSV calls it, if any does.
    """

    name: str
    path: str
    member: str | None = None
    folder: str | None = None
    short_name: str = ""
    label: str | None = None
    thumbnail: str | None = None
    content: bytes | None = None
    problem: str | None = None
    features: dict[Kind, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How far the pictures are through a model."""

    done: int
    total: int
    new: int  # of those done, the ones that were not known before
    seconds: float

    @property
    def rate(self) -> float:
        """New pictures a second; 0 while there is none."""
        return self.new / self.seconds if self.new else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None as long as nobody can know."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(eq=False)
class ImageCollection:
    """The pictures of one visitor, in the order they came.

    folder: where thumbnails are written. problems: what is wrong with files that came, a sentence
    each. tables: for each CSV that came, how many of its rows name a picture here, and its rows.
    stopping: ends `encode` before its next batch. picked: what others like it are looked for.
    """

    folder: Path
    pictures: list[Picture] = field(default_factory=list)
    left_out: int = 0  # pictures beyond those `LIMITS`
    problems: list[str] = field(default_factory=list)
    tables: dict[str, tuple[int, int]] = field(default_factory=dict)
    stopping: bool = False
    picked: Picture | None = None

    def take(self, files: Sequence[Mapping[str, Any]] | None) -> None:
        """Has the pictures of these uploads, and no others; those it had keep what is known.

        files: gradio's file data: pictures, zips of pictures (in them a folder's name is its
        pictures' label) and CSVs (picture, label). What is wrong with one is among the `problems`,
        and the others are taken.
        """
        had = {(picture.path, picture.member): picture for picture in self.pictures}
        pictures: list[Picture] = []
        tables: dict[str, dict[str, str]] = {}
        problems = []
        for file in files or ():
            try:
                path = uploaded_path(file)
                name = strip_control_characters(str(file.get("orig_name") or Path(path).name))
                if name.lower().endswith(".csv"):
                    tables[name] = read_labels(path, name)
                elif name.lower().endswith(".zip"):
                    pictures += [had.get((p.path, p.member), p) for p in _unzipped(path, name)]
                else:
                    pictures.append(had.get((path, None)) or Picture(name, path))
            except QuestionError as error:
                problems.append(str(error))
        labels = {picture: label for table in tables.values() for picture, label in table.items()}
        alike = Counter(_base(picture) for picture in pictures)
        for picture in pictures:
            listed = labels.get(picture.name, labels.get(_base(picture)))
            picture.label = listed if tables else picture.folder
            places = 1 if alike[_base(picture)] == 1 else 2
            picture.short_name = "/".join(picture.name.split("/")[-places:])
        named = {name for picture in pictures for name in (picture.name, _base(picture))}
        self.tables = {name: (len(named & {*table}), len(table)) for name, table in tables.items()}
        self.problems = list(dict.fromkeys(problems))
        self.pictures = pictures[: LIMITS.pictures]
        self.left_out = len(pictures) - len(self.pictures)
        if self.picked not in self.pictures:
            self.picked = None

    @property
    def labels(self) -> list[str]:
        """The pictures' labels; none where there is one alone, which tells nothing."""
        found = sorted({picture.label for picture in self.pictures if picture.label})
        return found if len(found) > 1 else []

    def encoded(self, kind: Kind) -> list[Picture]:
        """The pictures that have features of this kind."""
        return [picture for picture in self.pictures if kind in picture.features]

    def features(self, kind: Kind) -> Tensor:
        """What those pictures have, [N, D]. Raises QuestionError when there are none."""
        rows = [picture.features[kind] for picture in self.encoded(kind)]
        if not rows:
            raise QuestionError("None of these pictures can be read.")
        return torch.stack(rows)

    def encode(self, kind: Kind, input_resolution: int, run: Run) -> Iterator[Progress]:
        """Encodes what has no features of this kind yet, and reports now and then.

        A picture that can't be read has a problem, and stops nothing. Copies are computed once.
        Ends early when somebody sets `stopping`.
        """
        known = {
            picture.content: picture.features[kind]
            for picture in self.pictures
            if kind in picture.features
        }
        missing = [p for p in self.pictures if kind not in p.features and not p.problem]
        total = len(self.pictures)
        done = total - len(missing)
        new, started = 0, time.monotonic()
        reported = started
        yield Progress(done, total, 0, 0.0)
        with ThreadPoolExecutor(READERS) as pool:
            looked = iter(_ahead(pool, self._looks(missing, input_resolution, kind[1])))
            while not self.stopping and (batch := list(islice(looked, BATCH))):
                fresh = {
                    picture.content: seen
                    for picture, seen in batch
                    if seen is not None and picture.content not in known
                }
                if fresh:
                    known |= dict(zip(fresh, run(list(fresh.values())), strict=True))
                for picture, seen in batch:
                    if seen is not None:
                        picture.features[kind] = known[picture.content]
                done += len(batch)
                new += len(batch)
                is_due = time.monotonic() - reported > SECONDS_BETWEEN_REPORTS
                if is_due or done == total or self.stopping:
                    reported = time.monotonic()
                    yield Progress(done, total, new, reported - started)

    def _looks(
        self, missing: list[Picture], input_resolution: int, framing: str
    ) -> Iterator[Callable[[], tuple[Picture, np.ndarray | None]]]:
        """For each picture what opens it; archives are read here, one member at a time."""
        readers: dict[str, Iterator[tuple[bytes | None, bytes | None, str | None]]] = {}
        for picture in missing:
            data, problem = None, None
            if picture.member is not None:
                if picture.path not in readers:
                    wanted = [p.member for p in missing if p.path == picture.path and p.member]
                    readers[picture.path] = read_members(picture.path, wanted)
                data, _, problem = next(readers[picture.path])

            def look(
                picture: Picture = picture,
                data: bytes | None = data,
                problem: str | None = problem,
            ) -> tuple[Picture, np.ndarray | None]:
                picture.problem = problem
                if problem is None:
                    return picture, self._look(picture, data, input_resolution, framing)
                return picture, None

            yield look

    def _look(
        self, picture: Picture, data: bytes | None, input_resolution: int, framing: str
    ) -> np.ndarray | None:
        """Opens a picture: its squares, and its thumbnail where there is none yet."""
        try:
            if data is None:
                data, _ = read_whole(picture.path)
            opened = open_image(data)
        except ImageError as error:
            picture.problem = str(error)
            return None
        picture.content = hashlib.sha256(data).digest()
        if picture.thumbnail is None:
            try:
                picture.thumbnail = self._write_thumbnail(opened)
            except OSError:  # a full disk: the others, and this one's features, come all the same
                picture.thumbnail = None
        seen = squares(opened, input_resolution, framing)
        return np.stack([np.asarray(square) for square in seen])

    def _write_thumbnail(self, opened: Image.Image) -> str:
        """In a folder whose name can't be guessed, as all that the page hands out."""
        directory = self.folder / secrets.token_hex(16)
        directory.mkdir(parents=True)
        small = opened.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        path = directory / "picture.jpg"
        small.save(path, quality=85)
        return str(path)


def read_labels(path: str, name: str) -> dict[str, str]:
    """A CSV's labels by picture. Raises QuestionError, with one sentence."""
    try:
        return read_label_table(name, Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise QuestionError(str(error)) from error


def _unzipped(path: str, name: str) -> list[Picture]:
    try:
        sources = find_inputs([path])
    except ValueError as error:
        broken = "broken" in str(error)
        raise QuestionError(
            f"{name} is broken: pack it anew." if broken else f"There are no pictures in {name}."
        ) from error
    names = [(source.member or "").replace("\\", "/") for source in sources]
    return [
        Picture(inside, path, source.member, folder=folder, problem=source.error)
        for inside, folder, source in zip(names, folder_labels(names), sources, strict=True)
    ]


def _base(picture: Picture) -> str:
    return picture.name.rpartition("/")[2]


def _ahead(pool: ThreadPoolExecutor, tasks: Iterator[Callable[[], Any]]) -> Iterator[Any]:
    """Results in order, with a batch's worth of tasks under way."""
    waiting = [pool.submit(task) for task in islice(tasks, BATCH)]
    try:
        while waiting:
            done = waiting.pop(0)
            waiting += [pool.submit(task) for task in islice(tasks, 1)]
            yield done.result()
    finally:
        for task in waiting:
            task.cancel()
