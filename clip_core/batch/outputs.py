"""What commands write: looked at before the work, so that nothing is lost or done in vain."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .classify import ERROR_COLUMNS
from .pipeline import Embedding
from .tables import FORMATS, TableWriter

LONGEST_HEAD = 1_000_000  # bytes of a table's first line


def check_outputs(outputs: Mapping[str, Path | None], read: Iterable[str | Path] = ()) -> None:
    """Raises ValueError, with one sentence, where an output can't be written or would replace what
    is read or another output.

    outputs: by what messages call them, such as --out; folders that lack are made. read: the files
    that the command reads.
    """
    inputs = {os.path.realpath(each) for each in read}
    seen: dict[str, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        real = os.path.realpath(path)
        if real in inputs:
            raise ValueError(
                f"{name} {str(path)!r} would replace what is read: give it another name."
            )
        if real in seen:
            raise ValueError(
                f"{seen[real]} and {name} are the same file, {str(path)!r}: give each its own name."
            )
        seen[real] = name
        if path.is_dir():
            raise ValueError(f"{name} {str(path)!r} is a folder: name a file in it.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ValueError(f"{name} {str(path)!r} can't be written: {reason}.") from error


def errors_beside(out: Path | None) -> Path | None:
    """Where the table of pictures that can't be read goes, unless a place is named.

    Raises ValueError, with one sentence, where another file has that name.
    """
    if out is None:
        return None
    suffix = out.suffix if out.suffix in FORMATS else ".csv"
    path = out.with_name(f"{out.stem}-errors{suffix}")
    if path.exists() and not is_table_of_errors(path):
        raise ValueError(
            f"{str(path)!r} is not ours, and pictures that can't be read would be written there: "
            "rename it, or write elsewhere."
        )
    return path


def is_table_of_errors(path: Path) -> bool:
    """Whether a file is such a table as `write_errors` writes."""
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names) == list(ERROR_COLUMNS)
        with path.open("rb") as file:
            head = file.readline(LONGEST_HEAD).decode("utf-8").strip()
        if path.suffix == ".jsonl":
            return list(json.loads(head)) == list(ERROR_COLUMNS)
        return head == ",".join(ERROR_COLUMNS)
    except (OSError, ValueError, TypeError, pa.ArrowException):
        return False


def write_errors(problems: Sequence[Embedding], path: Path | None) -> None:
    """Writes down which pictures could not be read, or says it where there is no table."""
    if path is None:
        for each in problems:
            print(f"{each.item.name}: {each.error}", file=sys.stderr)
        return
    if not problems:
        if is_table_of_errors(path):  # of an earlier run
            path.unlink()
        return
    with TableWriter(path, ERROR_COLUMNS) as table:
        table.write(
            {
                "picture": [each.item.name for each in problems],
                "problem": [each.error for each in problems],
            }
        )
    print(f"{path}: the pictures that could not be read, with the reasons.", file=sys.stderr)


@contextmanager
def open_table(
    path: Path | None, columns: dict[str, pa.DataType]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What writes rows to a table, or prints them as JSON Lines."""
    if path is not None:
        with TableWriter(path, columns) as table:
            yield table.write
        return

    def show(rows: dict[str, Any]) -> None:
        for values in zip(*rows.values(), strict=True):
            row = dict(zip(rows, values, strict=True))
            print(json.dumps(row, ensure_ascii=False), flush=True)

    yield show
