"""The committed lock suits what it is made from, and a lock is made and read as it should be."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from supply import lock
from supply.__main__ import main
from supply.lock import LOCKED, LOOSE, LockError, Package, as_text, from_report, read, resolve

SHA256 = "0123456789abcdef" * 4
GOOD = Package("one-name", "1.0", SHA256)


def problems(loose: str, packages: list[Package]) -> list[str]:
    """The loose requirements that a lock leaves out or contradicts."""
    versions = {package.name: Version(package.version) for package in packages}
    lines = (line.split("#")[0].strip() for line in loose.splitlines())
    wanted = [Requirement(line) for line in lines if line]
    return [
        str(requirement)
        for requirement in wanted
        if versions.get(canonicalize_name(requirement.name)) not in requirement.specifier
    ]


def test_the_lock_satisfies_the_loose_requirements() -> None:
    assert problems(LOOSE.read_text(), read()) == []


def test_a_lock_that_does_not_is_noticed() -> None:
    packages = [Package("gradio", "7.0", SHA256), Package("torch", "2.11", SHA256)]
    assert problems("torch>=2.8  # why\n\ngradio[mcp]>=6.31,<7\nftfy>=6.2\n", packages) == [
        "gradio[mcp]<7,>=6.31",
        "ftfy>=6.2",
    ]


def test_the_lock_has_what_the_extra_needs() -> None:
    assert "mcp" in {package.name for package in read()}  # for gradio[mcp]


def test_every_package_of_the_lock_is_there_once_with_a_hash() -> None:
    packages = read()
    assert len({package.name for package in packages}) == len(packages)
    assert packages == sorted(packages)
    assert all(re.fullmatch(r"[0-9a-f]{64}", package.sha256) for package in packages)
    # a build's own label, as in 2.11.0+cpu, is on no registry
    assert not [package for package in packages if Version(package.version).local]


def test_the_lock_is_the_text_that_the_command_writes() -> None:
    text = LOCKED.read_text(encoding="utf-8")
    assert text == as_text(read())
    assert "://" not in text  # whoever installs it says from where


def entry(name: str, version: str, **download: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "version": version}, "download_info": download}


def test_from_a_report_of_pip() -> None:
    hashed = {"archive_info": {"hashes": {"sha256": SHA256}}}
    report = {"install": [entry("Two", "2.0", **hashed), entry("one_name", "1.0", **hashed)]}
    assert from_report(report) == [GOOD, Package("two", "2.0", SHA256)]


@pytest.mark.parametrize("download", [{}, {"archive_info": {}}, {"archive_info": {"hashes": {}}}])
def test_a_package_whose_hash_pip_does_not_know_is_refused(download: dict[str, Any]) -> None:
    with pytest.raises(LockError, match=r"no SHA-256 of one-name 1\.0"):
        from_report({"install": [entry("one-name", "1.0", **download)]})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "locked.txt"
    packages = [GOOD, Package("two", "2.0.post1", "f" * 64)]
    path.write_text(as_text(packages))
    assert read(path) == packages


@pytest.mark.parametrize(
    "line",
    [
        "name==1.0",
        f"name>=1.0 --hash=sha256:{SHA256}",
        f"name --hash=sha256:{SHA256}",
        f"name>=1.0,==1.1 --hash=sha256:{SHA256}",
        f"name==1.0 --hash=sha256:{SHA256} --hash=sha256:{SHA256}",
    ],
)
def test_a_line_without_one_version_and_one_hash_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "locked.txt"
    path.write_text(f"# head\n{line}\n")
    with pytest.raises(LockError, match="name needs one exact version and one hash"):
        read(path)


def test_another_platform_makes_no_lock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "this_platform", lambda: "Plan9 mips, Python 3.11")
    before = LOCKED.read_bytes()
    assert main(["lock"]) == 1
    said = "supply: The lock is for Linux x86_64, Python 3.11, and this is Plan9 mips, Python 3.11."
    assert capsys.readouterr().err.strip() == said
    assert LOCKED.read_bytes() == before


@pytest.mark.parametrize("status", [0, 1])
def test_pip_is_asked_and_its_failure_is_a_sentence(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        report = Path(command[command.index("--report") + 1])
        report.write_text('{"install": []}')
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(lock, "this_platform", lambda: lock.PLATFORM)
    monkeypatch.setattr(subprocess, "run", run)
    if status:
        with pytest.raises(LockError, match=r"pip can't resolve loose\.txt"):
            resolve(tmp_path / "loose.txt")
    else:
        assert resolve(tmp_path / "loose.txt") == []
    (command,) = asked
    # nothing is installed, what is here doesn't count, and no package's own code is run
    assert {"--dry-run", "--ignore-installed", "--only-binary"} < set(command)
