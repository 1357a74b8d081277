"""Which pictures are meant: folders, files, globs, archives and lists -> sources, in a fixed order.

Nothing is opened here but what holds the names. What can't be looked into is a source with a
problem, so that it ends in the table of errors like a picture that can't be read.
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

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"),
    *(".heic", ".heif", ".tif", ".tiff", ".bmp"),
)
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LIST_SUFFIXES = (".txt", ".lst", ".list")
MAX_FILE_BYTES = 500_000_000  # of one picture: what is larger is none, or meant to fill memory
# What broken archives raise, whatever packed them
ARCHIVE_ERRORS = (
    *(OSError, EOFError, KeyError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError, UnicodeDecodeError),
)
LONGEST_LIST = 1_000_000_000  # bytes of a list file: some ten million paths
IN_ARCHIVE = "!/"  # between an archive's name and a member's


@dataclass(frozen=True, slots=True)
class InputItem:
    """One picture that is meant.

    name: what results call it: its path as text, in which bytes that are no UTF-8 stand as \\xff.
    path: of the file, or of the archive that holds it. member: its name in the archive. problem:
    why it can't be read, where that is known beforehand.
    """

    name: str
    path: str
    member: str | None = None
    error: str | None = None


def find_inputs(inputs: Sequence[str | os.PathLike[str]]) -> list[InputItem]:
    """The pictures that paths stand for, each path once, in an order that stays the same.

    inputs: folders (looked through to their bottom, links to folders followed once, names that
    begin with a dot passed over), pictures, globs, archives (zip and tar, compressed or not), and
    lists (a path a line, or with NUL between, relative to the list). In folders and archives
    pictures are known by their endings, in lists and among `inputs` anything is taken for one.

    Raises ValueError, with one sentence, where nothing is found at all.
    """
    found: dict[tuple[str, str | None], InputItem] = {}
    for each in inputs:
        for source in _expand(os.fspath(each)):
            found.setdefault((source.path, source.member), source)
    if not found:
        said = ", ".join(repr(readable_path(os.fspath(each))) for each in inputs)
        raise ValueError(f"No pictures in {said}: give a folder, pictures, a zip, or a list.")
    return list(found.values())


def in_shard(source: InputItem, shard: int, shards: int) -> bool:
    """Whether a source belongs to the part `shard` of 1 to `shards`, by a checksum of its name."""
    return zlib.crc32(source.name.encode()) % shards == shard - 1


def readable_path(path: str | bytes) -> str:
    """A path as text that any file can hold: bytes that are no UTF-8 are written as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_picture(name: str) -> bool:
    """Whether a name ends as pictures' names do."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def _expand(path: str) -> Iterator[InputItem]:
    """One of the inputs -> its sources."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        matches = sorted(glob.iglob(path, recursive=True)) if "\0" not in path else []
        if not matches:
            missing = isinstance(error, FileNotFoundError | ValueError)
            reason = "there is no such file or folder" if missing else _reason(error)
            raise ValueError(f"{readable_path(path)!r} can't be read: {reason}.") from error
        for match in matches:
            if os.path.isdir(match):  # a glob's folders hold what another level would match
                continue
            if os.path.exists(match):
                yield from _expand(match)
            else:  # a broken link, which reading it will say
                yield InputItem(readable_path(match), match)
        return
    holds_others = path.lower().endswith((*ARCHIVE_SUFFIXES, *LIST_SUFFIXES))
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(path)
    elif holds_others and not stat.S_ISREG(status.st_mode):  # opening a pipe may never end
        raise ValueError(f"{readable_path(path)!r} is no file but a pipe or a device.")
    elif path.lower().endswith(ARCHIVE_SUFFIXES):
        yield from _members(path)
    elif path.lower().endswith(LIST_SUFFIXES):
        yield from _listed(path)
    else:
        yield InputItem(readable_path(path), path)


def _walk(top: str) -> Iterator[InputItem]:
    """The pictures below a folder: a folder's own first, by name, then those of its subfolders."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link back up, or a second way in
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
    """The pictures in an archive, in its order."""
    try:
        for name, size in member_names(path):
            source = InputItem(readable_path(path) + IN_ARCHIVE + _as_text(name), path, name)
            if size > MAX_FILE_BYTES:
                yield InputItem(source.name, path, name, too_large(size))
            else:
                yield source
    except ARCHIVE_ERRORS as error:
        raise ValueError(
            f"The archive {readable_path(path)!r} is broken or can't be read: {_reason(error)}."
        ) from error


def member_names(path: str) -> Iterator[tuple[str, int]]:
    """The pictures in an archive: their names in it and their sizes in bytes."""
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
    """What a list names, whether it is there or not."""
    try:
        with open(path, "rb") as file:
            data = file.read(LONGEST_LIST)
    except OSError as error:
        raise ValueError(
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
    """Why a file of so many bytes is not read."""
    return (
        f"This file has {size / 1e6:,.0f} MB; at most {MAX_FILE_BYTES / 1e6:,.0f} MB are read: "
        "it is no picture, or has to be scaled down first."
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle: reading it will say so
        return False


def _as_text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    """What the system says, without the path, which stands beside it."""
    if isinstance(error, UnicodeDecodeError):
        return "it holds a name that is no text"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said or type(error).__name__).rstrip(".").lower()
