"""Files written whole or not at all, and the reasons that the system gives for refusing one."""

from __future__ import annotations

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
