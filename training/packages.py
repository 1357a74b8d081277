"""Debian packages as ingredients: fetched with apt, unpacked aside, never installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from clip_core.files import sha256_of

# Trained on (README.md has their licences): packages, and the SHA-256 of their files in Debian 12.
INGREDIENTS = {
    "wordnet-base": "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    "openclipart-png": "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    "fonts-noto-color-emoji": "a5ab0f69c7938423862320d9aca5dd187b3fd879d6a9a57dd52e17c3fa8d2751",
    "fonts-dejavu-core": "8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76",
}
# Looked at only by evaluate.py.
HELD_OUT = {
    "gcompris-qt-data": "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    "tuxpaint-stamps-default": "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
}


def fetch(package: str, folder: Path) -> Path:
    """The folder that holds a Debian package's files, downloaded and unpacked if need be.

    Needs `apt-get` with package lists (`apt-get update` as root, once) and `dpkg`, but no root:
    nothing is installed. Another file than the one named above is taken, and said on standard
    error. Raises RuntimeError when apt can't get the package.
    """
    target = folder / package
    if target.exists():
        return target
    partial = folder / f"{package}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        command = ["apt-get", "download", package]
        subprocess.run(command, cwd=partial, check=True, capture_output=True, text=True)
        archive = next(partial.glob("*.deb"))
        subprocess.run(["dpkg", "-x", archive.name, "."], cwd=partial, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError, StopIteration) as error:
        reason = getattr(error, "stderr", None) or error
        raise RuntimeError(
            f"The Debian package {package} could not be fetched with apt-get and dpkg: {reason} "
            "On Debian or Ubuntu, run `apt-get update` once as root and try again."
        ) from error
    if sha256_of(archive) != (INGREDIENTS | HELD_OUT)[package]:
        print(
            f"{archive.name} is not Debian 12's: what comes of it won't be the same.",
            file=sys.stderr,
        )
    archive.unlink()
    partial.rename(target)
    return target
