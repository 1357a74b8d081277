"""On-disk store of features: one SQLite file, shared by processes and threads.

Features are found by a digest of what they were computed from: an image's file, or a label's
prompts. Each row has a checksum, so a flipped bit makes it missing instead of wrong. SQLite makes
every write atomic: a killed process loses at most what it had not yet written.

The tables are rowid tables with large pages: SQLite's documentation advises against WITHOUT ROWID
for rows of more than a twentieth of a page. The write-ahead log (WAL) lets readers and a writer
work at the same time; it needs a local disk (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clip_core.errors import StoreError
from clip_core.files import atomic_write, reason_of

from .database import (
    LOG_RESERVE,
    PAGE_BYTES,
    is_full,
    is_of_damage,
    open_database,
    remove_database,
)

FILE = "features.sqlite3"
CACHE_BYTES = 64 << 20  # memory for pages: holds the index of a million features
ROWS_WITHIN_BOUND = 128  # in one transaction of a bounded store
KEYS_AT_ONCE = 500  # in one query: older SQLite takes 999 parameters at most
SECONDS_BETWEEN_FLUSHES = 1.0  # the most work, in time, that a kill may cost
ROWS_IN_MEMORY = 4096  # written at once when so many wait
SECONDS_TO_WAIT = 60.0  # for another process that writes
SECONDS_BETWEEN_USES = 86_400  # the time of a row's last use is noted to the day

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS features "
    "(key BLOB NOT NULL UNIQUE, checksum INTEGER, used INTEGER, vector BLOB)",
    # The content that a file had when its name, size and times gave this key
    "CREATE TABLE IF NOT EXISTS files (stat_key BLOB NOT NULL UNIQUE, checksum INTEGER, key BLOB)",
)
# By the last use: what was used in the future, by a wrong clock, would outlast everything else
OLDEST = "SELECT rowid FROM features ORDER BY used <= ?, used, rowid LIMIT ?"

Row = tuple[bytes, int, int, bytes]  # key, checksum, time of last use, vector


class DamagedStoreError(StoreError):
    """A store's file was damaged; it has been replaced by one with the rows that could be read."""


