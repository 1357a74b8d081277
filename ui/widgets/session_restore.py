"""Session restore: the question on the page outlives a reload.

After a lost connection, gradio's page reloads itself as soon as the server answers, and what was
typed would be gone. The browser keeps it in the tab's session storage, which ends with the tab. Of
the image it keeps only the path of the upload on the server.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from ui.service.errors import QuestionError
from ui.service.uploaded import uploaded_path

from .events import SILENT
from .question_form import QuestionParts


def wire_session_restore(question: QuestionParts) -> None:
    """Saves the question in the browser whenever it changes."""
    fields: list[Any] = [
        question.picture,
        question.labels,
        question.template,
        question.custom,
        question.menu.model,
        question.framing,
    ]
    gr.on(
        [field.change for field in fields],
        None,
        [*fields, question.example],
        None,
        js="clip.saveQuestion",
        trigger_mode="multiple",
        **SILENT,
    )


def read_saved(text: str) -> tuple[dict[str, str], str | None]:
    """What `clip.saveQuestion` saved: the fields for `from_permalink`, and the image's path.

    It comes from a browser and may be anything: what `clip.saveQuestion` can't have written is left
    out.
    """
    try:
        saved: Any = json.loads(text)
        fields = {name: value for name, value in saved.items() if isinstance(value, str)}
    except (ValueError, AttributeError, RecursionError):
        return {}, None
    try:
        return fields, uploaded_path(saved.get("picture") or {})
    except (QuestionError, AttributeError):  # none, or deleted since
        return fields, None
