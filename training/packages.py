"""Debian packages as ingredients: fetched with apt, unpacked aside, never installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# Trained on (see README.md for each licence).
INGREDIENTS = ("wordnet-base", "openclipart-png", "fonts-noto-color-emoji", "fonts-dejavu-core")
# Looked at only by evaluate.py.
HELD_OUT = ("gcompris-qt-data", "tuxpaint-stamps-default")


def fetch(package: str, folder: Path) -> Path:
    """The folder that holds a Debian package's files, downloaded and unpacked if need be.

    Needs `apt-get` with package lists (`apt-get update` as root, once) and `dpkg`, but no root:
    nothing is installed. Raises RuntimeError when apt can't get the package.
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
    archive.unlink()
    partial.rename(target)
    return target
