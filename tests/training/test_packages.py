"""Debian packages are unpacked, and one that is another file than before is named."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from training import packages

APT_GET = '#!/bin/sh\nprintf "words" > "$2_1.0_all.deb"\n'  # apt-get download PACKAGE
DPKG = '#!/bin/sh\ncp "$2" "$3/unpacked"\n'  # dpkg -x ARCHIVE FOLDER


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt-get and dpkg that give every package the same five letters."""
    for name, text in (("apt-get", APT_GET), ("dpkg", DPKG)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("debian")
@pytest.mark.parametrize("content", ["words", "other words"])
def test_a_package_that_is_another_file_is_named(
    content: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {"wordnet-base": sha256(content.encode()).hexdigest()}
    monkeypatch.setattr(packages, "INGREDIENTS", known)
    folder = packages.fetch("wordnet-base", tmp_path / "packages")
    assert (folder / "unpacked").read_text() == "words"
    assert not list(folder.glob("*.deb"))
    said = capsys.readouterr().err
    assert ("wordnet-base_1.0_all.deb is not Debian 12's" in said) == (content != "words")
