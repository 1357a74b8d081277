"""The folder of uploads and downloads, and its cleanup.

gradio deletes files on a schedule too, but only those in a list that it keeps in memory: the files
of a program that was killed would stay for ever.
"""

from __future__ import annotations

import getpass
import os
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path

import gradio as gr

from ui.service.limits import LIMITS
from ui.service.telemetry import log_event

SECONDS_KEPT = 86_400
# gradio writes an upload to a file of this prefix first, and leaves it there if the upload breaks
PART, SECONDS_KEPT_OF_A_PART = "tmp", 3_600
SECONDS_BETWEEN_SWEEPS = 3_600
SECONDS_BETWEEN_CHECKS = 60  # of the free disk space
RESERVE = 200_000_000  # bytes of the disk kept free for answers and for other programs
# How long uploads are kept when the disk is full: the first of these that frees enough
SECONDS_KEPT_AT_NEED = (SECONDS_KEPT, 3_600, 600)
FULL = "The page's disk is full: try again in ten minutes."
# A folder is made a moment before the file in it
SECONDS_AN_EMPTY_FOLDER_STAYS = 3_600

_spared: set[str] = set()


def choose_folder() -> Path:
    """The folder: GRADIO_TEMP_DIR, else a private one of this user among the temporary files.

    gradio is given it too: it would use one folder for all of its pages on this machine.
    """
    if not os.environ.get("GRADIO_TEMP_DIR"):
        folder = Path(tempfile.gettempdir()).resolve() / f"clip-zero-shot-{getpass.getuser()}"
        if not _is_ours(folder):
            folder = Path(tempfile.mkdtemp(prefix="clip-zero-shot-")).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
    folder = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()  # as gradio writes paths in it
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    return folder


def start_sweeping(folder: Path) -> None:
    """Sweeps now, every hour, and when the disk is nearly full, in a daemon thread."""

    def run() -> None:
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                log_event("swept", files=sweep(folder))
                due += SECONDS_BETWEEN_SWEEPS
            make_room(folder, LIMITS.file_mb << 20)  # for one upload, the largest
            time.sleep(SECONDS_BETWEEN_CHECKS)

    threading.Thread(target=run, name="sweep", daemon=True).start()


def sweep(folder: Path, now: float | None = None, seconds_kept: float = SECONDS_KEPT) -> int:
    """Deletes files not changed for `seconds_kept`, and empty folders; returns the number of files.

    now: seconds since the epoch, the present unless given. Uploads that broke off are deleted
    sooner. A file that can't be deleted is tried again by the next sweep.
    """
    now = time.time() if now is None else now
    count = 0
    for parent, _, names in os.walk(folder, topdown=False):  # follows no links
        for name in names:
            path = Path(parent, name)
            try:
                if str(path) in _spared:
                    continue
                broken_off = Path(parent) == folder and name.startswith(PART)
                kept = min(SECONDS_KEPT_OF_A_PART, seconds_kept) if broken_off else seconds_kept
                if now - path.lstat().st_mtime > kept:
                    path.unlink()
                    count += 1
            except OSError:
                continue
        try:
            empty_for = now - Path(parent).stat().st_mtime
            if Path(parent) != folder and empty_for > SECONDS_AN_EMPTY_FOLDER_STAYS:
                Path(parent).rmdir()  # refuses one that isn't empty
        except OSError:
            continue
    return count


def make_room(folder: Path, size: int) -> None:
    """Deletes files sooner than usual until `size` bytes fit beside `RESERVE`, oldest first."""
    for seconds in SECONDS_KEPT_AT_NEED:
        if has_room(folder, size):
            return
        log_event("swept", files=sweep(folder, seconds_kept=seconds))


def has_room(folder: Path, size: int) -> bool:
    """Whether `size` bytes fit beside `RESERVE`; False where nothing can be written at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free >= size + RESERVE
    except OSError:
        return False


def spare(page: gr.Blocks) -> None:
    """Exempts the example images from cleanup: gradio's copies of them keep their old mtime."""
    for component in page.blocks.values():
        _spared.update(getattr(component, "keep_in_cache", ()))


def _is_ours(folder: Path) -> bool:
    """Creates a folder if it isn't there; whether it is this user's and closed to others."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return False
        if hasattr(os, "getuid"):
            if status.st_uid != os.getuid():
                return False
            folder.chmod(0o700)
    except OSError:
        return False
    return True
