"""Tables written row by row, whole or not at all: CSV, JSON Lines or Parquet, by the file's ending.

Parquet and JSON Lines hold the values as they are. CSV is what spreadsheets open: a text that they
would run as a formula has an apostrophe before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = (".csv", ".jsonl", ".parquet")
# Spreadsheets run a cell that begins with one of these as a formula.
# The wide ones do so too, where the spreadsheet's language is Chinese or Japanese.
FORMULA_STARTS = (*"=+-@＝＋－＠", "\t", "\r", "\n")


class TableWriter(AbstractContextManager["TableWriter"]):
    """A table that appears under its name when it is complete.

    columns: names and Arrow types. Leaving the context by an error leaves no file, and an older one
    of that name as it was. Raises ValueError, with one sentence, for another ending than `FORMATS`
    and where the file can't be written.
    """

    def __init__(self, path: Path, columns: Mapping[str, pa.DataType]) -> None:
        self.path = check_format(path)
        self._schema = pa.schema(list(columns.items()))
        self._partial = path.with_name(path.name + ".partial")
        self._parquet: pq.ParquetWriter | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("wb")
        except OSError as error:
            raise _unwritable(path, error) from error
        if path.suffix == ".parquet":
            self._parquet = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        elif path.suffix == ".csv":
            self._put(pd.DataFrame(columns=self._schema.names).to_csv(**_CSV).encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._parquet is not None:
                self._parquet.close()
            self._file.close()
            if error is None:
                self._partial.replace(self.path)
        except OSError as problem:
            raise _unwritable(self.path, problem) from problem
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Adds rows, given by columns."""
        table = pa.table(dict(columns), schema=self._schema)
        if not table.num_rows:
            return
        try:
            if self._parquet is not None:
                self._parquet.write_table(table)
            elif self.path.suffix == ".csv":
                self._put(to_csv(table.to_pandas(), header=False).encode())
            else:
                rows = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
                self._put("".join(f"{row}\n" for row in rows).encode())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _put(self, data: bytes) -> None:
        self._file.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, line ends as they are, whole or not at all.

    Makes its folder. Raises ValueError, with one sentence, where it can't be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise _unwritable(path, error) from error


# Line ends as in RFC 4180; with these a lone return within a cell is quoted too.
_CSV: dict[str, Any] = {"index": False, "lineterminator": "\r\n"}


def to_csv(frame: pd.DataFrame, header: bool = True) -> str:
    """A frame as CSV; texts that a spreadsheet would run are made harmless."""
    frame = frame.copy()
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = [disarm(v) if isinstance(v, str) else v for v in frame[column]]
    return str(frame.to_csv(header=header, **_CSV))


def disarm(cell: str) -> str:
    """A cell's text with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def check_format(path: Path) -> Path:
    """The path, if a table can be written under such a name; raises ValueError otherwise."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name!r} must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    return path


def _unwritable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{str(path)!r} can't be written: {(error.strerror or str(error)).lower()}.")
