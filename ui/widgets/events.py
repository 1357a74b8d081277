"""Settings of gradio events: who may call them, how they are queued, what shows while they run."""

from __future__ import annotations

from typing import Any

from ui.service.question import ON_MODEL

# No endpoint of the API
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# Runs in the browser, or so quickly that no progress need be shown
SILENT: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
# Needs no model, so it doesn't wait behind the events that do
INSTANT: dict[str, Any] = {**SILENT, "queue": False}
# Asks a model about the image on the page
QUEUED: dict[str, Any] = {
    **ON_MODEL,
    **PRIVATE,
    # Images come as uploaded, undecoded: our decoder knows more formats and has better errors
    "preprocess": False,
    # One at a time and in order, so that an old answer never follows a newer one
    "trigger_mode": "always_last",
    "show_progress": "minimal",
}
# Runs over many images, one run at a time: it shares the model with those who ask about one image
BATCH: dict[str, Any] = {
    **SILENT,
    "preprocess": False,
    "concurrency_id": "many",
    "concurrency_limit": 1,
}
