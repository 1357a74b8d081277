"""The tab "Many pictures": sorts and searches many images, and compares prompts on them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from ui.service.image_collection import ImageCollection
from ui.service.inference import Inference
from ui.service.limits import LIMITS
from ui.service.question import shorten
from ui.widgets.events import SILENT
from ui.widgets.question_form import QuestionParts
from ui.widgets.status_line import status_line

from .best_prompt import build_best_prompt_tab
from .controls import BatchControls
from .duplicates import build_duplicates_tab
from .find import build_find_tab
from .session import BatchSession, Updates
from .sort import build_sort_tab


def build_many_tab(inference: Inference, question: QuestionParts, tab: gr.Tab) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    controls = BatchControls(BatchSession(inference), question)
    with gr.Tabs(elem_id="many"):
        with gr.Tab("Sort", id="sort"):
            own_labels = build_sort_tab(controls, tab)
        with gr.Tab("Find", id="find"):
            build_find_tab(controls)
        with gr.Tab("Copies", id="copies"):
            build_duplicates_tab(controls)
        with gr.Tab("Best prompt", id="best-prompt"):
            build_best_prompt_tab(controls)
    controls.wire()

    def take(collection: ImageCollection | None, files: Any) -> Updates:
        if collection is None:
            # A folder for this visitor alone, where gradio deletes files that are a day old
            controls.folder.mkdir(parents=True, exist_ok=True)
            collection = ImageCollection(Path(tempfile.mkdtemp(dir=controls.folder)))
        collection.stopping = True  # a run over the images that were there
        collection.take(files)
        return {
            controls.collection: collection,
            controls.progress: describe(collection),
            controls.problems: "",
            own_labels: gr.update(visible=bool(collection.labels)),
            **controls.hide(controls.results),
        }

    controls.files.change(
        take,
        [controls.collection, controls.files],
        [
            controls.collection,
            controls.progress,
            controls.problems,
            own_labels,
            *controls.results,
        ],
        preprocess=False,
        concurrency_id="many-files",
        concurrency_limit=4,
        **SILENT,
    )


def describe(collection: ImageCollection) -> str:
    """HTML: how many images there are, what was left out, and what is wrong."""
    count = len(collection.pictures)
    said = []
    if count:
        said.append("1 picture." if count == 1 else f"{count:,} pictures.")
    if collection.left_out:
        said.append(
            f"{collection.left_out:,} more are left out: the page takes {LIMITS.pictures:,}."
        )
    if collection.labels:
        said.append(f"They are labelled, with {len(collection.labels):,} labels.")
    for name, (named, rows) in collection.tables.items():
        table = shorten(name)
        if count:
            said.append(f"{named:,} of {rows:,} rows of {table} name one of these pictures.")
        else:
            said.append(f"Drop the pictures that {table} names, too.")
    wrong = "".join(status_line(problem, problem=True) for problem in collection.problems)
    return (status_line(" ".join(said)) if said else "") + wrong
