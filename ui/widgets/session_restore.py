"""A question outlives its page: after a reload, by hand or by itself, it stands there again.

When the connection is lost gradio's page reloads itself as soon as the server answers, and what was
typed would be gone. It is kept in the tab's own session storage, which ends with the tab; of the
picture only where the server has it.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from ui.service.errors import QuestionError
from ui.service.question import CUSTOM
from ui.service.uploaded import uploaded_path

from .question_form import QuestionParts

# A page may go before it is told what was typed last: then the field itself is asked. A page in a
# frame of another site may be denied its storage
SAVE = f"""(picture, labels, template, custom, model, framing, example) => {{
  const store = (kept) => {{
    try {{ sessionStorage.setItem('clip-question', JSON.stringify(kept)); }} catch {{ }}
  }};
  if (!window.clipKept) window.addEventListener('pagehide', () => {{
    const field = document.querySelector('#labels textarea');
    store({{...window.clipKept, labels: field?.value ?? window.clipKept.labels}});
  }});
  window.clipKept = {{
    search: location.search, picture: picture && {{path: picture.path}}, labels,
    template: template === '{CUSTOM}' ? custom : template, model, framing, example}};
  store(window.clipKept);
}}"""
# Not where another link was opened, or the page for the first time
RESTORE = """() => {
  try {
    const [{type}] = performance.getEntriesByType('navigation');
    const kept = sessionStorage.getItem('clip-question') ?? '{}';
    const same = type !== 'navigate' && JSON.parse(kept).search === location.search;
    return [same ? kept : ''];
  } catch { return ['']; }
}"""


def wire_session_restore(question: QuestionParts) -> None:
    """Has the browser keep the question whenever it changes."""
    gr.on(
        [
            question.picture.change,
            question.labels.change,
            question.template.change,
            question.custom.change,
            question.menu.model.change,
            question.framing.change,
        ],
        None,
        [
            question.picture,
            question.labels,
            question.template,
            question.custom,
            question.menu.model,
            question.framing,
            question.example,
        ],
        None,
        js=SAVE,
        trigger_mode="multiple",
        show_progress="hidden",
        api_visibility="private",
    )


def read_saved(text: str) -> tuple[dict[str, str], str | None]:
    """What `SAVE` wrote: the fields that `links.from_permalink` takes, and where the picture lies.

    It comes from a browser and may be anything: what isn't as `SAVE` writes it is left out.
    """
    try:
        kept: Any = json.loads(text)
        fields = {name: value for name, value in kept.items() if isinstance(value, str)}
    except (ValueError, AttributeError, RecursionError):
        return {}, None
    try:
        return fields, uploaded_path(kept.get("picture") or {})
    except (QuestionError, AttributeError):  # none, or no longer here
        return fields, None
