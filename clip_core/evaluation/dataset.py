"""Pictures with known labels, and other words for the labels."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_core.batch.inputs import InputItem, find_inputs, readable_path

PICTURE_COLUMNS = (
    *("picture", "file", "filename", "file_name", "path", "filepath", "file_path"),
    *("image", "image_path"),
)
LABEL_COLUMNS = ("label", "class", "category")


@dataclass(frozen=True)
class LabelAliases:
    """Other words for some labels. name: what it is called; words: by label."""

    name: str
    words: Mapping[str, str]

    def of(self, labels: Sequence[str]) -> list[str]:
        """The labels in these words; those it has none for stay as they are."""
        return [self.words.get(label, label) for label in labels]


IDENTITY = LabelAliases("", {})  # the labels as they are


def find_labelled(path: Path) -> list[tuple[InputItem, str]]:
    """Pictures in a folder for each label, in a folder or an archive; or those that a CSV names.

    A CSV has the columns picture and label; its pictures are relative to it. Raises ValueError,
    with one sentence, where there is no labelled picture.
    """
    if path.suffix.lower() == ".csv":
        table = read_label_table(path.name, _read(path))
        paths = [(os.path.join(path.parent, name), label) for name, label in table.items()]
        found = [(InputItem(readable_path(each), each), label) for each, label in paths]
    else:
        sources = find_inputs([path])
        if sources[0].member is not None:
            named = folder_labels([readable_path(source.member or "") for source in sources])
        else:
            named = [
                _first_folder(_parts(os.path.relpath(readable_path(source.path), path)))
                for source in sources
            ]
        found = [(source, label) for source, label in zip(sources, named, strict=True) if label]
    if not found:
        raise ValueError(
            f"No labelled pictures in {str(path)!r}: sort them in folders named by their labels, "
            "or give a CSV with the columns picture and label."
        )
    return found


def read_label_table(name: str, data: bytes) -> dict[str, str]:
    """The label of each picture in a CSV: columns named picture and label, or the first two.

    The first two only where the first row names neither. name: what messages call it. Raises
    ValueError, with one sentence.
    """
    rows = _read_rows(name, data)
    head = [cell.strip().lower() for cell in rows[0]]
    pictures = [i for i, cell in enumerate(head) if cell in PICTURE_COLUMNS]
    labels = [i for i, cell in enumerate(head) if cell in LABEL_COLUMNS]
    picture, label = 0, 1
    if pictures and labels:
        picture, label, rows = pictures[0], labels[0], rows[1:]
    elif pictures or labels:
        raise ValueError(
            f"The first row of {name} names only one of its two columns: call one picture, and the "
            "other label."
        )
    if any(len(row) <= max(picture, label) for row in rows):
        raise ValueError(f"{name} needs two columns in each row: picture and label.")
    return {row[picture].strip(): row[label].strip() for row in rows if row[label].strip()}


def read_aliases(path: Path) -> LabelAliases:
    """Other words for labels: a CSV with two columns, or lines as label = wording.

    Raises ValueError, with one sentence.
    """
    data = _read(path)
    if path.suffix.lower() == ".csv":
        rows = _read_rows(path.name, data)
        if min(map(len, rows)) < 2:
            raise ValueError(f"{path.name} needs two columns in each row: label and wording.")
        return LabelAliases(path.stem, {row[0].strip(): row[1].strip() for row in rows})
    return LabelAliases(path.stem, parse_aliases(_decode(path.name, data)))


def parse_aliases(text: str) -> dict[str, str]:
    """Lines as label = wording -> the wording of each label. Raises ValueError for another line."""
    words = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        label, sign, wording = (part.strip() for part in line.partition("="))
        if not (label and sign and wording):
            raise ValueError(f"The line “{line[:60]}” must be a label, =, and its other wording.")
        words[label] = wording
    return words


def folder_labels(names: Sequence[str]) -> list[str | None]:
    """The label of each picture in an archive by its place: the first folder that it lies in.

    names: of all its pictures, parted by / or \\. A folder that holds all other folders, as
    archives often have, is none of the labels. None of a picture that lies in no folder.
    """
    placed = [_parts(name) for name in names]
    while len({parts[0] for parts in placed if len(parts) > 1}) == 1 and max(map(len, placed)) > 2:
        placed = [parts[1:] if len(parts) > 1 else parts for parts in placed]
    return [_first_folder(parts) for parts in placed]


def _parts(name: str) -> list[str]:
    """The folders of a picture below the top, and its own name."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _first_folder(parts: Sequence[str]) -> str | None:
    return parts[0] if len(parts) > 1 else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"{str(path)!r} can't be read: {reason}.") from error


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} can't be read: save it as text in UTF-8.") from error


def _read_rows(name: str, data: bytes) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(_decode(name, data), newline="")) if any(row)]
    except csv.Error as error:
        raise ValueError(f"{name} can't be read: save it as CSV in UTF-8.") from error
    if not rows:
        raise ValueError(f"{name} is empty: it needs a row for each picture or label.")
    return rows
