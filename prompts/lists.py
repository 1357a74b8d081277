"""The text files under data/: a header of `# key: value` lines, then one item a line.

Plain text and not JSON, because a person adds or removes a line without quotes, commas or escapes
to get wrong, and a change shows as that line alone.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

DATA = Path(__file__).parent / "data"

_REQUIRED = ("title", "source", "licence")
_KEYS = (*_REQUIRED, "templates", "about people", "note")

T = TypeVar("T")


class UnknownNameError(ValueError):
    """No template set or label set has that name; the message lists near matches."""


@dataclass(frozen=True)
class ListFile:
    """One file: `name` is the file's name without `.txt`; `items` keep the file's order."""

    name: str
    title: str
    source: str
    licence: str
    templates: str | None
    about_people: bool
    items: tuple[str, ...]


def read_list(path: Path) -> ListFile:
    """Read one list. The header ends at the first line without `#`; blank lines are skipped.

    Raises:
        ValueError: a header line that is missing or not understood, or a list without items; the
            message names the file.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    head = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    header: dict[str, str] = {}
    for line in head:
        key, colon, value = (part.strip() for part in line[1:].partition(":"))
        if not colon or key not in _KEYS:
            raise ValueError(
                f'{path.name}: the header line "{line}" is not understood; write "# key: value" '
                f"with one of these keys: {', '.join(_KEYS)}."
            )
        if key in header and key != "note":
            raise ValueError(f'{path.name} has a second "# {key}:" line; keep one.')
        header[key] = value
    for key in _REQUIRED:
        if not header.get(key):
            raise ValueError(f'{path.name} has no "# {key}: ..." line at its head; add one.')
    if header.get("about people", "no") not in ("yes", "no"):
        raise ValueError(f'{path.name}: write "yes" or "no" after "# about people:".')

    items = tuple(line.strip() for line in lines[len(head) :] if line.strip())
    if not items:
        raise ValueError(f"{path.name} holds no items; write one a line below the header.")
    return ListFile(
        name=path.stem,
        title=header["title"],
        source=header["source"],
        licence=header["licence"],
        templates=header.get("templates"),
        about_people=header.get("about people") == "yes",
        items=items,
    )


def look_up(known: Mapping[str, T], name: str, kind: str) -> T:
    """`known[name]`, or an UnknownNameError that says which names of that `kind` come near."""
    if name in known:
        return known[name]
    spelled = {known_name.lower(): known_name for known_name in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.5)
    if near:
        advice = "did you mean " + " or ".join(f'"{spelled[match]}"' for match in near) + "?"
    else:
        advice = "the names are: " + ", ".join(f'"{known_name}"' for known_name in known) + "."
    raise UnknownNameError(f'There is no {kind} named "{name}"; {advice}')
