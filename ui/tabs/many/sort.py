"""The tab "Sort": which label fits each of many images best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from clip_core.batch.classify import COLUMNS, Ranking, score_columns, to_columns
from clip_core.batch.inputs import InputItem
from clip_core.batch.pipeline import Embedding
from prompts import TemplateError, fill_all
from ui.service.errors import QuestionError
from ui.service.image_collection import ImageCollection, Kind, Picture
from ui.service.inference import Inference
from ui.service.labels import LabelsError, parse_labels
from ui.service.question import templates_for
from ui.widgets.events import INSTANT, SILENT
from ui.widgets.gallery import (
    SHOWN_AT_ONCE,
    gallery_items,
    lay_out_downloads,
    lay_out_gallery,
    show_downloads,
)
from ui.widgets.render import format_share, render

from .controls import BatchControls
from .session import BatchJob, Selection, Updates

# Which images to show: those of a label, by its number, or one of these
ALL = -1
NONE = -2  # images that perhaps no label fits
SURE, UNSURE, BY_NAME = "sure", "unsure", "name"
ORDERS = [("surest first", SURE), ("least sure first", UNSURE), ("by name", BY_NAME)]
BARS = 12
COLUMNS_FOR_LABELS = 100  # with more labels, the tables have no column for each


class SortRequest(NamedTuple):
    """What to sort by, and the order in which to show the result."""

    model: str
    kind: Kind
    labels: tuple[str, ...]
    prompts: list[list[str]]
    order: str


@dataclass(frozen=True)
class SortResult:
    """How well labels fit images. The rows of the ranking are the images, in order."""

    images: list[Picture]
    ranking: Ranking
    best: np.ndarray  # int [images]: the number of the best label
    shares: np.ndarray  # float32 [images]: its probability

    def rows(self, which: int, order: str) -> np.ndarray:
        """The rows of the images to show. which: a label's number, `ALL` or `NONE`."""
        rows = np.arange(len(self.images))
        is_none = self.ranking.is_none
        if which == NONE and is_none is not None:
            rows = rows[is_none]
        elif which != ALL:
            rows = rows[self.best == which]
        if order == BY_NAME:
            return np.array(sorted(rows, key=lambda row: self.images[row].name), dtype=int)
        by_share = rows[np.argsort(self.shares[rows], kind="stable")]
        return by_share if order == UNSURE else by_share[::-1]

    def counts(self) -> list[tuple[int, int]]:
        """Each label's number and how many images it won, most first."""
        counts = np.bincount(self.best, minlength=len(self.ranking.labels))
        return [(i, int(counts[i])) for i in np.argsort(-counts, kind="stable").tolist()]


@dataclass(frozen=True)
class SortView:
    """A result, and what the visitor sees of it: which images, in what order, how many."""

    result: SortResult
    which: int = ALL
    order: str = SURE
    count: int = SHOWN_AT_ONCE

    def items(self) -> tuple[list[tuple[str, str]], bool]:
        """The images for a gallery, and whether there are more."""
        rows = self.result.rows(self.which, self.order)
        images, ranking = self.result.images, self.result.ranking
        captions = [
            f"{ranking.labels[self.result.best[row]]} {format_share(self.result.shares[row])}"
            for row in rows[: self.count]
        ]
        shown = [images[row] for row in rows[: self.count]]
        return gallery_items(shown, captions), len(rows) > self.count


class SortParts(NamedTuple):
    """The components that show a result."""

    summary: gr.HTML
    choices: gr.Row
    which: gr.Dropdown
    order: gr.Radio
    gallery: gr.Gallery
    more: gr.Button
    files: list[gr.DownloadButton]
    view: gr.State  # a SortView, once there is a result

    def show(self, view: SortView) -> Updates:
        """The updates that show a view."""
        items, has_more = view.items()
        return {
            self.view: view,
            self.gallery: gr.update(value=items, visible=True, selected_index=None),
            self.more: gr.update(visible=has_more),
        }

    def show_choices(self, view: SortView, interactive: bool) -> Updates:
        """The updates of the menus for which images to show, and in what order."""
        choices = offer(view.result)
        return {
            self.choices: gr.update(visible=True),
            self.which: gr.update(choices=choices, value=view.which, interactive=interactive),
            self.order: gr.update(value=view.order, interactive=interactive),
        }


