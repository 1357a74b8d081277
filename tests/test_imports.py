"""Imports run one way, from the page down to the model: no cycle, not even for typing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room may import those to its right. A room stands for all that lies in it but is not named.
ROOMS = (
    *("app", "ui.server", "ui.page", "ui.tabs.many", "ui.tabs", "ui.api", "ui.widgets"),
    *(
        "ui.service",
        "clip_core.__main__",
        "clip_core.cli",
        "prompts",
        "clip_core.evaluation",
        "clip_core.batch",
    ),
    *("clip_core.explain", "clip_core", "clip_core.classifier", "clip_core.open_set"),
    *("clip_core.inference", "clip_core.weights", "clip_core.efficientnet", "clip_core.model"),
    *("clip_core.cache", "clip_core.tokenizer", "clip_core.config", "clip_core.preprocess"),
    *("clip_core.images", "clip_core.files", "clip_core.errors"),
)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_of(path): path
    for path in (
        ROOT / "app.py",
        *(p for r in ("clip_core", "prompts", "ui") for p in (ROOT / r).rglob("*.py")),
    )
}


def imported(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, anywhere in it."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                name = f"{source}.{alias.name}"
                found = name if name in MODULES else source
                if found in MODULES:
                    yield found


def room_of(module: str) -> int:
    names = [room for room in ROOMS if module == room or module.startswith(room + ".")]
    return ROOMS.index(max(names, key=len))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_is_imported_from_above(module: str) -> None:
    # The public names of clip_core are imported when they are used, so its package imports nothing
    above = [
        name
        for name in imported(module)
        if room_of(name) < room_of(module) and name != "clip_core" and module != "clip_core"
    ]
    assert above == []
    if not module.startswith(("clip_core.cli", "ui", "app", "prompts")):
        assert not [name for name in imported(module) if name.startswith("prompts")]


def test_there_is_no_cycle() -> None:
    graph = {m: {n for n in imported(m) if n != "clip_core"} for m in MODULES if m != "clip_core"}
    while free := [module for module, names in graph.items() if not names & graph.keys()]:
        for module in free:
            del graph[module]
    assert graph == {}
