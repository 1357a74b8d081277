"""Copies of images, or links to them, in a folder for each label: planned first, then made."""

from __future__ import annotations

import csv
import filecmp
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from clip_core.errors import InputError
from clip_core.files import reason_of

from .inputs import InputItem, readable_path

WAYS = ("copy", "link")
RECORD = "placed.csv"
RECORD_COLUMNS = ("way", "source", "target", "outcome")
DONE = "done"  # the outcome of a step; or "failed: " and the reason
UNSURE = "unsure"
LONGEST_NAME = 100  # characters
LONGEST_BYTES = 255  # of a name, on most file systems
# Names that Windows reserves for devices, whatever follows their first dot
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One image and where it goes: absolute paths."""

    source: str
    target: str


@dataclass
class _NameSlots:
    """The files of one name in one folder: "a.jpg", "a (2).jpg" and so on.

    existing: those that were there before, by `_equality_key`.
    """

    next_number: int = 1
    existing: dict[object, list[str]] = field(default_factory=dict)


def check_placeable(items: Iterable[InputItem], labels: Sequence[str]) -> None:
    """Raises InputError for members of archives, and for labels that would share a folder."""
    for item in items:
        if item.member is not None:
            raise InputError(
                f"{item.name!r} lies in an archive: unpack it first, then sort the folder."
            )
    # Compared without case, since not every file system distinguishes it
    folders = {UNSURE: f"pictures below --least go to {UNSURE!r}"}
    for label in labels:
        name = folder_name(label).casefold()
        if name in folders:
            raise InputError(
                f"The label {label!r} has no folder of its own, since {folders[name]}: change it."
            )
        folders[name] = f"those of {label!r} go to {folder_name(label)!r}"


def plan(placed: Iterable[tuple[InputItem, str]], into: Path, way: str) -> list[Step]:
    """Where each image goes: a folder of its label's name under `into`.

    Nothing is replaced: where a name is taken, a number is added. Images that lie under `into`, and
    those whose copy or link is in their label's folder, are skipped, so that the same command again
    adds nothing.
    """
    slots: dict[tuple[str, str], _NameSlots] = {}
    targets: set[str] = set()
    top = os.path.join(os.path.realpath(into), "")
    steps = []
    for item, label in placed:
        source = os.path.abspath(item.path)
        source_folder = os.path.realpath(os.path.dirname(source))
        folder = os.path.join(os.path.abspath(into), folder_name(label))
        is_below = os.path.join(source_folder, "").startswith(top)
        if is_below or source_folder == os.path.realpath(folder):
            continue
        name = os.path.basename(source)
        names = slots.get((folder, name))
        if names is None:
            names = slots[folder, name] = _find_slots(folder, name, way)
        if _is_there(source, names, way):
            continue
        target = os.path.join(folder, _numbered(name, names.next_number))
        while target in targets or os.path.lexists(target):  # "a (2).jpg" may be its own name
            names.next_number += 1
            target = os.path.join(folder, _numbered(name, names.next_number))
        names.next_number += 1
        targets.add(target)
        steps.append(Step(source, target))
    return steps


def execute(steps: Iterable[Step], way: str, into: Path) -> list[tuple[Step, str]]:
    """Copies or links; returns the steps that failed, each with the reason.

    Each step adds a row to `placed.csv` under `into`. A file gets its new name when it is whole,
    and a step that fails leaves nothing behind. Raises InputError, with one sentence, where the
    record can't be written; then no further step is taken.
    """
    failed = []
    try:
        into.mkdir(parents=True, exist_ok=True)
        with (into / RECORD).open("a", encoding="utf-8", newline="") as record:
            rows = csv.writer(record)
            if not record.tell():
                rows.writerow(RECORD_COLUMNS)
            for step in steps:
                record.flush()  # before the next step: it is not taken where the disk is full
                outcome = DONE
                try:
                    _place(step, way)
                except OSError as error:
                    failed.append((step, reason_of(error)))
                    outcome = f"failed: {reason_of(error)}"
                paths = readable_path(step.source), readable_path(step.target)
                rows.writerow((way, *paths, outcome))
    except OSError as error:
        raise InputError(
            f"{str(into / RECORD)!r} can't be written, and nothing is done that it doesn't tell: "
            f"{reason_of(error)}."
        ) from error
    return failed


def folder_name(label: str) -> str:
    """A label as a folder name that is valid on every system."""
    plain = re.sub(r'[\x00-\x1f<>:"/\\|?*\x7f]+', "_", label).strip(" .")[:LONGEST_NAME]
    plain = plain.encode(errors="ignore")[:LONGEST_BYTES].decode(errors="ignore").strip(" .")
    if not plain or RESERVED.fullmatch(plain):
        plain = f"_{plain}"
    return plain


def _find_slots(folder: str, name: str, way: str) -> _NameSlots:
    names = _NameSlots()
    while os.path.lexists(path := os.path.join(folder, _numbered(name, names.next_number))):
        names.existing.setdefault(_equality_key(path, way), []).append(path)
        names.next_number += 1
    return names


def _is_there(source: str, names: _NameSlots, way: str) -> bool:
    """Whether one of the existing files is a copy of this source, or a link to it."""
    candidates = names.existing.get(_equality_key(source, way), ())
    if way == "link":
        return bool(candidates)
    try:
        return any(filecmp.cmp(source, path, shallow=False) for path in candidates)
    except OSError:  # copying it will report why
        return False


def _equality_key(path: str, way: str) -> object:
    """A cheap equality key: the real path for links, the size for copies."""
    if way == "link":
        return os.path.realpath(path)
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)
    return name if number == 1 else f"{stem} ({number}){suffix}"


def _place(step: Step, way: str) -> None:
    folder = os.path.dirname(step.target)
    os.makedirs(folder, exist_ok=True)
    if os.path.lexists(step.target):
        raise FileExistsError(0, "another file came there meanwhile")
    if way == "link":
        os.symlink(step.source, step.target)
        return
    partial = os.path.join(folder, f".{uuid.uuid4().hex}.partial")
    try:
        shutil.copy2(step.source, partial)
        os.rename(partial, step.target)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
