"""The tab "Sort": which label fits each of many pictures best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from clip_core.batch.classify import COLUMNS, Ranking, rank, score_columns, to_columns
from clip_core.batch.inputs import InputItem
from clip_core.batch.pipeline import Embedding
from prompts import TemplateError, fill_all
from ui.service.errors import QuestionError
from ui.service.image_collection import ImageCollection, Picture
from ui.service.labels import LabelsError, parse_labels
from ui.service.question import Question, templates_for, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.chart import format_share
from ui.widgets.gallery import (
    SHOWN_AT_ONCE,
    items,
    lay_out_downloads,
    lay_out_gallery,
    write_tables,
)

if TYPE_CHECKING:
    from .session import Chosen, ManyParts

# What to show is a label's number, or one of these
ALL = -1
NONE = -2  # pictures that perhaps no label fits
SURE, UNSURE, BY_NAME = "sure", "unsure", "name"
ORDERS = [("surest first", SURE), ("least sure first", UNSURE), ("by name", BY_NAME)]
BARS = 12
COLUMNS_FOR_LABELS = 100  # with more labels, a table has no column for each


@dataclass(frozen=True)
class Sorted:
    """Pictures and how the labels fit them: rows of the ranking are the pictures', in order."""

    pictures: list[Picture]
    ranking: Ranking
    best: np.ndarray  # int [pictures]: the number of the best label
    shares: np.ndarray  # float32 [pictures]: its probability

    def chosen(self, which: int, order: str) -> np.ndarray:
        """The rows that a label's number, `ALL` or `NONE` asks for, in that order."""
        rows = np.arange(len(self.pictures))
        is_none = self.ranking.is_none
        if which == NONE and is_none is not None:
            rows = rows[is_none]
        elif which != ALL:
            rows = rows[self.best == which]
        if order == BY_NAME:
            return np.array(sorted(rows, key=lambda row: self.pictures[row].name), dtype=int)
        by_share = rows[np.argsort(self.shares[rows], kind="stable")]
        return by_share if order == UNSURE else by_share[::-1]


def build_sort_tab(parts: ManyParts, tab: gr.Tab) -> gr.Button:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them.

    tab: the one around all of this. Returns the button that takes the pictures' own labels, for
    the time when they have some.
    """
    labels, own_labels = _lay_out_labels(parts, tab)
    start = gr.Button("Sort the pictures", variant="primary", elem_id="sort-start")
    summary = gr.HTML("", elem_id="sort-summary", elem_classes="bare")
    with gr.Row(visible=False, elem_id="sort-choices") as choices:
        which = gr.Dropdown(
            label="Show",
            choices=[("all pictures", ALL)],
            value=ALL,
            elem_id="sort-which",
            min_width=160,
        )
        order_radio = gr.Radio(label="Order", choices=ORDERS, value=SURE, elem_id="sort-order")
    gallery = lay_out_gallery("sort-gallery")
    more = gr.Button("Show more", size="sm", visible=False, elem_id="sort-more")
    count = gr.State(SHOWN_AT_ONCE)
    files = lay_out_downloads("sort")
    last = gr.State(None)
    parts.results += [summary, choices, gallery, more, *files]

    @on_gpu
    def score(album: ImageCollection, chosen: Chosen, text: str | None) -> Sorted:
        return sort_album(parts, album, chosen, text)

    def show(found: Sorted | None, which: int, order: str, count: int) -> dict[Any, Any]:
        if found is None:
            return {gallery: gr.skip()}
        rows = found.chosen(which, order)
        shown = rows[:count]
        captions = [
            f"{found.ranking.labels[found.best[row]]} {format_share(found.shares[row])}"
            for row in shown
        ]
        left = len(rows) - len(shown)
        return {
            gallery: gr.update(
                value=items([found.pictures[row] for row in shown], captions),
                visible=True,
                selected_index=None,
            ),
            more: gr.update(visible=left > 0),
        }

    def run(album: ImageCollection | None, *values: Any) -> Iterator[dict[Any, Any]]:
        *words, text, order = values
        chosen = parts.choose(words)
        # Before the pictures are looked at: what is wrong with the labels is said at once
        prompts_for(chosen, text)
        found: Sorted | None = None
        for report in parts.begin(album, chosen.kind):
            assert album is not None
            update = dict(report)
            if album.encoded(chosen.kind):
                found = score(album, chosen, text)
                update |= {last: found, count: SHOWN_AT_ONCE, summary: draw_summary(found)}
                update |= show(found, ALL, order, SHOWN_AT_ONCE)
                # Not to be changed while each report shows all pictures, in this order
                update |= {
                    choices: gr.update(visible=True),
                    which: gr.update(**offer(found), interactive=False),
                    order_radio: gr.update(value=order, interactive=False),
                    more: gr.update(visible=False),
                }
            yield update
        assert album is not None
        assert found is not None
        columns, types = tabulate(found)
        paths = write_tables(parts.folder, f"sorted-{len(found.pictures)}-pictures", types, columns)
        yield {
            which: gr.update(**offer(found), interactive=True),
            order_radio: gr.update(value=order, interactive=True),
            **show(found, ALL, order, SHOWN_AT_ONCE),
            **{
                file: gr.update(value=path, visible=True)
                for file, path in zip(files, paths, strict=True)
            },
        }

    parts.on(
        start,
        run,
        [labels, order_radio],
        [last, count, summary, choices, which, order_radio, gallery, more, *files],
    )
    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }

    def choose(found: Sorted | None, which: int, order: str) -> dict[Any, Any]:
        return show(found, which, order, SHOWN_AT_ONCE) | {count: SHOWN_AT_ONCE}

    gr.on(
        [which.input, order_radio.input],
        choose,
        [last, which, order_radio],
        [gallery, more, count],
        **quick,
    )

    def show_more(
        found: Sorted | None, which: int, order: str, count_before: int
    ) -> dict[Any, Any]:
        wanted = count_before + SHOWN_AT_ONCE
        return show(found, which, order, wanted) | {count: wanted}

    more.click(show_more, [last, which, order_radio, count], [gallery, more, count], **quick)
    return own_labels


def _lay_out_labels(parts: ManyParts, tab: gr.Tab) -> tuple[gr.Textbox, gr.Button]:
    """The labels, which are those under Classify, and a button that takes the pictures' own."""
    labels = gr.Textbox(
        label="Labels: one a line, or on one line with commas",
        info="The same as under Classify",
        lines=4,
        max_lines=4,
        elem_id="many-labels",
    )
    own = gr.Button("Use the pictures’ labels", size="sm", visible=False, elem_id="sort-own-labels")
    question = parts.question
    alike = [question.labels, question.typed_labels]
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    tab.select(None, question.labels, labels, js="(labels) => labels", **quick)
    labels.blur(None, labels, alike, js="(labels) => [labels, labels]", **quick)

    def take(album: ImageCollection | None) -> list[str]:
        return ["\n".join(album.labels if album else [])] * 3

    own.click(take, parts.album, [labels, *alike], queue=False, **quick)
    return labels, own