def build_sort_tab(controls: BatchControls, tab: gr.Tab) -> gr.Button:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them.

    tab: the one around all of this. Returns the button that takes the images' own labels, to be
    shown when they have some.
    """
    labels, own_labels = _lay_out_labels(controls, tab)
    start = gr.Button("Sort the pictures", variant="primary", elem_id="sort-start")
    parts = _lay_out_result()
    session = controls.session

    def prepare(
        _: ImageCollection, selection: Selection, text: str | None, order: str
    ) -> tuple[list[Kind], SortRequest]:
        kind = session.kind(selection.model, selection.framing)
        wanted, prompts = prompts_for(selection.template, text)
        return [kind], SortRequest(selection.model, kind, wanted, prompts, order)

    def preview(collection: ImageCollection, request: SortRequest) -> Updates:
        view = SortView(sort_collection(session.inference, collection, request), ALL, request.order)
        return {
            parts.summary: draw_summary(view.result),
            **parts.show(view),
            # Each step shows all images again: no choice would last
            **parts.show_choices(view, interactive=False),
            parts.more: gr.update(visible=False),
        }

    def show(collection: ImageCollection, request: SortRequest) -> Updates:
        view = SortView(sort_collection(session.inference, collection, request), ALL, request.order)
        columns, types = tabulate(view.result)
        name = f"sorted-{len(view.result.images)}-pictures"
        return {
            parts.summary: draw_summary(view.result),
            **parts.show(view),
            **parts.show_choices(view, interactive=True),
            **show_downloads(parts.files, controls.folder, name, types, columns),
        }

    results: list[Any] = [parts.summary, parts.choices, parts.gallery, parts.more, *parts.files]
    controls.results += results
    outputs = [parts.view, parts.which, parts.order, *results]
    controls.start_with(start, BatchJob(prepare, show, preview), [labels, parts.order], outputs)
    _wire_view(parts)
    return own_labels


def _lay_out_labels(controls: BatchControls, tab: gr.Tab) -> tuple[gr.Textbox, gr.Button]:
    """The labels, which are those under Classify, and a button that takes the images' own."""
    labels = gr.Textbox(
        label="Labels: one a line, or on one line with commas",
        info="The same as under Classify",
        lines=4,
        max_lines=4,
        elem_id="many-labels",
    )
    own = gr.Button("Use the pictures’ labels", size="sm", visible=False, elem_id="sort-own-labels")
    question = controls.question
    under_classify = [question.labels, question.typed_labels]
    tab.select(None, question.labels, labels, js="(labels) => labels", **SILENT)
    labels.blur(None, labels, under_classify, js="clip.shareLabels", **SILENT)

    def take(collection: ImageCollection | None) -> list[str]:
        return ["\n".join(collection.labels if collection else [])] * 3

    own.click(take, controls.collection, [labels, *under_classify], **INSTANT)
    return labels, own


def _lay_out_result() -> SortParts:
    summary = gr.HTML("", elem_id="sort-summary", elem_classes="bare")
    with gr.Row(visible=False, elem_id="sort-choices") as choices:
        which = gr.Dropdown(
            label="Show",
            choices=[("all pictures", ALL)],
            value=ALL,
            elem_id="sort-which",
            min_width=160,
        )
        order = gr.Radio(label="Order", choices=ORDERS, value=SURE, elem_id="sort-order")
    gallery = lay_out_gallery("sort-gallery")
    more = gr.Button("Show more", size="sm", visible=False, elem_id="sort-more")
    files = lay_out_downloads("sort")
    return SortParts(summary, choices, which, order, gallery, more, files, gr.State(None))


def _wire_view(parts: SortParts) -> None:
    """Shows other images of the last result, or more of them, as the visitor chooses."""

    def choose(view: SortView | None, which: int, order: str) -> Updates:
        if view is None:
            return {parts.gallery: gr.skip()}
        return parts.show(SortView(view.result, which, order))

    def show_more(view: SortView | None) -> Updates:
        if view is None:
            return {parts.gallery: gr.skip()}
        return parts.show(replace(view, count=view.count + SHOWN_AT_ONCE))

    outputs = [parts.view, parts.gallery, parts.more]
    chosen = [parts.which.input, parts.order.input]
    gr.on(chosen, choose, [parts.view, parts.which, parts.order], outputs, **INSTANT)
    parts.more.click(show_more, parts.view, outputs, **INSTANT)


def prompts_for(template: str, text: str | None) -> tuple[tuple[str, ...], list[list[str]]]:
    """Labels as typed, and their prompts. Raises QuestionError, with one sentence."""
    try:
        labels = parse_labels(text).labels
        if not labels:
            raise QuestionError("Type at least two labels to sort by.")
        return labels, fill_all(templates_for(template), labels)
    except (LabelsError, TemplateError) as error:
        raise QuestionError(str(error)) from error


def sort_collection(
    inference: Inference, collection: ImageCollection, request: SortRequest
) -> SortResult:
    """How well the labels fit the images that are encoded. Raises QuestionError."""
    images, features = collection.encoded(request.kind), collection.features(request.kind)
    ranking = inference.rank(request.model, features, request.labels, request.prompts)
    best = ranking.order()[:, 0]
    return SortResult(images, ranking, best, ranking.probabilities[np.arange(len(best)), best])


def tabulate(result: SortResult) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The columns of a table of all images, and their types."""
    rows = [
        Embedding(
            InputItem(image.name, image.path),
            image.content,
            next(iter(image.features.values())),
            None,
            True,
        )
        for image in result.images
    ]
    each = len(result.ranking.labels) <= COLUMNS_FOR_LABELS
    types = COLUMNS | (score_columns(result.ranking.labels) if each else {})
    return to_columns(rows, result.ranking, each), types


def offer(result: SortResult) -> list[tuple[str, int]]:
    """The choices of which images to show: each label with the number of its images."""
    choices = [(f"all pictures ({len(result.images):,})", ALL)]
    is_none = result.ranking.is_none
    if is_none is not None and is_none.any():
        choices.append((f"perhaps none of these ({int(is_none.sum()):,})", NONE))
    labels = result.ranking.labels
    return choices + [(f"{labels[i]} ({count:,})", i) for i, count in result.counts() if count]


def draw_summary(result: SortResult) -> str:
    """HTML: how many images each label won, as bars, most first."""
    counts = result.counts()
    largest = max(counts[0][1], 1)
    rows = [(result.ranking.labels[i], count, count / largest) for i, count in counts[:BARS]]
    return render("counts", rows=rows, more=len(counts) - BARS)
