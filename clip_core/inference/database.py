"""SQLite files for rows of some kilobytes: how they are opened, and what their errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PAGE_BYTES = 32_768  # holds 30 rows of 256 float32, or 7 of 1,024, with little space left over
# The write-ahead log is emptied beyond the first size. It may grow by one transaction's pages
# meanwhile, hence the second, which a file with a bound leaves for it.
LOG_BYTES, LOG_RESERVE = 4 << 20, 16 << 20
SQLITE_ERROR = 1  # the code for what SQLite can't interpret


def open_database(path: Path, schema: Sequence[str], seconds_to_wait: float) -> sqlite3.Connection:
    """A connection to a file, made with the tables of `schema` when there is none.

    seconds_to_wait: for other processes that write. Text comes as bytes. Raises sqlite3.Error.
    """
    database = sqlite3.connect(
        path, timeout=seconds_to_wait, isolation_level="IMMEDIATE", check_same_thread=False
    )
    try:
        database.text_factory = bytes  # whatever type a flipped bit gives to a column
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        with suppress(sqlite3.OperationalError):  # another process opens it, and sets the same
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # whole after a power cut, perhaps older
        database.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // PAGE_BYTES}")
        database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        for table in schema:
            database.execute(table)
    except sqlite3.Error:
        database.close()
        raise
    return database


def remove_database(path: Path) -> None:
    """Removes a database with its log, which must not meet another file than its own."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Whether the disk has no room for more, or the file may grow no more."""
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)


def is_of_damage(error: Exception) -> bool:
    """Whether a file is no database, or was changed since it was written."""
    # Subclasses of DatabaseError mean other trouble, except for columns or a format that are not
    # those that were written
    return type(error) is sqlite3.DatabaseError or (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", None) == SQLITE_ERROR  # Python 3.10 has no codes
    )
