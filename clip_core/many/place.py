"""Pictures into a folder for each label: planned first, then done, and written down for undoing."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .sources import Source, readable_path

WAYS: dict[str, Callable[[str, str], object]] = {
    "copy": shutil.copy2,
    "link": lambda source, target: os.symlink(os.path.abspath(source), target),
    "move": shutil.move,
}
RECORD = "placed.csv"
UNSURE = "unsure"
LONGEST_NAME = 100
# Names that Windows keeps for devices, whatever follows their first dot
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One picture and where it goes."""

    source: str
    target: str


def plan(placed: Iterable[tuple[Source, str]], into: Path) -> list[Step]:
    """Where each picture goes: a folder of its label's name under `into`.

    Nothing there is replaced: a name that is taken gets a number. A picture that lies there already
    stays. Raises ValueError for a member of an archive, which has to be unpacked first.
    """
    taken: set[str] = set()
    steps = []
    for source, label in placed:
        if source.member is not None:
            raise ValueError(
                f"{source.name!r} lies in an archive: unpack it first, then sort the folder."
            )
        folder = into / folder_name(label)
        name = os.path.basename(source.path)
        target = str(folder / name)
        if os.path.abspath(target) == os.path.abspath(source.path):
            continue
        stem, suffix = os.path.splitext(name)
        number = 2
        while target in taken or os.path.lexists(target):
            target = str(folder / f"{stem} ({number}){suffix}")
            number += 1
        taken.add(target)
        steps.append(Step(source.path, target))
    return steps


def carry_out(steps: Iterable[Step], way: str, into: Path) -> list[tuple[Step, str]]:
    """Copies, links or moves; returns the steps that failed, each with the reason.

    Each step is written into `placed.csv` under `into` before it is done, so that what was moved
    can be found again whatever happens. Raises ValueError where that file can't be written.
    """
    failed = []
    try:
        into.mkdir(parents=True, exist_ok=True)
        record = (into / RECORD).open("a", encoding="utf-8", newline="")
    except OSError as error:
        raise ValueError(
            f"{str(into)!r} can't be written: {(error.strerror or '').lower()}."
        ) from (error)
    with record:
        rows = csv.writer(record)
        for step in steps:
            rows.writerow([way, readable_path(step.source), readable_path(step.target)])
            record.flush()
            try:
                os.makedirs(os.path.dirname(step.target), exist_ok=True)
                if os.path.lexists(step.target):
                    raise FileExistsError(0, "another file came there meanwhile")
                WAYS[way](step.source, step.target)
            except OSError as error:
                failed.append((step, (error.strerror or str(error)).lower()))
    return failed


def folder_name(label: str) -> str:
    """A label as the name of a folder that every system takes."""
    plain = re.sub(r'[\x00-\x1f<>:"/\\|?*\x7f]+', "_", label).strip(" .")[:LONGEST_NAME].strip(" .")
    if not plain or RESERVED.fullmatch(plain):
        plain = f"_{plain}"
    return plain
