"""Which tests run: the quick ones, or with `--all` every one; and which of them together.

Marks are given here, by what a test uses, so that no test can lack its own. Two are set by hand:
`smoke` on the few tests with a browser, an app of their own or a kill that are quick ones too, and
`slow` on what takes long for another reason.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

# Other projects that ours is measured against or may use, and our modules that are made of them
PEER = re.compile(
    r"^(?:import|from) .*\b(?:open_clip|transformers|inference(?:\.| import )onnx|ray_pipeline)\b",
    re.MULTILINE,
)
LONGEST_FIRST = ("browser", "peers", "own_app", "app", "slow", "faults")

# hypothesis's 200 ms are of the clock on the wall, which a busy machine passes with nothing wrong
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("full", deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run every test, not the quick ones alone")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("all"):
        settings.load_profile("full")
    else:
        settings.load_profile("quick")
        os.environ.setdefault("KILLS", "2")  # the tests that kill read them when they are imported
        os.environ.setdefault("FLIPS", "30")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Peers need not be installed for the quick tests."""
    return True if not config.getoption("all") and needs_a_peer(collection_path) else None


@cache
def needs_a_peer(path: Path) -> bool:
    return path.suffix == ".py" and PEER.search(path.read_text(encoding="utf-8")) is not None


def marks_of(item: pytest.Function) -> set[str]:
    """`app`: asks the running app; `own_app`: starts one with flags of its own; and so on."""
    fixtures = set(item.fixturenames)
    found = {
        "app": fixtures & {"shared_app", "run_app", "start_app"},
        "own_app": fixtures & {"run_app", "start_app"},
        "browser": fixtures & {"launch"},
        "faults": "work" in fixtures or "dying" in item.function.__code__.co_names,
        "peers": "oracle" in fixtures or needs_a_peer(item.path),
    }
    return {name for name, given in found.items() if given}


def is_quick(item: pytest.Function) -> bool:
    marks = {mark.name for mark in item.iter_markers()}
    if marks & {"peers", "slow"}:
        return False
    smoke = item.get_closest_marker("smoke")
    if smoke is None:
        return not marks & {"own_app", "browser", "faults"}
    width = item.callspec.params.get("width") if hasattr(item, "callspec") else None
    return width in (None, *(smoke.args or (1280,)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    for item in items:
        for name in marks_of(item):
            item.add_marker(name)
    if not config.getoption("all"):
        config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
        items[:] = filter(is_quick, items)
    # A file's tests stay together, and files are handed out in order: the long ones come first, so
    # that no process is left with one at the end.
    ranks: dict[Path, int] = {}
    for item in items:
        rank = next((i for i, name in enumerate(LONGEST_FIRST) if item.get_closest_marker(name)), 9)
        ranks[item.path] = min(rank, ranks.get(item.path, 9))
    items.sort(key=lambda item: ranks[item.path])
