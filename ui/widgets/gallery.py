"""How sets of pictures are shown and handed out: galleries of thumbnails, and tables as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pyarrow as pa

from clip_core.batch.tables import FORMATS, TableWriter
from ui.service.export import fresh_directory
from ui.service.image_collection import Picture
from ui.service.question import shorten

SHOWN_AT_ONCE = 60
LONGEST_CAPTION = 40
PROBLEMS_SHOWN = 20
BUTTONS = {".csv": "Table as CSV", ".jsonl": "As JSON Lines", ".parquet": "As Parquet"}


def lay_out_gallery(name: str) -> gr.Gallery:
    """A gallery of thumbnails, filled by `items`."""
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


def items(pictures: Sequence[Picture], captions: Sequence[str]) -> list[tuple[str, str]]:
    """Thumbnails with what stands below each: a caption and the picture's name."""
    return [
        (picture.thumbnail, f"{caption} · {shorten(picture.short_name, LONGEST_CAPTION)}")
        for picture, caption in zip(pictures, captions, strict=True)
        if picture.thumbnail
    ]


def lay_out_downloads(name: str) -> list[gr.DownloadButton]:
    """A button for each of `FORMATS`, hidden until `write_tables` has made the files."""
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


def write_tables(
    folder: Path, name: str, types: Mapping[str, pa.DataType], columns: Mapping[str, Sequence[Any]]
) -> list[str]:
    """Writes a table in each of `FORMATS`, in a directory nobody can guess; the paths."""
    paths = []
    with fresh_directory(folder) as directory:
        for suffix in FORMATS:
            path = directory / f"{name}{suffix}"
            with TableWriter(path, types) as table:
                table.write(columns)
            paths.append(str(path))
    return paths


def draw_problems(pictures: Sequence[Picture]) -> str:
    """HTML: which pictures can't be read, and why; nothing when all can."""
    bad = [picture for picture in pictures if picture.problem]
    if not bad:
        return ""
    rows = "".join(
        f'<li><span translate="no">{escape(shorten(picture.name))}</span>: '
        f"<span>{escape(picture.problem or '')}</span></li>"
        for picture in bad[:PROBLEMS_SHOWN]
    )
    if len(bad) > PROBLEMS_SHOWN:
        rows += f"<li>… and {len(bad) - PROBLEMS_SHOWN:,} more</li>"
    one = len(bad) == 1
    said = "1 picture can’t be read" if one else f"{len(bad):,} pictures can’t be read"
    return f'<details class="note"><summary>{said}</summary><ul>{rows}</ul></details>'
