from __future__ import annotations

import csv
import errno
import os
import shutil
from pathlib import Path

import pytest

from clip_core.batch.inputs import InputItem
from clip_core.batch.organize import RECORD, WAYS, check_placeable, execute, folder_name, plan
from clip_core.errors import InputError


def source(path: Path) -> InputItem:
    return InputItem(str(path), str(path))


@pytest.fixture
def pictures(tmp_path: Path) -> list[InputItem]:
    made = []
    for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        made.append(source(path))
    return made


def read_record(into: Path) -> list[list[str]]:
    with (into / RECORD).open(newline="", encoding="utf-8") as record:
        head, *rows = csv.reader(record)
    assert head == ["way", "source", "target", "outcome"]
    return rows


def files(folder: Path) -> list[str]:
    found = folder.rglob("*")
    return sorted(str(path.relative_to(folder)) for path in found if not path.is_dir())


@pytest.mark.parametrize("way", list(WAYS))
def test_a_folder_for_each_label(pictures: list[InputItem], tmp_path: Path, way: str) -> None:
    into = tmp_path / "into"
    steps = plan(zip(pictures, ["cat", "cat", "a/b"], strict=True), into, way)
    assert not into.exists()  # a plan does nothing
    assert execute(steps, way, into) == []
    assert (into / "cat/a.jpg").read_text() == "one/a.jpg"
    assert (into / "cat/a (2).jpg").read_text() == "two/a.jpg"
    assert (into / "a_b/b.jpg").read_text() == "two/b.jpg"
    assert all(os.path.lexists(each.path) for each in pictures)
    assert (into / "cat/a.jpg").is_symlink() == (way == "link")
    assert read_record(into) == [[way, step.source, step.target, "done"] for step in steps]


def test_nothing_is_replaced(pictures: list[InputItem], tmp_path: Path) -> None:
    into = tmp_path / "into"
    (into / "cat").mkdir(parents=True)
    (into / "cat/a.jpg").write_text("was here")
    steps = plan([(pictures[0], "cat"), (pictures[2], "cat")], into, "copy")
    (into / "cat/b.jpg").write_text("came meanwhile")
    failed = execute(steps, "copy", into)
    outcomes = [row[3] for row in read_record(into)]
    assert outcomes == ["done", "failed: another file came there meanwhile"]
    assert [reason for _, reason in failed] == ["another file came there meanwhile"]
    assert (into / "cat/a.jpg").read_text() == "was here"
    assert (into / "cat/b.jpg").read_text() == "came meanwhile"
    assert (into / "cat/a (2).jpg").read_text() == "one/a.jpg"
    assert Path(pictures[2].path).exists()


def test_sorted_again_into_the_same_folder_stays(tmp_path: Path) -> None:
    path = tmp_path / "cat/a.jpg"
    path.parent.mkdir()
    path.write_text("x")
    assert all(plan([(source(path), "cat")], tmp_path, way) == [] for way in WAYS)


def test_what_lies_in_an_archive_has_to_be_unpacked() -> None:
    with pytest.raises(ValueError, match="unpack it first"):
        check_placeable([InputItem("a.zip!/x.jpg", "a.zip", "x.jpg")], ["cat"])


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
        ("猫" * 100, "猫" * 85),  # 255 bytes
    ],
)
def test_any_label_is_a_folders_name(label: str, name: str) -> None:
    assert folder_name(label) == name


@pytest.mark.parametrize("labels", [["a/b", "a:b"], ["cat", "Unsure"], ["Cat", "cat"]])
def test_labels_that_would_share_a_folder(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="has no folder of its own"):
        check_placeable([], labels)
    check_placeable([], labels[:1])


@pytest.mark.parametrize("way", ["copy", "link"])
def test_the_same_again_adds_nothing(pictures: list[InputItem], tmp_path: Path, way: str) -> None:
    into = tmp_path / "into"
    placed = list(zip(pictures, ["cat"] * 3, strict=True))
    steps = plan(placed, into, way)
    execute(steps[:2], way, into)  # and then it was interrupted
    assert plan(placed, into, way) == steps[2:]
    execute(steps[2:], way, into)
    below = [source(path) for path in sorted(into.rglob("*.jpg"))]
    assert len(below) == 3
    for again in (placed, placed[::-1], [(each, "dog") for each in below]):
        assert plan(again, into, way) == []
    Path(pictures[0].path).write_text("NEW/a.jpg")  # as long as it was
    found = [Path(step.target).name for step in plan(placed, into, way)]
    assert found == (["a (3).jpg"] if way == "copy" else [])


def test_a_name_with_a_number_of_its_own(tmp_path: Path) -> None:
    made = []
    for name in ("1/a.jpg", "2/a (2).jpg", "3/a.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
        made.append((source(tmp_path / name), "cat"))
    steps = plan(made, tmp_path / "into", "copy")
    assert [Path(step.target).name for step in steps] == ["a.jpg", "a (2).jpg", "a (3).jpg"]


def test_many_of_one_name_take_no_longer_than_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: looks.append(path) or look(path))
    made = [(source(tmp_path / f"{i}/a.jpg"), "cat") for i in range(300)]
    assert len({step.target for step in plan(made, tmp_path / "into", "copy")}) == 300
    assert len(looks) < 1000


def test_half_a_copy_is_none(
    pictures: list[InputItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str, target: str) -> None:
        Path(target).write_text("half")
        assert not target.endswith(".jpg")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    into = tmp_path / "into"
    steps = plan([(pictures[0], "cat")], into, "copy")
    ((_, reason),) = execute(steps, "copy", into)
    assert reason == "no space left on device"
    assert files(into) == [RECORD]


def test_where_the_record_can_not_be_written_nothing_is_done(
    pictures: list[InputItem], tmp_path: Path
) -> None:
    into = tmp_path / "into"
    (into / RECORD).mkdir(parents=True)
    with pytest.raises(InputError, match=r"can't be written.*is a directory"):
        execute(plan([(pictures[0], "cat")], into, "copy"), "copy", into)
    (into / RECORD).rmdir()
    (into / RECORD).symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"can't be written.*no space left"):
        execute(plan([(pictures[0], "cat")], into, "copy"), "copy", into)
    assert files(into) == [RECORD]


def test_the_record_has_whole_paths(
    pictures: list[InputItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = InputItem("one/a.jpg", "one/a.jpg")
    into = Path("into")
    execute(plan([(relative, "cat")], into, "copy"), "copy", into)
    assert read_record(into)[0][1:3] == [pictures[0].path, str(tmp_path / "into/cat/a.jpg")]
