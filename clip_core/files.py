"""Files: written whole or not at all, their SHA-256, and why the system refused one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to, beside `path`, that replaces `path` when the block ends.

    Where the block raises, `path` stays as it was and nothing is left beside it. The folder must be
    there. Raises OSError where the file can't be replaced.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def reason_of(error: OSError) -> str:
    """Why the system refused a file, to follow a colon in a sentence: "no space left on device"."""
    return (error.strerror or str(error)).lower()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
