"""The tab "Copies": near-duplicates among many images, and images unlike all others."""

from __future__ import annotations

from typing import Any

import gradio as gr
from torch import Tensor

from clip_core.batch.duplicates import (
    COLUMNS,
    LEAST_PICTURES,
    NEAR,
    NEAR_BY_APPEARANCE,
    Group,
    OddOne,
    find_near_copies,
    find_odd_ones,
    to_columns,
)
from ui.service.image_collection import ImageCollection, Kind, Picture
from ui.widgets.gallery import (
    SHOWN_AT_ONCE,
    gallery_items,
    lay_out_downloads,
    lay_out_gallery,
    show_downloads,
)
from ui.widgets.status_line import status_line

from .controls import BatchControls
from .session import BatchJob, Selection, Updates


def build_duplicates_tab(controls: BatchControls) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    threshold = gr.Slider(
        0.5,
        1.0,
        value=NEAR_BY_APPEARANCE,
        step=0.01,
        label="From this similarity on, two pictures count as one",
        info=f"{NEAR_BY_APPEARANCE} was measured for the bundled model; for others start at {NEAR}",
        elem_id="copies-threshold",
    )
    start = gr.Button("Look for copies", variant="primary", elem_id="copies-start")
    said = gr.HTML("", elem_id="copies-said", elem_classes="bare")
    copies = lay_out_gallery("copies-gallery")
    odd_said = gr.HTML("", elem_id="odd-said", elem_classes="bare")
    odd = lay_out_gallery("odd-gallery")
    files = lay_out_downloads("copies")

    def prepare(
        _: ImageCollection, selection: Selection, least: float
    ) -> tuple[list[Kind], tuple[Kind, float]]:
        kind = controls.session.kind(selection.model, selection.framing, appearance=True)
        return [kind], (kind, least)

    def show(collection: ImageCollection, request: tuple[Kind, float]) -> Updates:
        kind, least = request
        images, features = collection.encoded(kind), collection.features(kind)
        groups, odd_ones = find_near_copies(features, least), find_odd_ones(features)
        members = [
            (images[row], f"group {number} · {similarity:.2f}")
            for number, group in enumerate(groups, start=1)
            for row, similarity in zip(group.rows, closest(features, group), strict=True)
        ]
        names, contents = [image.name for image in images], [image.content for image in images]
        columns = to_columns(names, contents, groups, odd_ones)
        return {
            said: status_line(describe_groups(groups)),
            copies: fill(members),
            odd_said: status_line(describe_odd_ones(odd_ones, len(images))),
            odd: fill([(images[each.row], f"{each.similarity:.2f}") for each in odd_ones]),
            **show_downloads(files, controls.folder, "copies-and-odd-ones", COLUMNS, columns),
        }

    results = [said, copies, odd_said, odd, *files]
    controls.results += results
    controls.start_with(start, BatchJob(prepare, show), [threshold], results)


def closest(features: Tensor, group: Group) -> list[float]:
    """The similarity of each image of a group to the most similar other one.

    A group is a chain of pairs: its first image may be less similar than the threshold to its last.
    """
    rows = features[list(group.rows)]
    return (rows @ rows.T).fill_diagonal_(-1).amax(dim=1).tolist()


def fill(found: list[tuple[Picture, str]]) -> Any:
    """The update of a gallery that shows the first of these images, each with its caption."""
    shown = found[:SHOWN_AT_ONCE]
    value = gallery_items([image for image, _ in shown], [caption for _, caption in shown])
    return gr.update(value=value, visible=bool(shown))


def describe_groups(groups: list[Group]) -> str:
    """A sentence on how many copies there are."""
    if not groups:
        return "No copies: no two pictures are this similar."
    too_many = sum(len(group.rows) - 1 for group in groups)
    copies = "1 copy" if too_many == 1 else f"{too_many:,} copies"
    where = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    return (
        f"{copies} too many, in {where}. Below each picture stand its group and how similar the "
        f"most similar other is.{describe_cut(sum(len(group.rows) for group in groups))}"
    )


def describe_odd_ones(odd_ones: list[OddOne], count: int) -> str:
    """A sentence on how many of `count` images are unlike the others."""
    if count < LEAST_PICTURES:
        return f"Odd ones out are looked for among {LEAST_PICTURES} pictures or more."
    if not odd_ones:
        return "No odd ones out: each picture has others like it."
    return (
        f"{len(odd_ones):,} odd ones out, oddest first. Below each stands its mean similarity to "
        f"its nearest neighbours.{describe_cut(len(odd_ones))}"
    )


def describe_cut(count: int) -> str:
    """A sentence that not all of so many images are shown; empty if they are."""
    if count <= SHOWN_AT_ONCE:
        return ""
    return f" {SHOWN_AT_ONCE} of {count:,} are shown; the table has all."
