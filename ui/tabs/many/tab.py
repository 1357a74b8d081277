"""The tab "Many pictures": a set of pictures that is sorted, searched, and used to compare prompts.

What the tabs within it share: the pictures, the labels, how far the model is, and how to stop it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from ui.service.image_collection import ImageCollection
from ui.service.limits import LIMITS
from ui.service.model_pool import ModelPool
from ui.service.question import shorten
from ui.widgets.question_form import QuestionParts
from ui.widgets.status_line import status_line

from .best_prompt import build_best_prompt_tab
from .duplicates import build_duplicates_tab
from .find import build_find_tab
from .session import ManyParts, _made
from .sort import build_sort_tab


def build_many_tab(models: ModelPool, question: QuestionParts, tab: gr.Tab) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    parts = ManyParts(models, question)
    with gr.Tabs(elem_id="many"):
        with gr.Tab("Sort", id="sort"):
            own_labels = build_sort_tab(parts, tab)
        with gr.Tab("Find", id="find"):
            build_find_tab(parts)
        with gr.Tab("Copies", id="copies"):
            build_duplicates_tab(parts)
        with gr.Tab("Best prompt", id="best-prompt"):
            build_best_prompt_tab(parts)
    parts.wire()

    def take(album: ImageCollection | None, files: Any) -> dict[Any, Any]:
        # A folder of the visitor's own, where gradio deletes what is a day old
        album = album or ImageCollection(Path(tempfile.mkdtemp(dir=_made(parts.folder))))
        album.stopping = True  # a run over the pictures that were there
        album.take(files)
        return {
            parts.album: album,
            parts.progress: describe(album),
            parts.problems: "",
            own_labels: gr.update(visible=bool(album.labels)),
            **parts.hide(parts.results),
        }

    parts.files.change(
        take,
        [parts.album, parts.files],
        [parts.album, parts.progress, parts.problems, own_labels, *parts.results],
        preprocess=False,
        concurrency_id="many-files",
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility="private",
    )


def describe(album: ImageCollection) -> str:
    """HTML: how many pictures there are, what was left out, and what is wrong."""
    count = len(album.pictures)
    said = []
    if count:
        said.append("1 picture." if count == 1 else f"{count:,} pictures.")
    if album.left_out:
        said.append(f"{album.left_out:,} more are left out: the page takes {LIMITS.pictures:,}.")
    if album.labels:
        said.append(f"They are labelled, with {len(album.labels):,} labels.")
    for name, (named, rows) in album.tables.items():
        table = shorten(name)
        if count:
            said.append(f"{named:,} of {rows:,} rows of {table} name one of these pictures.")
        else:
            said.append(f"Drop the pictures that {table} names, too.")
    wrong = "".join(status_line(problem, problem=True) for problem in album.problems)
    return (status_line(" ".join(said)) if said else "") + wrong
