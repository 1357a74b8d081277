from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import gradio as gr

from ui.widgets.cumulative import cumulative_updates


def test_each_update_holds_those_before_it_whatever_becomes_of_them() -> None:
    @cumulative_updates
    def run(label: str) -> Iterator[dict[Any, Any]]:
        yield {"table": gr.update(value=[label], visible=True), "chart": "first"}
        yield {"chart": "second"}
        yield {"table": gr.update(visible=False)}

    seen = []
    for updates in run("cat"):
        seen.append(copy.deepcopy(updates))
        updates["table"].pop("value")  # as gradio does with what it has sent
    assert seen == [
        {"table": gr.update(value=["cat"], visible=True), "chart": "first"},
        {"table": gr.update(value=["cat"], visible=True), "chart": "second"},
        {"table": gr.update(value=["cat"], visible=False), "chart": "second"},
    ]
