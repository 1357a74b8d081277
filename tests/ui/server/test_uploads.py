from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from ui.server import uploads
from ui.server.uploads import SECONDS_KEPT, choose_folder, has_room, make_room, spare, sweep

Put = Callable[[Path, str, int, float], Path]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's folder of temporary files, and nothing said of gradio's."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_is_a_day_old_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    now = time.time()
    old, new = tmp_path / "a" / "old.jpg", tmp_path / "b" / "new.jpg"
    for path, age in ((old, SECONDS_KEPT + 60), (new, SECONDS_KEPT - 60)):
        path.parent.mkdir()
        path.write_bytes(b"picture")
        os.utime(path, (now - age, now - age))
    assert sweep(tmp_path, now) == 1
    assert not old.exists()
    assert new.exists()
    assert sweep(tmp_path, now + 2 * 3600) == 1  # the other, and by now the empty folders
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("keep me")
    swept = tmp_path / "swept"
    swept.mkdir()
    (swept / "there").symlink_to(mine)
    sweep(swept, time.time() + 2 * SECONDS_KEPT)
    assert (mine / "letter.txt").exists()


def test_what_cannot_be_deleted_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    unlink = Path.unlink

    def refuse_one(path: Path) -> None:
        if path.name == "a.jpg":
            raise PermissionError
        unlink(path)

    monkeypatch.setattr(Path, "unlink", refuse_one)
    assert sweep(tmp_path, time.time() + 2 * SECONDS_KEPT) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_the_folder_is_one_s_own(temporary: Path) -> None:
    folder = choose_folder()
    assert folder.parent == temporary
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
    os.environ["GRADIO_TEMP_DIR"] = ""
    folder.chmod(0o755)
    assert choose_folder() == folder  # the same again, and closed again
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_in_its_place_is_not_used(temporary: Path) -> None:
    first = choose_folder()
    first.rmdir()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    first.symlink_to(elsewhere)
    os.environ["GRADIO_TEMP_DIR"] = ""
    second = choose_folder()
    assert second not in (first, elsewhere)
    assert second.parent == temporary


def test_a_folder_that_was_named_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "chosen"))
    assert choose_folder() == tmp_path / "chosen"


def test_the_page_s_own_examples_are_never_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = Path(__file__).parents[3] / "ui" / "examples" / "cat.jpg"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks() as page:
        gr.Dataset(components=[gr.Image(visible=False)], samples=[[str(example)]])
    (copy,) = tmp_path.rglob("cat.jpg")
    (tmp_path / "other.jpg").write_bytes(b"picture")
    monkeypatch.setattr(uploads, "_spared", set())
    spare(page)
    assert sweep(tmp_path, time.time() + 30 * SECONDS_KEPT) == 1
    assert copy.exists()


def test_nothing_is_deleted_while_there_is_room(disk: Path, put: Put) -> None:
    older = put(disk, "a/old.jpg", 400_000, 30 * 3600)
    make_room(disk, 600_000)
    assert older.exists()


def test_the_oldest_go_first_and_no_more_than_need_be(disk: Path, put: Put) -> None:
    day, hours, minutes, now = (
        put(disk, f"{age}/a.jpg", 250_000, age) for age in (90_000, 7_200, 1_200, 5)
    )
    make_room(disk, 200_000)
    assert [path.exists() for path in (day, hours, minutes, now)] == [False, True, True, True]
    make_room(disk, 400_000)
    assert [path.exists() for path in (hours, minutes, now)] == [False, True, True]
    make_room(disk, 700_000)
    assert [path.exists() for path in (minutes, now)] == [False, True]
    make_room(disk, 900_000)
    assert now.exists()  # somebody looks at it
    assert not has_room(disk, 900_000)


def test_uploads_that_broke_off_stay_an_hour_at_most(disk: Path, put: Put) -> None:
    part, arriving = put(disk, "tmpab12cd", 600_000, 3_700), put(disk, "tmpef34gh", 100_000, 60)
    make_room(disk, 800_000)
    assert not part.exists()
    assert arriving.exists()


def test_where_nothing_can_be_written_there_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    assert not has_room(tmp_path / "taken" / "uploads", 0)
