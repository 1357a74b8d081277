"""Updates of a handler that yields several: each holds those before it.

A browser may take several of the server's messages at once, and gradio's page (seen with 6.31)
applies each as a change of the last one's objects: of an update that the next message says nothing
about, nothing is left. The chart of an answer then came without its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec

Updates = dict[Any, Any]  # by component, as gradio takes them
P = ParamSpec("P")


def cumulative_updates(run: Callable[P, Iterator[Updates]]) -> Callable[P, Iterator[Updates]]:
    """A handler whose every update is whole."""

    @wraps(run)
    def run_whole(*args: P.args, **kwargs: P.kwargs) -> Iterator[Updates]:
        shown: Updates = {}
        for updates in run(*args, **kwargs):
            merge(shown, updates)
            yield fresh(shown)

    return run_whole


def merge(shown: Updates, updates: Updates) -> None:
    """Adds updates to those before: of one component what each says of it."""
    for component, update in updates.items():
        before = shown.get(component)
        both = isinstance(before, dict) and isinstance(update, dict)
        shown[component] = before | update if both else update


def fresh(updates: Updates) -> Updates:
    """The same updates, each a copy: gradio takes the value out of those that it has sent."""
    return {
        component: dict(update) if isinstance(update, dict) else update
        for component, update in updates.items()
    }
