"""Theme of the page. The rules that a theme can't express are in static/style.css."""

from __future__ import annotations

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
).set(
    body_text_color_subdued="*neutral_500",  # the default is too pale to read on white
    error_text_color_dark="#fca5a5",  # the default is white, like any other text
    # One step darker than the default: white on the default indigo has a contrast of 4.46, below AA
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)
