"""The command line: python -m clip_core photo.jpg cat dog "a city street"."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from clip_core.extras import naming_extras

from . import classify
from .options import COMMANDS, INTERRUPTED, MANY

NOBODY_READS = 141  # as shells report what ended by SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code.

    0, or 2 after one line on bad input, 130 when it was interrupted, 141 when nobody reads what it
    prints; the commands for many pictures have 1, too.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    try:
        with _ends_as_interrupted(), naming_extras():
            if first not in COMMANDS:
                return classify.run(arguments)
            # Imported when it is asked for: libraries for many images take a while to import
            module = importlib.import_module(f".{first.replace('-', '_')}", __package__)
            return int(module.run(arguments[1:]))
    except KeyboardInterrupt:
        kept = " What was computed is kept: the same command goes on from there."
        print("\nInterrupted." + (kept if first in MANY else ""), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # What is still to be printed would fail once more at the end of the program
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        what = "A file" if error.filename is None else repr(error.filename)
        print(f"clip_core: {what} can't be read or written: {reason}.", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError) as error:
        print(f"clip_core: {error}", file=sys.stderr)
        return 2


@contextmanager
def _ends_as_interrupted() -> Iterator[None]:
    """Has a request to end do what Ctrl+C does, so that what is being written is finished."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