def prompts_for(chosen: Chosen, text: str | None) -> tuple[tuple[str, ...], list[list[str]]]:
    """Labels as typed, and their prompts. Raises QuestionError, with one sentence."""
    try:
        labels = parse_labels(text).labels
        if not labels:
            raise QuestionError("Type at least two labels to sort by.")
        return labels, fill_all(templates_for(chosen.template), labels)
    except (LabelsError, TemplateError) as error:
        raise QuestionError(str(error)) from error


def sort_album(
    parts: ManyParts, album: ImageCollection, chosen: Chosen, text: str | None
) -> Sorted:
    """How labels fit the pictures that are encoded. Raises QuestionError, with one sentence."""
    labels, prompts = prompts_for(chosen, text)
    asked = Question("", "", labels, chosen.template, prompts, chosen.model)
    pictures = album.encoded(chosen.kind)
    features = album.features(chosen.kind)
    with translate_errors(asked), parts.models.use(chosen.model) as classifier:
        ranking = rank(classifier, features, classifier.label_features(prompts), labels)
    best = ranking.order()[:, 0]
    return Sorted(pictures, ranking, best, ranking.probabilities[np.arange(len(best)), best])


def tabulate(found: Sorted) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The columns of a table of all pictures, and their types."""
    rows = [
        Embedding(InputItem(p.name, p.path), p.content, next(iter(p.features.values())), None, True)
        for p in found.pictures
    ]
    each = len(found.ranking.labels) <= COLUMNS_FOR_LABELS
    types = COLUMNS | (score_columns(found.ranking.labels) if each else {})
    return to_columns(rows, found.ranking, each), types


def offer(found: Sorted) -> dict[str, Any]:
    """The choices of what to show: each label with its number of pictures."""
    counts = np.bincount(found.best, minlength=len(found.ranking.labels))
    choices = [(f"all pictures ({len(found.pictures):,})", ALL)]
    is_none = found.ranking.is_none
    if is_none is not None and is_none.any():
        choices.append((f"perhaps none of these ({int(is_none.sum()):,})", NONE))
    choices += [
        (f"{found.ranking.labels[i]} ({counts[i]:,})", i)
        for i in np.argsort(-counts, kind="stable").tolist()
        if counts[i]
    ]
    return {"choices": choices, "value": ALL}


def draw_summary(found: Sorted) -> str:
    """HTML: how many pictures each label won, as bars, most first."""
    counts = np.bincount(found.best, minlength=len(found.ranking.labels))
    order: Sequence[int] = np.argsort(-counts, kind="stable").tolist()
    largest = max(int(counts.max()), 1)
    rows = "".join(
        f'<div class="row"><div class="words"><span class="label" translate="no">'
        f'{escape(found.ranking.labels[i])}</span><span class="share">{counts[i]:,}</span></div>'
        f'<div class="track"><div class="bar" style="width:{100 * counts[i] / largest:.2f}%">'
        "</div></div></div>"
        for i in order[:BARS]
    )
    left = len(order) - BARS
    more = f'<div class="more">{left:,} more labels.</div>' if left > 0 else ""
    return f'<div class="chart counts">{rows}{more}</div>'
