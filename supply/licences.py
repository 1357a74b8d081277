"""The licences that the locked packages state in their own metadata, as installed here."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from textwrap import fill
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

from .lock import Package

# SPDX's names of licences that ask for little more than to keep their text
PERMISSIVE = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "Zlib",
    ]
)
# The same in the words of packages that don't use SPDX's names
PERMISSIVE_WORDS = frozenset(
    [
        "Apache Software License",
        "BSD",
        "BSD License",
        "ISC License (ISCL)",
        "MIT License",
        "Python Software Foundation License",
    ]
)
LONGEST = 80  # characters; some packages put a whole licence where its name belongs
HEAD = """\
# Licences of the locked packages

What the packages of [requirements-locked.txt](../requirements-locked.txt) state in their own
metadata. Made by `python -m supply licences`; not to be edited.

"""


def stated(package: Package) -> list[str]:
    """The licences that a package states; nothing where it states none.

    Raises:
        PackageNotFoundError: where it is not installed in this very version.
    """
    found = metadata(package.name)
    if found["Version"] != package.version:
        raise PackageNotFoundError(package.name)
    return in_metadata(found)


def in_metadata(found: PackageMetadata) -> list[str]:
    """From the newest field that is filled: an SPDX expression, classifiers, a line of text."""
    expression: list[str] = found.get_all("License-Expression") or []
    if expression:
        return expression
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in found.get_all("Classifier") or []
        if text.startswith("License :: ") and not text.endswith(" :: OSI Approved")
    ]
    if classifiers:
        return classifiers
    lines = [line.strip() for text in found.get_all("License") or [] for line in text.splitlines()]
    return [line[:LONGEST] for line in lines if line and line != "UNKNOWN"][:1]


def is_permissive(licence: str) -> bool:
    """Whether all that must be kept to is permissive: of alternatives one is enough."""
    if licence in PERMISSIVE_WORDS:
        return True
    try:
        return _permits(_spdx().parse(licence, validate=True))
    except ExpressionError:
        return False


@cache
def _spdx() -> Any:
    return get_spdx_licensing()


def _permits(expression: Any) -> bool:
    if isinstance(expression, _spdx().OR):
        return any(map(_permits, expression.args))
    if isinstance(expression, _spdx().AND):
        return all(map(_permits, expression.args))
    # an exception only ever allows more
    return getattr(expression, "license_symbol", expression).key in PERMISSIVE


def listing(packages: list[Package]) -> tuple[str, list[Package]]:
    """The listing in Markdown, and the packages that it lacks since they are not installed."""
    rows, missing, flagged = [], [], []
    for package in packages:
        try:
            licences = stated(package)
        except PackageNotFoundError:
            missing.append(package)
            continue
        mark = ""
        if not licences or not all(map(is_permissive, licences)):
            flagged.append(package.name)
            mark = "!"
        words = "; ".join(licences).replace("|", "\\|") or "none stated"
        rows.append(f"| {package.name} | {package.version} | {words} | {mark} |\n")
    words = (
        f"{len(rows)} packages. Not among the permissive licences that `supply/licences.py` names, "
    )
    words += f"and marked with !: {', '.join(flagged) or 'none'}."
    table = "| package | version | licence | |\n|---|---|---|---|\n" + "".join(rows)
    return f"{HEAD}{fill(words, 100, break_on_hyphens=False)}\n\n{table}", missing
