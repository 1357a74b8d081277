"""The command duplicates, on a small random model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from clip_core.cli.main import main


def test_duplicates_lists_copies(photographs: Path, tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(photographs / "cheetah", folder)
    first = sorted(folder.iterdir())[0]
    shutil.copy(first, folder / "copy.jpg")
    out = tmp_path / "copies.jsonl"
    assert main(["duplicates", str(folder), "--out", str(out), "--threshold", "1", *options]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    copies = [row for row in rows if row["kind"] == "copy" and row["identical"]]
    assert {Path(row["picture"]).name for row in copies} == {first.name, "copy.jpg"}
