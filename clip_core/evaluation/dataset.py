"""Labelled images in folders, archives or a CSV, and aliases of their labels."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_core.batch.inputs import InputItem, find_inputs, readable_path
from clip_core.errors import InputError
from clip_core.files import reason_of

PICTURE_COLUMNS = (
    *("picture", "file", "filename", "file_name", "path", "filepath", "file_path"),
    *("image", "image_path"),
)
LABEL_COLUMNS = ("label", "class", "category")


@dataclass(frozen=True)
class LabelAliases:
    """Other words for some labels. name: of the variant; words: by label."""

    name: str
    words: Mapping[str, str]

    def of(self, labels: Sequence[str]) -> list[str]:
        """The labels in these words; labels without an alias stay as they are."""
        return [self.words.get(label, label) for label in labels]


IDENTITY = LabelAliases("", {})


def find_labelled(path: Path) -> list[tuple[InputItem, str]]:
    """Images with their labels.

    path: a folder or an archive with a folder for each label, or a CSV with the columns picture and
    label, whose paths are relative to it. Raises InputError, with one sentence, where there is no
    labelled image.
    """
    if path.suffix.lower() == ".csv":
        table = read_label_table(path.name, _read(path))
        paths = [os.path.join(path.parent, name) for name in table]
        items = [InputItem(readable_path(each), each) for each in paths]
        found = list(zip(items, table.values(), strict=True))
    else:
        items = find_inputs([path])
        if items[0].member is not None:
            labels = folder_labels([readable_path(item.member or "") for item in items])
        else:
            places = [os.path.relpath(readable_path(item.path), path) for item in items]
            labels = [_first_folder(_parts(place)) for place in places]
        found = [(item, label) for item, label in zip(items, labels, strict=True) if label]
    if not found:
        raise InputError(
            f"No labelled pictures in {str(path)!r}: sort them in folders named by their labels, "
            "or give a CSV with the columns picture and label."
        )
    return found


def read_label_table(name: str, data: bytes) -> dict[str, str]:
    """The label of each image in a CSV: from the columns named picture and label.

    Where the first row names neither, it is data, and the first two columns are taken. name: of
    the file, for messages. Raises InputError, with one sentence.
    """
    rows = _read_rows(name, data)
    header = [cell.strip().lower() for cell in rows[0]]
    pictures = [i for i, cell in enumerate(header) if cell in PICTURE_COLUMNS]
    labels = [i for i, cell in enumerate(header) if cell in LABEL_COLUMNS]
    picture, label = 0, 1
    if pictures and labels:
        picture, label, rows = pictures[0], labels[0], rows[1:]
    elif pictures or labels:
        raise InputError(
            f"The first row of {name} names only one of its two columns: call one picture, and the "
            "other label."
        )
    if any(len(row) <= max(picture, label) for row in rows):
        raise InputError(f"{name} needs two columns in each row: picture and label.")
    return {row[picture].strip(): row[label].strip() for row in rows if row[label].strip()}


def read_aliases(path: Path) -> LabelAliases:
    """Reads label aliases from a CSV with two columns, or from lines as label = wording.

    Raises InputError, with one sentence.
    """
    data = _read(path)
    if path.suffix.lower() == ".csv":
        rows = _read_rows(path.name, data)
        if min(map(len, rows)) < 2:
            raise InputError(f"{path.name} needs two columns in each row: label and wording.")
        return LabelAliases(path.stem, {row[0].strip(): row[1].strip() for row in rows})
    return LabelAliases(path.stem, parse_aliases(_decode(path.name, data)))


def parse_aliases(text: str) -> dict[str, str]:
    """The wording of each label, from lines as label = wording. Raises InputError otherwise."""
    words = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        label, sign, wording = (part.strip() for part in line.partition("="))
        if not (label and sign and wording):
            raise InputError(f"The line “{line[:60]}” must be a label, =, and its other wording.")
        words[label] = wording
    return words


def folder_labels(names: Sequence[str]) -> list[str | None]:
    """The label of each image in an archive: the first folder in its path, None without a folder.

    names: the paths of all its images, with / or \\. A folder around all other folders, as
    archives often have, is no label.
    """
    paths = [_parts(name) for name in names]
    while len({parts[0] for parts in paths if len(parts) > 1}) == 1 and max(map(len, paths)) > 2:
        paths = [parts[1:] if len(parts) > 1 else parts for parts in paths]
    return [_first_folder(parts) for parts in paths]


def _parts(name: str) -> list[str]:
    """The folders of a path, and the file's name."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _first_folder(parts: Sequence[str]) -> str | None:
    return parts[0] if len(parts) > 1 else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be read: {reason_of(error)}.") from error


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} can't be read: save it as text in UTF-8.") from error


def _read_rows(name: str, data: bytes) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(_decode(name, data), newline="")) if any(row)]
    except csv.Error as error:
        raise InputError(f"{name} can't be read: save it as CSV in UTF-8.") from error
    if not rows:
        raise InputError(f"{name} is empty: it needs a row for each picture or label.")
    return rows
