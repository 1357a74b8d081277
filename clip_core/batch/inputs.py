"""Inputs of a run: folders, files, globs, archives and lists, expanded to items in a fixed order.

Only lists, folders and archives are opened here. A folder that can't be listed becomes an item with
an error, so that it is reported like an image that can't be read.
"""

from __future__ import annotations

import glob
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clip_core.errors import InputError
from clip_core.files import reason_of

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"),
    *(".heic", ".heif", ".tif", ".tiff", ".bmp"),
)
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LIST_SUFFIXES = (".txt", ".lst", ".list")
MAX_FILE_BYTES = 500_000_000  # of one image: a larger file is none, or meant to fill the memory
# Raised by broken archives of all kinds
ARCHIVE_ERRORS = (
    *(OSError, EOFError, KeyError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError, UnicodeDecodeError),
)
LONGEST_LIST = 1_000_000_000  # bytes of a list file: some ten million paths
IN_ARCHIVE = "!/"  # between an archive's name and a member's


@dataclass(frozen=True, slots=True)
class InputItem:
    """One image of the input.

    name: its path as text, for results; bytes that are not UTF-8 are written as \\xff. path: of the
    file, or of the archive that holds it. member: its name in the archive. error: why it can't be
    read, where that is known beforehand.
    """

    name: str
    path: str
    member: str | None = None
    error: str | None = None


def find_inputs(inputs: Sequence[str | os.PathLike[str]]) -> list[InputItem]:
    """The images that paths stand for, without duplicates, in a fixed order.

    inputs: folders (recursively; each folder that links lead to is visited once, and names that
    begin with a dot are skipped), images, globs, archives (zip and tar, compressed or not), and
    lists (a path a line, or separated by NUL, relative to the list). In folders and archives images
    are recognised by their endings; in lists and among `inputs` any file counts as one.

    Raises InputError, with one sentence, where nothing is found, or an input can't be read.
    """
    found: dict[tuple[str, str | None], InputItem] = {}
    for each in inputs:
        for item in _expand(os.fspath(each)):
            found.setdefault((item.path, item.member), item)
    if not found:
        said = ", ".join(repr(readable_path(os.fspath(each))) for each in inputs)
        raise InputError(f"No pictures in {said}: give a folder, pictures, a zip, or a list.")
    return list(found.values())


def in_shard(item: InputItem, shard: int, shards: int) -> bool:
    """Whether an item belongs to the part `shard` of 1 to `shards`, by a checksum of its name."""
    return zlib.crc32(item.name.encode()) % shards == shard - 1


def readable_path(path: str | bytes) -> str:
    """A path as text that can be encoded: bytes that are not UTF-8 are written as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_picture(name: str) -> bool:
    """Whether a name has an image's ending."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def _expand(path: str) -> Iterator[InputItem]:
    """The items of one input."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        matches = sorted(glob.iglob(path, recursive=True)) if "\0" not in path else []
        if not matches:
            missing = isinstance(error, FileNotFoundError | ValueError)
            reason = "there is no such file or folder" if missing else _reason(error)
            raise InputError(f"{readable_path(path)!r} can't be read: {reason}.") from error
        for match in matches:
            if os.path.isdir(match):  # a glob means the files of one level
                continue
            if os.path.exists(match):
                yield from _expand(match)
            else:  # a broken link: the loader will report it
                yield InputItem(readable_path(match), match)
        return
    holds_others = path.lower().endswith((*ARCHIVE_SUFFIXES, *LIST_SUFFIXES))
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(path)
    elif holds_others and not stat.S_ISREG(status.st_mode):  # opening a pipe may never end
        raise InputError(f"{readable_path(path)!r} is no file but a pipe or a device.")
    elif path.lower().endswith(ARCHIVE_SUFFIXES):
        yield from _members(path)
    elif path.lower().endswith(LIST_SUFFIXES):
        yield from _listed(path)
    else:
        yield InputItem(readable_path(path), path)


def _walk(top: str) -> Iterator[InputItem]:
    """The images below a folder: its own first, by name, then those of its subfolders."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder that was visited
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield InputItem(readable_path(folder), folder, error=f"{_reason(error)}.")
            continue
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                below.append(entry.path)
            elif is_picture(entry.name):
                yield InputItem(readable_path(entry.path), entry.path)
        waiting.extend(reversed(below))


def _members(path: str) -> Iterator[InputItem]:
    """The images in an archive, in its order."""
    try:
        for name, size in member_names(path):
            error = too_large(size) if size > MAX_FILE_BYTES else None
            yield InputItem(readable_path(path) + IN_ARCHIVE + _as_text(name), path, name, error)
    except ARCHIVE_ERRORS as error:
        raise InputError(
            f"The archive {readable_path(path)!r} is broken or can't be read: {_reason(error)}."
        ) from error


def member_names(path: str) -> Iterator[tuple[str, int]]:
    """The images in an archive: their names in it and their sizes in bytes."""
    if path.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            listed = [(info.filename, info.file_size) for info in archive.infolist()]
    else:
        with tarfile.open(path) as tar:
            listed = [(info.name, info.size) for info in tar if info.isreg() or info.islnk()]
    for name, size in listed:
        parts = name.replace("\\", "/").split("/")
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if is_picture(name) and not hidden:
            yield name, size


def _listed(path: str) -> Iterator[InputItem]:
    """The items of a list, whether their files exist or not."""
    try:
        with open(path, "rb") as file:
            data = file.read(LONGEST_LIST)
    except OSError as error:
        raise InputError(
            f"The list {readable_path(path)!r} can't be read: {_reason(error)}."
        ) from error
    lines: Iterable[bytes]
    if b"\0" in data:  # as `find -print0` writes it, for names that hold line ends
        lines = data.split(b"\0")
    else:
        lines = (line.rstrip(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    folder = os.path.dirname(path)
    for line in lines:
        if line.strip():
            listed = os.path.join(folder, os.fsdecode(line))
            yield InputItem(readable_path(listed), listed)


def too_large(size: int) -> str:
    """The sentence about a file of so many bytes, which is not read."""
    return (
        f"This file has {size / 1e6:,.0f} MB; at most {MAX_FILE_BYTES / 1e6:,.0f} MB are read: "
        "it is no picture, or has to be scaled down first."
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle: the loader will report it
        return False


def _as_text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    """Why something can't be read, to follow a colon; without the path, which precedes it."""
    if isinstance(error, UnicodeDecodeError):
        return "it holds a name that is no text"
    said = reason_of(error) if isinstance(error, OSError) else str(error)
    return (said or type(error).__name__).rstrip(".").lower()
