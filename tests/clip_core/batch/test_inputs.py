from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from clip_core.batch.inputs import InputItem, find_inputs, in_shard
from clip_core.batch.loader import read_members


def names(*inputs: str | Path) -> list[str]:
    return [source.name for source in find_inputs(inputs)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "sub/z.webp", "sub/deep/c.jpg", "notes.md", ".hidden.jpg"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "pictures"


def test_a_folder_is_looked_through_in_a_fixed_order(folder: Path) -> None:
    expected = ["a.PNG", "b.jpg", "sub/z.webp", "sub/deep/c.jpg"]
    assert names(folder) == [str(folder / name) for name in expected]


def test_each_path_once_however_often_it_is_named(folder: Path) -> None:
    assert len(names(folder, folder / "b.jpg", folder)) == 4


def test_links_that_lead_in_circles_are_followed_once(folder: Path) -> None:
    (folder / "sub/up").symlink_to(folder, target_is_directory=True)
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    found = names(folder)
    assert len(found) == 5
    assert str(folder / "loop.jpg") in found  # reading it will say what is wrong


def test_a_glob(folder: Path) -> None:
    assert names(str(folder / "**/*.jpg")) == [
        str(folder / "b.jpg"),
        str(folder / "sub/deep/c.jpg"),
    ]


def test_names_with_line_ends_and_broken_utf_8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (b"two\nlines.jpg", b"caf\xe9.jpg", "猫.jpg".encode()):
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(b"x")
    found = find_inputs([tmp_path])
    assert [Path(source.name).name for source in found] == [
        "caf\\xe9.jpg",
        "two\nlines.jpg",
        "猫.jpg",
    ]
    assert all(os.path.exists(source.path) for source in found)
    for source in found:
        source.name.encode()  # no half characters, which no table could hold


def test_archives(folder: Path, tmp_path: Path) -> None:
    members = ["cat/1.jpg", "__MACOSX/cat/1.jpg", "cat/.x.jpg", "read me.txt", "../out.jpg"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in members:
            archive.writestr(name, b"x")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder, "pictures")
    assert names(tmp_path / "a.zip") == [f"{tmp_path}/a.zip!/cat/1.jpg"]
    assert {source.member for source in find_inputs([tmp_path / "a.tar.gz"])} == {
        "pictures/a.PNG",
        "pictures/b.jpg",
        "pictures/sub/z.webp",
        "pictures/sub/deep/c.jpg",
    }


def test_hard_links_in_a_tar_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
        tar.add(tmp_path / "b.jpg", "b.jpg")
    assert {source.member for source in find_inputs([tmp_path / "a.tar"])} == {"a.jpg", "b.jpg"}
    assert next(read_members(str(tmp_path / "a.tar"), ["b.jpg"]))[0] == b"x"


def test_a_glob_looks_into_archives_and_lists(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder / "b.jpg", "b.jpg")
    (tmp_path / "b.txt").write_text("pictures/b.jpg\n")
    (tmp_path / "c.jpg").symlink_to("nowhere")
    assert names(str(tmp_path / "?.*")) == [
        f"{tmp_path}/a.tar!/b.jpg",
        f"{tmp_path}/pictures/b.jpg",
        f"{tmp_path}/c.jpg",
    ]


def test_a_zip_whose_names_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("猫.jpg", b"x")
    path.write_bytes(path.read_bytes().replace("猫".encode(), b"\xe7\x8c\xff"))
    with pytest.raises(ValueError, match=r"a\.zip' is broken or can't be read: it holds a name"):
        find_inputs([path])


@pytest.mark.parametrize("name", ["list.txt", "a.zip", "a.tar"])
def test_pipes_are_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match="is no file but a pipe"):
        find_inputs([tmp_path / name])


def test_a_list_without_rights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (folder / "list.txt").write_text("b.jpg")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ValueError, match=r"list\.txt' can't be read: permission denied"):
        find_inputs([folder / "list.txt"])


def test_lists_are_relative_to_themselves_and_take_any_name(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfb.jpg\r\n\r\nno such.jpg\n")
    (folder / "b.lst").write_bytes(b"two\nlines.jpg\0b.jpg\0")
    assert names(folder / "a.txt") == [str(folder / "b.jpg"), str(folder / "no such.jpg")]
    assert names(folder / "b.lst") == [str(folder / "two\nlines.jpg"), str(folder / "b.jpg")]


def test_what_holds_nothing_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No pictures in"):
        find_inputs([tmp_path])
    with pytest.raises(ValueError, match="there is no such file or folder"):
        find_inputs([tmp_path / "missing"])
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="broken or can't be read"):
        find_inputs([tmp_path / "broken.zip"])


def test_a_folder_without_rights_is_named_and_the_rest_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_inputs([folder])
    assert [source.error for source in found] == [None, None, "permission denied."]


def test_shards_part_the_pictures_without_rest() -> None:
    sources = [InputItem(f"folder/{i}.jpg", f"folder/{i}.jpg") for i in range(1000)]
    parts = [[s for s in sources if in_shard(s, shard, 4)] for shard in (1, 2, 3, 4)]
    assert sorted(s.name for part in parts for s in part) == sorted(s.name for s in sources)
    assert min(map(len, parts)) > 200
