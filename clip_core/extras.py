"""Optional packages: what the page and the commands for many images need on top of the library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from .errors import InputError

# By the names of pyproject.toml's extras. Each package is imported under the name that pip knows.
EXTRAS = {
    "app": ("gradio", "psutil", "limits"),
    "many": ("pyarrow", "scipy", "matplotlib"),
}


def check_extra(extra: str) -> None:
    """Raises InputError, with one sentence that says how to install what an extra lacks here."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise InputError(f"This needs packages that are not here: pip install {' '.join(missing)}")


@contextmanager
def naming_extras() -> Iterator[None]:
    """Raises what `check_extra` does, in place of a failed import of an extra's package."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        for extra, packages in EXTRAS.items():
            if package in packages:
                check_extra(extra)
        raise
