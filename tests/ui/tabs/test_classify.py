from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ui.service.model_pool import ModelPool
from ui.tabs.classify import build_classify_tab


@pytest.fixture
def answers(models: ModelPool) -> Any:
    """Asks as the page does, and gives the updates: by a component's elem_id, each."""
    with gr.Blocks() as page:
        build_classify_tab(models)
    [handler] = [
        function
        for function in page.fns.values()
        if any(output.elem_id == "csv" for output in function.outputs)
    ]

    def ask(seen: list[dict[str, Any]] | None = None, **asked: Any) -> list[dict[str, Any]]:
        inputs = [asked.get(str(each.elem_id), each.value) for each in handler.inputs]
        seen = [] if seen is None else seen
        for updates in handler.fn(*inputs):
            seen.append({str(component.elem_id): update for component, update in updates.items()})
        return seen

    return ask


def test_the_last_update_has_the_whole_answer(answers: Any, photo: dict[str, Any]) -> None:
    """A browser that is busy shows no other: gradio's messages are changes of one another."""
    updates = answers(**{"picture": photo, "labels": "horse\ncat\ntwo cats"})
    assert len(updates) == 3
    for earlier in updates:
        for update in earlier.values():
            if isinstance(update, dict):
                update.pop("value", None)  # as gradio does with what it has sent
    *_, last = answers(**{"picture": photo, "labels": "horse\ncat\ntwo cats"})
    assert "two cats" in last["chart"]
    assert Path(last["square"]).is_file()
    for name in ("csv", "json"):
        assert last[name]["visible"] is True
        assert Path(last[name]["value"]).is_file()
    assert last["table"]["visible"] is True
    assert len(last["table"]["value"]) == 3


def test_an_unforeseen_error_hides_the_answer_before(
    answers: Any, photo: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ui.tabs.classify.write_files", fail)
    seen: list[dict[str, Any]] = []
    with pytest.raises(ZeroDivisionError):  # for the log
        answers(seen, **{"picture": photo, "labels": "horse\ncat"})
    assert "Something went wrong here with this question: try again." in seen[-1]["chart"]
    for name in ("csv", "json", "table"):
        assert seen[-1][name]["visible"] is False


def test_what_is_missing_hides_the_answer_before(answers: Any, photo: dict[str, Any]) -> None:
    for _ in range(2):
        *_, last = answers(**{"picture": photo, "labels": ""})
        assert "Type at least two labels" in last["chart"]
        for name in ("csv", "json", "table"):
            assert last[name] == {"__type__": "update", "value": None, "visible": False}
            last[name].pop("value")
