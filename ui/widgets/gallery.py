"""Sets of images on the page: galleries of thumbnails, tables to download, unreadable files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pyarrow as pa

from clip_core.batch.tables import FORMATS, TableWriter
from ui.service.export import fresh_directory
from ui.service.image_collection import Picture
from ui.service.question import shorten

from .render import render

SHOWN_AT_ONCE = 60
LONGEST_CAPTION = 40
PROBLEMS_SHOWN = 20
BUTTONS = {".csv": "Table as CSV", ".jsonl": "As JSON Lines", ".parquet": "As Parquet"}


def lay_out_gallery(name: str) -> gr.Gallery:
    """A gallery of thumbnails, filled by `gallery_items`."""
    return gr.Gallery(
        show_label=False,
        columns=6,
        height="auto",
        object_fit="contain",
        interactive=False,
        buttons=["fullscreen"],
        visible=False,
        elem_id=name,
        elem_classes=["theirs", "thumbnails"],
    )


def gallery_items(images: Sequence[Picture], captions: Sequence[str]) -> list[tuple[str, str]]:
    """Thumbnails, and what stands below each: its caption and the image's name."""
    return [
        (image.thumbnail, f"{caption} · {shorten(image.short_name, LONGEST_CAPTION)}")
        for image, caption in zip(images, captions, strict=True)
        if image.thumbnail
    ]


def lay_out_downloads(name: str) -> list[gr.DownloadButton]:
    """A button for each of `FORMATS`, hidden until `show_downloads`."""
    with gr.Row():
        return [
            gr.DownloadButton(
                BUTTONS[suffix],
                size="sm",
                visible=False,
                min_width=110,
                elem_id=f"{name}-{suffix[1:]}",
            )
            for suffix in FORMATS
        ]


def show_downloads(
    buttons: Sequence[gr.DownloadButton],
    folder: Path,
    name: str,
    types: Mapping[str, pa.DataType],
    columns: Mapping[str, Sequence[Any]],
) -> dict[Any, Any]:
    """Writes a table in each of `FORMATS`; the updates that offer the files.

    Raises QuestionError if the disk is full.
    """
    updates = {}
    with fresh_directory(folder) as directory:
        for button, suffix in zip(buttons, FORMATS, strict=True):
            path = directory / f"{name}{suffix}"
            with TableWriter(path, types) as table:
                table.write(columns)
            updates[button] = gr.update(value=str(path), visible=True)
    return updates


def draw_problems(images: Sequence[Picture]) -> str:
    """HTML: which images can't be read, and why; empty if all can."""
    bad = [(shorten(image.name), image.problem) for image in images if image.problem]
    if not bad:
        return ""
    return render(
        "problems",
        count=len(bad),
        problems=bad[:PROBLEMS_SHOWN],
        more=len(bad) - PROBLEMS_SHOWN,
    )
