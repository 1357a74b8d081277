from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ui.service.errors import SOMETHING_WENT_WRONG, IncompleteError, QuestionError
from ui.service.inference import Inference
from ui.service.model_pool import ModelPool
from ui.tabs.classify import AnswerView, build_classify_tab


@pytest.fixture
def answers(models: ModelPool) -> Any:
    """Asks as the page does, and gives the updates: by a component's elem_id, each."""
    with gr.Blocks() as page:
        build_classify_tab(Inference(models))
    [handler] = [
        function
        for function in page.fns.values()
        if any(output.elem_id == "csv" for output in function.outputs)
    ]

    def ask(**asked: Any) -> list[dict[str, Any]]:
        inputs = [asked.get(str(each.elem_id), each.value) for each in handler.inputs]
        return [
            {str(component.elem_id): update for component, update in updates.items()}
            for updates in handler.fn(*inputs)
        ]

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
    answers: Any,
    photo: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ui.tabs.classify.write_files", fail)
    *_, last = answers(**{"picture": photo, "labels": "horse\ncat"})
    assert "ZeroDivisionError" in caplog.text
    assert SOMETHING_WENT_WRONG in last["chart"]
    for name in ("csv", "json", "table"):
        assert last[name]["visible"] is False


def test_what_is_missing_hides_the_answer_before(answers: Any, photo: dict[str, Any]) -> None:
    for _ in range(2):
        *_, last = answers(**{"picture": photo, "labels": ""})
        assert "Type at least two labels" in last["chart"]
        for name in ("csv", "json", "table"):
            assert last[name] == {"__type__": "update", "value": None, "visible": False}
            last[name].pop("value")


def test_one_answer_has_one_token_until_the_next() -> None:
    """The tabs beside the answer are filled anew when it changes."""
    view = AnswerView("bundled")
    assert replace(view, chart="<div>").token == view.token
    assert AnswerView("bundled").token != view.token


@pytest.mark.parametrize(
    ("error", "kind"), [(QuestionError("<b>"), "problem"), (IncompleteError("<b>"), "empty")]
)
def test_a_problem_replaces_the_answer_but_not_the_image(error: QuestionError, kind: str) -> None:
    view = AnswerView("bundled", square="a.png", csv_path="a.csv", hints=["x"], contrast="y")
    shown = view.with_problem(error)
    assert (shown.square, shown.token) == ("a.png", view.token)
    assert (shown.csv_path, shown.table, shown.hints, shown.contrast) == (None, None, [], None)
    assert f'class="{kind}">&lt;b&gt;<' in str(shown.chart)
