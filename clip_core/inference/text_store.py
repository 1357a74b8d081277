"""Features of labels on disk, so that a restart doesn't forget them.

One SQLite file for all models: any number of processes may share it, and an interrupted write
leaves it as it was. A row is known by a digest of everything its features hang on, the text tower's
weights among it, so no row is ever out of date; and it carries a checksum, so a damaged one counts
as missing. What was typed can't be read from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clip_core.model import CLIP

FILE = "texts.sqlite3"
FORM = "1"  # of the rows, and of how texts become features: raised when either changes
MAX_ROWS = 65_536  # labels: at most 4 KB each, so 256 MB
DROPPED_AT_ONCE = MAX_ROWS // 16
SECONDS_TO_WAIT = 2.0  # for another process that writes
SECONDS_BETWEEN_NOTES = 86_400  # of when a row was used: it tells the oldest, to the day
SQLITE_ERROR = 1  # SQLite's code for what it can't make sense of
AT_ONCE = 500  # keys in one query: older SQLite takes 999 at most


class TextStore:
    """The features that one model has for labels, by their prompts.

    folder: holds the file; made when there is none. A file that is no database is replaced. Where
    none can be used (a full disk, no rights), nothing is found and nothing kept, and no error
    raised: what it saves is time. Safe to share by threads.
    """

    def __init__(self, folder: Path, model: CLIP) -> None:
        self._path = folder / FILE
        self._model = model
        self._digest: bytes | None = None
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()

    def get(self, prompts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        """Those of the labels' features that are kept: normalised float32 [D], on the CPU."""
        with self._lock:
            try:
                return self._get(prompts)
            except (sqlite3.Error, OSError) as error:
                self._leave(error)
                return {}

    def put(self, features: Mapping[tuple[str, ...], Tensor]) -> None:
        """Keeps features, normalised float32 [D]; the ones not used for longest make room."""
        with self._lock:
            try:
                self._put(features)
            except (sqlite3.Error, OSError) as error:
                self._leave(error)

    def _get(self, prompts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        database = self._open()
        keys = {self._key(texts): texts for texts in prompts}
        now = int(time.time())
        found, stale = {}, []
        for start in range(0, len(keys), AT_ONCE):
            some = list(keys)[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, features, checksum, used FROM texts WHERE key IN ({marks})"
            for key, features, checksum, used in database.execute(query, some):
                # A flipped bit may make anything of a column
                if not (isinstance(features, bytes) and isinstance(used, int)):
                    continue
                if zlib.crc32(key + features) != checksum:
                    continue  # computed again, and replaced
                found[keys[key]] = torch.frombuffer(bytearray(features), dtype=torch.float32)
                if abs(now - used) > SECONDS_BETWEEN_NOTES:
                    stale.append((now, key))
        if stale:
            with database:
                database.executemany("UPDATE texts SET used = ? WHERE key = ?", stale)
        return found

    def _put(self, features: Mapping[tuple[str, ...], Tensor]) -> None:
        database = self._open()
        now = int(time.time())
        rows = []
        for texts, row in features.items():
            key, data = self._key(texts), row.cpu().numpy().astype(np.float32).tobytes()
            rows.append((key, data, zlib.crc32(key + data), now))
        with database:
            database.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?)", rows)
            (count,) = database.execute("SELECT COUNT(*) FROM texts").fetchone()
            if count > MAX_ROWS:
                # What a wrong clock noted as used in the future would outlast all others
                database.execute(
                    "DELETE FROM texts WHERE key IN "
                    "(SELECT key FROM texts ORDER BY used <= ?, used LIMIT ?)",
                    (now, count - MAX_ROWS + DROPPED_AT_ONCE),
                )

    def _open(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # a copy of the one that opened it: SQLite forbids both
            self._connection = None
        if self._connection is None:
            self._process = os.getpid()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=SECONDS_TO_WAIT, check_same_thread=False
            )
            # Readers and a writer don't wait for each other, and one fsync a checkpoint is enough
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, features BLOB, "
                    "checksum INTEGER, used INTEGER) WITHOUT ROWID"
                )
            self._connection = connection
        return self._connection

    def _leave(self, error: Exception) -> None:
        """Lets go of a file that can't be used; the next question tries anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if _is_of_damage(error):
            for suffix in ("", "-wal", "-shm"):  # what belongs to one file must not meet another
                with suppress(OSError):
                    self._path.with_name(FILE + suffix).unlink()

    def _key(self, texts: tuple[str, ...]) -> bytes:
        if self._digest is None:
            self._digest = text_digest(self._model)
        return hashlib.sha256(self._digest + json.dumps(texts).encode()).digest()


def _is_of_damage(error: Exception) -> bool:
    # Its subclasses are of other troubles, but for a table or a format that is not the one written
    return type(error) is sqlite3.DatabaseError or (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", None) == SQLITE_ERROR  # Python 3.10 has no codes
    )


@torch.inference_mode()
def text_digest(model: CLIP) -> bytes:
    """SHA-256 of all that the features of texts hang on: weights, their shapes and dtype, form.

    The vocabulary is the one that is published; `FORM` stands for it.
    """
    block: Any = model.transformer.resblocks[0]
    said = f"{FORM} {model.context_length} {block.attn.num_heads} {type(block.mlp.gelu).__name__}"
    digest = hashlib.sha256(said.encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("visual."):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy())
    return digest.digest()
