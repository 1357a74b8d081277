from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ui.widgets.session_restore import read_saved

EXAMPLE = Path(__file__).parents[3] / "ui" / "examples" / "cat.jpg"


def test_fields_and_picture() -> None:
    kept = {"search": "", "picture": {"path": str(EXAMPLE)}, "labels": "a\nb", "framing": "pad"}
    assert read_saved(json.dumps(kept)) == (
        {"search": "", "labels": "a\nb", "framing": "pad"},
        str(EXAMPLE),
    )


@pytest.mark.parametrize(
    "picture",
    [None, {}, {"path": "/etc/passwd"}, {"path": 3}, {"path": "a\0b"}, {"path": "a" * 5000}, ["x"]],
)
def test_a_picture_that_is_none_of_the_page_s_is_left_out(picture: Any) -> None:
    assert read_saved(json.dumps({"labels": "a", "picture": picture})) == ({"labels": "a"}, None)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "[" * 100_000])
def test_what_the_page_never_wrote(text: str) -> None:
    assert read_saved(text) == ({}, None)
