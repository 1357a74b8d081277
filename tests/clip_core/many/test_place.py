from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

from clip_core.many.place import RECORD, WAYS, carry_out, folder_name, plan
from clip_core.many.sources import Source


def source(path: Path) -> Source:
    return Source(str(path), str(path))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Source]:
    made = []
    for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        made.append(source(path))
    return made


@pytest.mark.parametrize("way", list(WAYS))
def test_a_folder_for_each_label(pictures: list[Source], tmp_path: Path, way: str) -> None:
    into = tmp_path / "into"
    steps = plan(zip(pictures, ["cat", "cat", "a/b"], strict=True), into)
    assert not into.exists()  # a plan does nothing
    assert carry_out(steps, way, into) == []
    assert (into / "cat/a.jpg").read_text() == "one/a.jpg"
    assert (into / "cat/a (2).jpg").read_text() == "two/a.jpg"
    assert (into / "a_b/b.jpg").read_text() == "two/b.jpg"
    assert [os.path.lexists(each.path) for each in pictures] == [way != "move"] * 3
    assert (into / "cat/a.jpg").is_symlink() == (way == "link")
    with (into / RECORD).open(newline="", encoding="utf-8") as record:
        rows = list(csv.reader(record))
    assert rows == [[way, step.source, step.target] for step in steps]
    for kind, origin, target in rows:  # what was moved can be moved back
        if kind == "move":
            shutil.move(target, origin)
            assert Path(origin).exists()


def test_nothing_is_replaced(pictures: list[Source], tmp_path: Path) -> None:
    into = tmp_path / "into"
    (into / "cat").mkdir(parents=True)
    (into / "cat/a.jpg").write_text("was here")
    steps = plan([(pictures[0], "cat"), (pictures[2], "cat")], into)
    (into / "cat/b.jpg").write_text("came meanwhile")
    failed = carry_out(steps, "move", into)
    assert [reason for _, reason in failed] == ["another file came there meanwhile"]
    assert (into / "cat/a.jpg").read_text() == "was here"
    assert (into / "cat/b.jpg").read_text() == "came meanwhile"
    assert (into / "cat/a (2).jpg").read_text() == "one/a.jpg"
    assert Path(pictures[2].path).exists()


def test_sorted_again_into_the_same_folder_stays(tmp_path: Path) -> None:
    path = tmp_path / "cat/a.jpg"
    path.parent.mkdir()
    path.write_text("x")
    assert plan([(source(path), "cat")], tmp_path) == []


def test_what_lies_in_an_archive_has_to_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unpack it first"):
        plan([(Source("a.zip!/x.jpg", "a.zip", "x.jpg"), "cat")], tmp_path)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("a cat", "a cat"),
        ("../../etc", "_.._etc"),
        ("..", "_"),
        ("", "_"),
        ("a/b\\c:d", "a_b_c_d"),
        ("line\nend", "line_end"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("猫", "猫"),
        ("x" * 300, "x" * 100),
    ],
)
def test_any_label_is_a_folders_name(label: str, name: str) -> None:
    assert folder_name(label) == name
