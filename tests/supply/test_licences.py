"""Which licences count as permissive, where they are read from, and what the listing has."""

from __future__ import annotations

from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import pytest

from supply.__main__ import main
from supply.licences import LONGEST, PackageMetadata, in_metadata, is_permissive, listing, stated
from supply.lock import ROOT, Package, read

HERE = Package("pytest", version("pytest"), "0" * 64)


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "MIT License",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "Apache-2.0 OR GPL-2.0-only",
        "Apache-2.0 WITH LLVM-exception AND MIT",
        "(GPL-2.0-only OR MIT) AND BSD-2-Clause",
    ],
)
def test_permissive(licence: str) -> None:
    assert is_permissive(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "MPL-2.0",
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "GPL-3.0-only WITH GCC-exception-3.1",
        "LicenseRef-NVIDIA-Proprietary",
        "Other/Proprietary License",
        "Copyright (c) 2015, someone",
        "MIT AND",
    ],
)
def test_not_permissive(licence: str) -> None:
    assert not is_permissive(licence)


def fields(*pairs: tuple[str, str]) -> PackageMetadata:
    message = Message()
    for name, value in pairs:
        message[name] = value
    return cast(PackageMetadata, message)


EXPRESSION = ("License-Expression", "MIT")
BSD = ("Classifier", "License :: OSI Approved :: BSD License")
MPL = ("Classifier", "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)")
BARE = ("Classifier", "License :: OSI Approved")
LINUX = ("Classifier", "Operating System :: POSIX :: Linux")
FIELD = ("License", "\n  Apache 2.0 \nand its text")


@pytest.mark.parametrize(
    ("pairs", "licences"),
    [
        ([FIELD, BSD, EXPRESSION], ["MIT"]),
        ([FIELD, LINUX, BSD, MPL], ["BSD License", "Mozilla Public License 2.0 (MPL 2.0)"]),
        ([FIELD, LINUX, BARE], ["Apache 2.0"]),
        ([("License", "x" * 500)], ["x" * LONGEST]),
        ([("License", "UNKNOWN"), LINUX], []),
        ([], []),
    ],
)
def test_which_field_counts(pairs: list[tuple[str, str]], licences: list[str]) -> None:
    assert in_metadata(fields(*pairs)) == licences


def test_another_version_than_the_locked_one_says_nothing() -> None:
    assert stated(HERE) == ["MIT"]
    for package in (Package("pytest", "0.1", "0" * 64), Package("no-such-thing", "1", "0" * 64)):
        with pytest.raises(PackageNotFoundError):
            stated(package)


def test_the_listing_marks_what_is_to_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    licences = {"a": ["MIT"], "b": ["MPL-2.0"], "c": [], "d": ["BSD", "Odd|License"]}
    monkeypatch.setattr("supply.licences.stated", lambda package: licences[package.name])
    text, missing = listing([Package(name, "1", "0" * 64) for name in licences])
    assert missing == []
    assert text.splitlines()[-4:] == [
        "| a | 1 | MIT |  |",
        "| b | 1 | MPL-2.0 | ! |",
        "| c | 1 | none stated | ! |",
        "| d | 1 | BSD; Odd\\|License | ! |",
    ]
    assert "4 packages." in text
    assert "marked with !: b, c, d." in " ".join(text.split())


def test_what_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = [HERE, Package("no-such-thing", "1", "0" * 64)]
    monkeypatch.setattr("supply.__main__.read", lambda: packages)
    assert main(["licences"]) == 1
    printed = capsys.readouterr()
    assert "| pytest |" in printed.out
    assert printed.err == "supply: no-such-thing 1 is not installed here\n"


def test_the_committed_listing_has_the_locked_packages() -> None:
    text = (ROOT / "supply" / "LICENCES.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows == [[f"| {package.name}", package.version] for package in read()]
