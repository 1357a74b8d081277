"""The locked requirements: one version of each package, with the SHA-256 of its file.

The lock is for one platform, since pip's report names the files that suit the Python it runs in.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOOSE = ROOT / "requirements.txt"
LOCKED = ROOT / "requirements-locked.txt"
PLATFORM = "Linux x86_64, Python 3.11"  # one of those that the tests are run on
HEAD = f"""\
# What requirements.txt resolved to for {PLATFORM}, each package with the SHA-256
# of its file:
#   pip install --require-hashes -r requirements-locked.txt
# Other platforms want other files: use requirements.txt there. torch is PyPI's, which runs on an
# NVIDIA GPU and on a CPU. Made by `python -m supply lock`; not to be edited.
"""
HASH = " --hash=sha256:"


class LockError(ValueError):
    """A lock that can't be made or read; the message is a sentence."""


@dataclass(frozen=True, order=True)
class Package:
    """A locked package. name: as the registries normalise it. sha256: of its file, in hex."""

    name: str
    version: str
    sha256: str


def this_platform() -> str:
    """Worded as PLATFORM is."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{platform.system()} {platform.machine()}, Python {version}"


def resolve(requirements: Path) -> list[Package]:
    """The newest packages that suit, as pip finds them here; nothing is installed.

    Wheels alone: to build from source runs the package's own code.

    Raises:
        LockError: on another platform, or where pip finds nothing; pip says why on stderr.
    """
    if this_platform() != PLATFORM:
        raise LockError(f"The lock is for {PLATFORM}, and this is {this_platform()}.")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--report", str(report)]
        done = subprocess.run([*command, "--requirement", str(requirements)], check=False)
        if done.returncode != 0:
            raise LockError(f"pip can't resolve {requirements.name}; it says why above.")
        return from_report(json.loads(report.read_text(encoding="utf-8")))


def from_report(report: dict[str, Any]) -> list[Package]:
    """The packages in a report of `pip install --report`, by name."""
    packages = []
    for entry in report["install"]:
        name, version = entry["metadata"]["name"], entry["metadata"]["version"]
        sha256 = entry["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if sha256 is None:
            raise LockError(f"pip's report has no SHA-256 of {name} {version}.")
        packages.append(Package(canonicalize_name(name), version, sha256))
    return sorted(packages)


def as_text(packages: list[Package]) -> str:
    """The file's text."""
    lines = [f"{each.name}=={each.version} \\\n   {HASH}{each.sha256}\n" for each in packages]
    return HEAD + "".join(lines)


def read(path: Path = LOCKED) -> list[Package]:
    """The packages of a locked file.

    Raises:
        LockError: where a line has no exact version or not exactly one hash.
    """
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [_read_line(line) for line in lines]


def _read_line(line: str) -> Package:
    text, *hashes = line.split(HASH)
    requirement = Requirement(text)
    versions = [each.version for each in requirement.specifier if each.operator == "=="]
    if len(versions) != 1 or len(requirement.specifier) != 1 or len(hashes) != 1:
        raise LockError(f"{requirement.name} needs one exact version and one hash: {line!r}")
    return Package(canonicalize_name(requirement.name), versions[0], hashes[0].strip())
