"""Command line: python -m clip_core photo.jpg cat dog "a city street"."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from clip_core.errors import ClipError
from clip_core.extras import naming_extras
from clip_core.files import reason_of
from prompts import TemplateError, UnknownNameError

from . import classify
from .options import COMMANDS, INTERRUPTED, MANY

BROKEN_PIPE = 141  # the exit code, as shells report a process that SIGPIPE ended


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code.

    0 for success, 2 after one line on bad input, 130 when interrupted, 141 when the reader of the
    output has gone. The commands for many images also have 1. Any other error is a bug, and is
    raised.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    try:
        with _terminate_as_interrupt(), naming_extras():
            if first not in COMMANDS:
                return classify.run(arguments)
            # Imported on demand: libraries for many images take a while to import
            module = importlib.import_module(f".{first.replace('-', '_')}", __package__)
            return int(module.run(arguments[1:]))
    except KeyboardInterrupt:
        kept = " What was computed is kept: the same command goes on from there."
        print("\nInterrupted." + (kept if first in MANY else ""), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The output that is still buffered would fail once more at the end of the program
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        what = "A file" if error.filename is None else repr(error.filename)
        message = f"{what} can't be read or written: {reason_of(error)}."
    except (ClipError, TemplateError, UnknownNameError) as error:
        message = str(error)
    print(f"clip_core: {message}", file=sys.stderr)
    return 2


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM do what Ctrl+C does, so that files being written are finished."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
