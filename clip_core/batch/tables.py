"""Tables in CSV, JSON Lines or Parquet, by the file's ending: checked beforehand, written whole.

Parquet and JSON Lines hold the values as they are. CSV is what spreadsheets open: a text that they
would run as a formula gets an apostrophe before it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clip_core.errors import InputError
from clip_core.files import atomic_write, reason_of

from .pipeline import Embedding

FORMATS = (".csv", ".jsonl", ".parquet")
ERROR_COLUMNS = {"picture": pa.string(), "problem": pa.string()}
LONGEST_HEADER = 1_000_000  # bytes of a table's first line
# Spreadsheets run a cell that begins with one of these as a formula; the wide ones where the
# spreadsheet's language is Chinese or Japanese.
FORMULA_STARTS = (*"=+-@＝＋－＠", "\t", "\r", "\n")
# Line ends as in RFC 4180, with which a lone carriage return within a cell is quoted too
_CSV: dict[str, Any] = {"index": False, "lineterminator": "\r\n"}


class TableWriter(AbstractContextManager["TableWriter"]):
    """A table that appears under its name when it is complete.

    columns: names and Arrow types. Leaving the context by an error writes nothing, and keeps an
    older file of that name. Raises InputError, with one sentence, for an ending that is not in
    `FORMATS` and where the file can't be written.
    """

    def __init__(self, path: Path, columns: Mapping[str, pa.DataType]) -> None:
        self.path = check_format(path)
        self._schema = pa.schema(list(columns.items()))
        self._open = ExitStack()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._open.enter_context(atomic_write(path))
            self._file = self._open.enter_context(partial.open("wb"))
        except OSError as error:
            raise _unwritable(path, error) from error
        self._parquet: pq.ParquetWriter | None = None
        if path.suffix == ".parquet":
            self._parquet = pq.ParquetWriter(self._file, self._schema, compression="zstd")
            self._open.callback(self._parquet.close)
        elif path.suffix == ".csv":
            self._file.write(pd.DataFrame(columns=self._schema.names).to_csv(**_CSV).encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._open.__exit__(kind, error, trace)
        except OSError as problem:
            raise _unwritable(self.path, problem) from problem

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Adds rows, given by columns."""
        table = pa.table(dict(columns), schema=self._schema)
        if not table.num_rows:
            return
        try:
            if self._parquet is not None:
                self._parquet.write_table(table)
            elif self.path.suffix == ".csv":
                self._file.write(to_csv(table.to_pandas(), header=False).encode())
            else:
                rows = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
                self._file.write("".join(f"{row}\n" for row in rows).encode())
        except OSError as error:
            raise _unwritable(self.path, error) from error


@contextmanager
def open_table(
    path: Path | None, columns: dict[str, pa.DataType]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that adds rows to a table, or prints them as JSON Lines where there is no path."""
    if path is not None:
        with TableWriter(path, columns) as table:
            yield table.write
        return

    def print_rows(rows: dict[str, Any]) -> None:
        for values in zip(*rows.values(), strict=True):
            row = dict(zip(rows, values, strict=True))
            print(json.dumps(row, ensure_ascii=False), flush=True)

    yield print_rows


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8 with its line ends unchanged, whole or not at all.

    Makes its folder. Raises InputError, with one sentence, where it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise _unwritable(path, error) from error


def to_csv(frame: pd.DataFrame, header: bool = True) -> str:
    """A frame as CSV, with `disarm` applied to its texts."""
    frame = frame.copy()
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = [disarm(v) if isinstance(v, str) else v for v in frame[column]]
    return str(frame.to_csv(header=header, **_CSV))


def disarm(cell: str) -> str:
    """A cell's text with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def check_format(path: Path) -> Path:
    """The path, if its ending is that of a table. Raises InputError otherwise."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path.name!r} must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    return path


def check_outputs(outputs: Mapping[str, Path | None], read: Iterable[str | Path] = ()) -> None:
    """Checks before the work that outputs can be written, and replace no input or other output.

    outputs: by the names that messages give them, such as --out; missing folders are made. read:
    the command's inputs. Raises InputError, with one sentence.
    """
    inputs = {os.path.realpath(each) for each in read}
    seen: dict[str, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        real = os.path.realpath(path)
        if real in inputs:
            raise InputError(
                f"{name} {str(path)!r} would replace what is read: give it another name."
            )
        if real in seen:
            raise InputError(
                f"{seen[real]} and {name} are the same file, {str(path)!r}: give each its own name."
            )
        seen[real] = name
        if path.is_dir():
            raise InputError(f"{name} {str(path)!r} is a folder: name a file in it.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(
                f"{name} {str(path)!r} can't be written: {reason_of(error)}."
            ) from error


def errors_beside(out: Path | None) -> Path | None:
    """The default path for the table of images that can't be read: beside the output.

    Raises InputError, with one sentence, where another file has that name.
    """
    if out is None:
        return None
    suffix = out.suffix if out.suffix in FORMATS else ".csv"
    path = out.with_name(f"{out.stem}-errors{suffix}")
    if path.exists() and not is_table_of_errors(path):
        raise InputError(
            f"{str(path)!r} is not ours, and pictures that can't be read would be written there: "
            "rename it, or write elsewhere."
        )
    return path


def is_table_of_errors(path: Path) -> bool:
    """Whether a file has the columns of a table that `write_errors` writes."""
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names) == list(ERROR_COLUMNS)
        with path.open("rb") as file:
            header = file.readline(LONGEST_HEADER).decode("utf-8").strip()
        if path.suffix == ".jsonl":
            return list(json.loads(header)) == list(ERROR_COLUMNS)
        return header == ",".join(ERROR_COLUMNS)
    except (OSError, ValueError, TypeError, pa.ArrowException):
        return False


def write_errors(errors: Sequence[Embedding], path: Path | None) -> None:
    """Writes which images could not be read, and why; prints it where there is no path.

    Without errors, an older table of errors is removed.
    """
    if path is None:
        for each in errors:
            print(f"{each.item.name}: {each.error}", file=sys.stderr)
        return
    if not errors:
        if is_table_of_errors(path):
            path.unlink()
        return
    with TableWriter(path, ERROR_COLUMNS) as table:
        table.write(
            {
                "picture": [each.item.name for each in errors],
                "problem": [each.error for each in errors],
            }
        )
    print(f"{path}: the pictures that could not be read, with the reasons.", file=sys.stderr)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{str(path)!r} can't be written: {reason_of(error)}.")
