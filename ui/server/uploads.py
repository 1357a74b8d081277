"""The folder of what visitors send and take away: the page's own, swept of what is a day old.

gradio deletes on a schedule too, but only what its own list holds, and a program that is killed
takes that list with it: what it left would stay for ever.
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
# What gradio writes an upload to until all of it is there, and leaves when it never is
PART, SECONDS_KEPT_OF_A_PART = "tmp", 3_600
SECONDS_BETWEEN_SWEEPS = 3_600
SECONDS_BETWEEN_LOOKS = 60  # whether there is still room
RESERVE = 200_000_000  # bytes of the disk that are left to answers, and to others on the machine
# How long uploads are kept when the disk is full, the longest that helps first
SECONDS_KEPT_AT_NEED = (SECONDS_KEPT, 3_600, 600)
FULL = "The page's disk is full: try again in ten minutes."
SECONDS_AHEAD = 60  # of this clock, that another's may be: of a shared disk
# A folder is made a moment before the file in it
SECONDS_AN_EMPTY_FOLDER_STAYS = 3_600

_spared: set[str] = set()


def choose_folder() -> Path:
    """The folder: GRADIO_TEMP_DIR, else one among the temporary files that is this user's alone.

    Named to gradio, too, which would share one with all its other pages on this machine.
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
    """Sweeps now, every hour, and when room is short, in a thread that ends with the program."""

    def run() -> None:
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                log_event("swept", files=sweep(folder))
                due += SECONDS_BETWEEN_SWEEPS
            make_room(folder, LIMITS.file_mb << 20)  # for one upload, the largest
            time.sleep(SECONDS_BETWEEN_LOOKS)

    threading.Thread(target=run, name="sweep", daemon=True).start()


def sweep(folder: Path, now: float | None = None, seconds_kept: float = SECONDS_KEPT) -> int:
    """Deletes files unchanged for so long, and empty folders; how many files it were.

    now: seconds since the epoch, the present unless given. Uploads that broke off go sooner. What
    can't be deleted stays, to be tried again by the next sweep. What a clock set back has left in
    the future counts as of now, else it would stay until the clock is there again.
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
                changed = path.lstat().st_mtime
                if now - changed > kept:
                    path.unlink()
                    count += 1
                elif changed - now > SECONDS_AHEAD and not path.is_symlink():
                    os.utime(path, (now, now))
            except OSError:
                continue
        try:
            empty_for = abs(now - Path(parent).stat().st_mtime)
            if Path(parent) != folder and empty_for > SECONDS_AN_EMPTY_FOLDER_STAYS:
                Path(parent).rmdir()  # refuses one that isn't empty
        except OSError:
            continue
    return count


def make_room(folder: Path, size: int) -> None:
    """Sweeps a folder sooner than usual, as far as need be for so many bytes beside `RESERVE`."""
    for seconds in SECONDS_KEPT_AT_NEED:
        if has_room(folder, size):
            return
        log_event("swept", files=sweep(folder, seconds_kept=seconds))


def has_room(folder: Path, size: int) -> bool:
    """Whether so many bytes fit beside `RESERVE`; not where nothing can be written at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free >= size + RESERVE
    except OSError:
        return False


def spare(page: gr.Blocks) -> None:
    """Has what the page itself shows never swept: its examples, whose copies are as old as they."""
    for component in page.blocks.values():
        _spared.update(getattr(component, "keep_in_cache", ()))


def _is_ours(folder: Path) -> bool:
    """Makes a folder, unless it is there; whether it is this user's, and closed to others."""
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
