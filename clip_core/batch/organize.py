"""Pictures into a folder for each label: planned first, then done, and written down for undoing."""

from __future__ import annotations

import csv
import errno
import filecmp
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .inputs import InputItem, readable_path

WAYS = ("copy", "link", "move")
RECORD = "placed.csv"
RECORD_COLUMNS = ("way", "source", "target", "outcome")
BEGUN, DONE = "begun", "done"  # outcomes; the third is "failed: " and the reason
UNSURE = "unsure"
LONGEST_NAME = 100  # letters
LONGEST_BYTES = 255  # of a name, on most file systems
# Names that Windows keeps for devices, whatever follows their first dot
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One picture and where it goes: absolute paths."""

    source: str
    target: str


@dataclass
class _Taken:
    """The files of one name in one folder: "a.jpg", "a (2).jpg" and so on."""

    next_number: int = 1
    # Those that were there before, by what they share with a source that is the same
    before: dict[object, list[str]] = field(default_factory=dict)


def check_placeable(sources: Iterable[InputItem], labels: Sequence[str]) -> None:
    """Raises ValueError for what can't be placed: a member of an archive, labels of one folder."""
    for source in sources:
        if source.member is not None:
            raise ValueError(
                f"{source.name!r} lies in an archive: unpack it first, then sort the folder."
            )
    # Not every system tells capitals from small letters
    folders = {UNSURE: f"pictures below --least go to {UNSURE!r}"}
    for label in labels:
        name = folder_name(label).casefold()
        if name in folders:
            raise ValueError(
                f"The label {label!r} has no folder of its own, since {folders[name]}: change it."
            )
        folders[name] = f"those of {label!r} go to {folder_name(label)!r}"


def plan(placed: Iterable[tuple[InputItem, str]], into: Path, way: str) -> list[Step]:
    """Where each picture goes: a folder of its label's name under `into`.

    Nothing there is replaced: a name that is taken gets a number. What is there already is left
    out, so that the same command again adds nothing: a picture that lies in its label's folder, and
    for copies and links also one that lies anywhere under `into`, and one whose copy or link is in
    its label's folder.
    """
    taken: dict[tuple[str, str], _Taken] = {}
    targets: set[str] = set()
    top = os.path.realpath(into)
    steps = []
    for picture, label in placed:
        source = os.path.abspath(picture.path)
        real_folder = os.path.realpath(os.path.dirname(source))
        folder = os.path.join(os.path.abspath(into), folder_name(label))
        is_below = os.path.join(real_folder, "").startswith(os.path.join(top, ""))
        if real_folder == os.path.realpath(folder) or (is_below and way != "move"):
            continue
        name = os.path.basename(source)
        names = taken.get((folder, name))
        if names is None:
            names = taken[folder, name] = _look_at(folder, name, way)
        if way != "move" and _is_there(source, names, way):
            continue
        target = os.path.join(folder, _numbered(name, names.next_number))
        while target in targets or os.path.lexists(target):  # a name with such a number of its own
            names.next_number += 1
            target = os.path.join(folder, _numbered(name, names.next_number))
        names.next_number += 1
        targets.add(target)
        steps.append(Step(source, target))
    return steps


def execute(steps: Iterable[Step], way: str, into: Path) -> list[tuple[Step, str]]:
    """Copies, links or moves; returns the steps that failed, each with the reason.

    `placed.csv` under `into` gets two rows for a step: "begun" before it, since only that tells
    where to look after a kill between the two, and "done" or "failed: ..." after it, so that no
    failed step is undone. A file is under its new name whole or not at all, and a step that fails
    leaves nothing behind. Raises ValueError, with one sentence, where the record can't be written;
    then nothing more is done.
    """
    steps = list(steps)
    moved: dict[str, str] = {}
    if way == "move":  # links last: what they lead to may move too
        steps.sort(key=lambda step: os.path.islink(step.source))
    failed = []
    try:
        into.mkdir(parents=True, exist_ok=True)
        # Not buffered: what a full disk refused would be written, and refused, once more at closing
        with (into / RECORD).open("ab", buffering=0) as record:
            if not record.tell():
                _write(record, RECORD_COLUMNS)
            for step in steps:
                row = (way, readable_path(step.source), readable_path(step.target))
                _write(record, (*row, BEGUN))
                try:
                    _do(step, way, moved)
                except OSError as error:
                    reason = (error.strerror or str(error)).lower()
                    failed.append((step, reason))
                    _write(record, (*row, f"failed: {reason}"))
                else:
                    _write(record, (*row, DONE))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(
            f"{str(into / RECORD)!r} can't be written, and nothing is done that it doesn't tell: "
            f"{reason}."
        ) from error
    return failed


def folder_name(label: str) -> str:
    """A label as the name of a folder that every system takes."""
    plain = re.sub(r'[\x00-\x1f<>:"/\\|?*\x7f]+', "_", label).strip(" .")[:LONGEST_NAME]
    plain = plain.encode(errors="ignore")[:LONGEST_BYTES].decode(errors="ignore").strip(" .")
    if not plain or RESERVED.fullmatch(plain):
        plain = f"_{plain}"
    return plain


def _look_at(folder: str, name: str, way: str) -> _Taken:
    """The files of a name that a folder has."""
    names = _Taken()
    while os.path.lexists(path := os.path.join(folder, _numbered(name, names.next_number))):
        names.before.setdefault(_sameness(path, way), []).append(path)
        names.next_number += 1
    return names


def _is_there(source: str, names: _Taken, way: str) -> bool:
    """Whether one of the files that were there before is this source's copy, or a link to it."""
    same = names.before.get(_sameness(source, way), ())
    if way == "link":
        return bool(same)
    try:
        return any(filecmp.cmp(source, path, shallow=False) for path in same)
    except OSError:  # copying it will say why
        return False


def _sameness(path: str, way: str) -> object:
    """What a source and its link have in common, or a source and its copy, but for their bytes."""
    if way == "link":
        return os.path.realpath(path)
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)
    return name if number == 1 else f"{stem} ({number}){suffix}"


def _do(step: Step, way: str, moved: dict[str, str]) -> None:
    """One step. moved: real paths of what was moved before, and where it is now."""
    os.makedirs(os.path.dirname(step.target), exist_ok=True)
    if os.path.lexists(step.target):
        raise FileExistsError(0, "another file came there meanwhile")
    if way == "copy":
        _copy(step.source, step.target)
    elif way == "link":
        os.symlink(step.source, step.target)
    elif os.path.islink(step.source):
        # A link with a relative path would lead nowhere from its new place
        real = os.path.realpath(step.source)
        os.symlink(moved.get(real, real), step.target)
        _remove_source(step)
    else:
        real = os.path.realpath(step.source)
        try:
            os.rename(step.source, step.target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(step.source, step.target)
            _remove_source(step)
        moved[real] = step.target


def _copy(source: str, target: str) -> None:
    """Copies a file; a kill leaves no half of it under the new name."""
    partial = os.path.join(os.path.dirname(target), f".{uuid.uuid4().hex}.partial")
    try:
        shutil.copy2(source, partial)
        os.rename(partial, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


def _remove_source(step: Step) -> None:
    """The end of a move in two steps; where the source can't go, what was made of it goes."""
    try:
        os.unlink(step.source)
    except OSError:
        os.unlink(step.target)
        raise


def _write(record: BinaryIO, row: Sequence[str]) -> None:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    data = text.getvalue().encode()
    if record.write(data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