class FeatureStore(AbstractContextManager["FeatureStore"]):
    """Features, float32 vectors of one length, by key (bytes), in a file of `folder`.

    folder: made when there is none. dimensions: the vectors' length D. max_bytes: bounds the file
    with its log; the features that were not used for longest make room, to the day. None for no
    bound. seconds_to_wait: for other processes that write.

    Entering the store as a context verifies all its checksums and drops what is damaged, with a
    line on standard error. Every method raises StoreError, one sentence, where the file can't be
    used. Safe to share by threads, processes and forks.
    """

    def __init__(
        self,
        folder: Path,
        dimensions: int,
        file: str = FILE,
        max_bytes: int | None = None,
        seconds_to_wait: float = SECONDS_TO_WAIT,
    ) -> None:
        self.folder, self.dimensions, self.path = folder, dimensions, folder / file
        self.was_damaged = False  # when it was opened
        self._max_bytes, self._seconds_to_wait = max_bytes, seconds_to_wait
        self._waiting: dict[bytes, Tensor] = {}
        self._waiting_files: dict[bytes, bytes] = {}
        self._flushed = time.monotonic()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._process = os.getpid()
        self._lock = threading.RLock()

    def __enter__(self) -> FeatureStore:
        try:
            self._verify()
        except DamagedStoreError:
            self._report("some of it can't be read and is")
            self._verify()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._opened() as database:
            (count,) = database.execute("SELECT COUNT(*) FROM features").fetchone()
            return count + sum(not _has(database, key) for key in self._waiting)

    def __contains__(self, key: bytes) -> bool:
        with self._opened() as database:
            return key in self._waiting or _has(database, key)

    def contents(self) -> Iterator[bytes]:
        """The keys of all features that are on disk."""
        with self._opened() as database:
            return iter([key for (key,) in database.execute("SELECT key FROM features")])

    def content_of(self, stat_key: bytes) -> bytes | None:
        """The key of the features of a file, by its `stat_key`; None where either is not there."""
        with self._opened() as database:
            if stat_key in self._waiting_files:
                key = self._waiting_files[stat_key]
                return key if key in self else None
            query = (
                "SELECT key, files.checksum FROM files JOIN features USING (key) WHERE stat_key = ?"
            )
            key, checksum = database.execute(query, (stat_key,)).fetchone() or (b"", -1)
            return key if zlib.crc32(stat_key + key) == checksum else None

    def get(self, key: bytes) -> Tensor | None:
        """The features [D] of a key, or None."""
        with self._lock:
            waiting = self._waiting.get(key)
            return self.read([key]).get(key) if waiting is None else waiting

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """The features [D] of those keys that are on disk; notes that they were used."""
        with self._opened() as database:
            found = {key: (used, vector) for key, used, vector in self._rows(database, keys)}
            now = int(time.time())
            old = [k for k, (used, _) in found.items() if abs(now - used) > SECONDS_BETWEEN_USES]
            if old and self._max_bytes is not None:
                with suppress(sqlite3.Error), database:  # even a full disk can be read from
                    update = "UPDATE features SET used = ? WHERE key = ?"
                    database.executemany(update, [(now, key) for key in old])
            return {
                key: torch.frombuffer(bytearray(vector), dtype=torch.float32)
                for key, (_, vector) in found.items()
            }

    def gather(self, keys: Sequence[bytes]) -> Tensor:
        """The features [len(keys), D], in order. Raises KeyError for a key that is not there."""
        self.flush()
        gathered = np.empty((len(keys), self.dimensions), dtype=np.float32)
        with self._opened() as database:
            for start in range(0, len(keys), KEYS_AT_ONCE):
                some = keys[start : start + KEYS_AT_ONCE]
                found = {key: vector for key, _, vector in self._rows(database, some)}
                joined = b"".join([found[key] for key in some])
                rows = np.frombuffer(joined, dtype=np.float32).reshape(len(some), -1)
                gathered[start : start + len(some)] = rows
        return torch.from_numpy(gathered)

    def put(self, key: bytes, features: Tensor) -> None:
        """Keeps features [D]; they are on disk after the next `flush`."""
        with self._lock:
            if key not in self:
                self._waiting[key] = features.detach().cpu().float()

    def note(self, stat_key: bytes, key: bytes) -> None:
        """Remembers that the file with this `stat_key` has the content that `key` stands for."""
        with self._lock:
            if self.content_of(stat_key) != key:
                self._waiting_files[stat_key] = key

    def flush(self, at_once: bool = True) -> None:
        """Writes what waits. at_once: even if little waits and the last flush was just now."""
        with self._lock:
            is_due = time.monotonic() - self._flushed >= SECONDS_BETWEEN_FLUSHES
            if at_once or is_due or len(self._waiting) >= ROWS_IN_MEMORY:
                self.write(self._waiting, self._waiting_files)
                self._waiting, self._waiting_files = {}, {}
                self._flushed = time.monotonic()

    def write(
        self, features: Mapping[bytes, Tensor], files: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Writes features [D] by key now, and the keys of files by their `stat_key`."""
        now = int(time.time()) if self._max_bytes is not None else 0
        rows: list[Row] = []
        for key, tensor in features.items():
            vector = tensor.detach().cpu().numpy().astype(np.float32).tobytes()
            rows.append((key, zlib.crc32(key + vector), now, vector))
        noted = [(stat, zlib.crc32(stat + key), key) for stat, key in (files or {}).items()]
        if not rows and not noted:
            return
        # A large transaction writes each page of the index once, but lets the log grow
        step = ROWS_WITHIN_BOUND if self._max_bytes is not None else max(len(rows), 1)
        with self._opened(writing=True) as database:
            for start in range(0, len(rows), step):
                self._insert(database, rows[start : start + step])
            with database:
                database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", noted)

    def merge(self, other: Path) -> None:
        """Copies the features of another store's file that this one lacks.

        Both must be of the same model and framing, and nobody may be writing to the other.
        """
        if not other.is_file():
            raise StoreError(f"There are no features in {str(other)!r}.")
        with self._opened(writing=True) as database:
            try:
                database.execute("ATTACH ? AS other", (str(other),))
                with database:
                    database.execute(
                        "INSERT OR IGNORE INTO features SELECT * FROM other.features "
                        "WHERE length(vector) = ?",
                        (4 * self.dimensions,),
                    )
                    database.execute("INSERT OR IGNORE INTO files SELECT * FROM other.files")
            except sqlite3.DatabaseError as error:
                if not is_of_damage(error):
                    raise
                raise StoreError(
                    f"The features in {str(other)!r} can't be read: {error}."
                ) from error
            finally:
                with suppress(sqlite3.Error):
                    database.execute("DETACH other")

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        with self._lock:
            try:
                self.flush()
            finally:
                self._disconnect()

    def _rows(
        self, database: sqlite3.Connection, keys: Sequence[bytes]
    ) -> Iterator[tuple[bytes, int, bytes]]:
        """Key, time of last use and vector of those keys whose rows are whole."""
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[start : start + KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, checksum, used, vector FROM features WHERE key IN ({marks})"
            for row in database.execute(query, some):
                if _is_whole(row):
                    yield row[0], row[2], row[3]

    def _insert(self, database: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Inserts rows in one transaction; in a full bounded store, in place of the oldest."""
        insert = (
            "INSERT OR REPLACE INTO features (rowid, key, checksum, used, vector) "
            "VALUES (?, ?, ?, ?, ?)"
        )
        oldest: list[tuple[int]] = []
        # As many rows usually make room; smaller ones of another model may not
        for share in (0, 1, 4, 16):
            if share:
                now = int(time.time())
                oldest = database.execute(OLDEST, (now, share * len(rows))).fetchall()
            try:
                with database:
                    database.executemany("DELETE FROM features WHERE rowid = ?", oldest)
                    # At the numbers of the deleted rows, to fill the gaps that they leave
                    numbers = [number for (number,) in oldest[: len(rows)]]
                    numbered = zip_longest(numbers, rows)
                    database.executemany(insert, [(number, *row) for number, row in numbered])
                return
            except sqlite3.OperationalError as error:
                if self._max_bytes is None or not is_full(error) or share == 16:
                    raise

    def _verify(self) -> None:
        """Reads everything once, and deletes features that are not as they were written."""
        with self._opened() as database:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            in_table = in_index = 0
            damaged = []
            query = "SELECT rowid, key, checksum, used, vector FROM features NOT INDEXED"
            for number, key, *rest in database.execute(query):
                in_table ^= hash((number, key))
                if not _is_whole((key, *rest)) or len(rest[-1]) != 4 * self.dimensions:
                    damaged.append((number,))
            for entry in database.execute("SELECT rowid, key FROM features ORDER BY key"):
                in_index ^= hash(entry)
            if state != b"ok" or in_table != in_index:
                raise sqlite3.DatabaseError("The database has damaged pages.")
            if damaged:
                with database:
                    database.executemany("DELETE FROM features WHERE rowid = ?", damaged)
                self._report(f"{len(damaged):,} features are damaged and")

    def _report(self, what: str) -> None:
        self.was_damaged = True
        print(f"{self.path}: {what} dropped: their pictures are encoded anew.", file=sys.stderr)

    @contextmanager
    def _opened(self, writing: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; turns errors into sentences."""
        with self._lock:
            try:
                yield self._connect()
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                if is_of_damage(error):
                    with suppress(sqlite3.Error, OSError):
                        self._replace()
                        said = f"The features in {str(self.path)!r} were damaged: start again."
                        raise DamagedStoreError(said) from error
                raise StoreError(self._sentence(error, writing)) from error

    def _sentence(self, error: Exception, writing: bool) -> str:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        with suppress(OSError):
            if is_full(error) or shutil.disk_usage(self.folder).free < 2 * PAGE_BYTES:
                reason = os.strerror(errno.ENOSPC)
        if writing:
            return (
                f"Features can't be written to {str(self.folder)!r}: {reason}. What was written "
                "before is safe: make room, or name another folder by --features, and start again."
            )
        return (
            f"Features can't be kept in {str(self.folder)!r}: {reason.lower()}. Name another "
            "folder by --features."
        )

    def _connect(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # forked: SQLite forbids the use of a copied connection
            self._connection = None
        if self._connection is None:
            self._process = os.getpid()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._inode = self.path.stat().st_ino if self.path.exists() else 0
            database = open_database(self.path, SCHEMA, self._seconds_to_wait)
            if self._max_bytes is None:
                database.execute(f"PRAGMA cache_size = {-CACHE_BYTES // 1024}")
            else:
                pages = (self._max_bytes - LOG_RESERVE) // PAGE_BYTES
                database.execute(f"PRAGMA max_page_count = {pages}")
                database.execute("CREATE INDEX IF NOT EXISTS by_use ON features (used)")
            self._connection = database
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _replace(self) -> None:
        """Puts a new file, with the rows that can still be read, in the place of a damaged one."""
        if self._inode and self.path.stat().st_ino != self._inode:
            return  # another process has done so
        with atomic_write(self.path) as fresh:
            remove_database(fresh)
            with closing(open_database(fresh, SCHEMA, self._seconds_to_wait)) as database, database:
                insert = "INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)"
                for order in ("ASC", "DESC"):  # from either end, as far as the damage
                    database.executemany(insert, self._readable_rows(order))
            remove_database(self.path)

    def _readable_rows(self, order: str) -> Iterator[Row]:
        query = f"SELECT key, checksum, used, vector FROM features ORDER BY rowid {order}"
        with suppress(sqlite3.Error), closing(sqlite3.connect(self.path)) as database:
            database.text_factory = bytes
            yield from filter(_is_whole, database.execute(query))


def _has(database: sqlite3.Connection, key: bytes) -> bool:
    return bool(database.execute("SELECT 1 FROM features WHERE key = ?", (key,)).fetchone())


def _is_whole(row: Row) -> bool:
    key, checksum, used, vector = row
    # SQLite's columns take any type, and a flipped bit may change it
    of_right_types = isinstance(key, bytes) and isinstance(used, int) and isinstance(vector, bytes)
    return of_right_types and zlib.crc32(vector, zlib.crc32(key)) == checksum
