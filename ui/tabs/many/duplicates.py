"""The tab "Copies": copies and near-copies among many pictures, and those unlike the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
from torch import Tensor

from clip_core.batch.duplicates import (
    COLUMNS,
    LEAST_PICTURES,
    NEAR,
    NEAR_BY_APPEARANCE,
    Group,
    Outlier,
    find_near_copies,
    find_outliers,
    to_columns,
)
from ui.service.image_collection import ImageCollection, Picture
from ui.widgets.gallery import (
    SHOWN_AT_ONCE,
    items,
    lay_out_downloads,
    lay_out_gallery,
    write_tables,
)
from ui.widgets.status_line import status_line

if TYPE_CHECKING:
    from .session import ManyParts


def build_duplicates_tab(parts: ManyParts) -> None:
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

    def run(album: ImageCollection | None, *values: Any) -> Iterator[dict[Any, Any]]:
        *words, least = values
        chosen = parts.choose(words)
        kind = (chosen.model, chosen.framing, True)
        yield from parts.begin(album, kind)
        assert album is not None
        pictures, features = album.encoded(kind), album.features(kind)
        groups, odd_ones = find_near_copies(features, least), find_outliers(features)
        members = [
            (pictures[row], f"group {number} · {similarity:.2f}")
            for number, group in enumerate(groups, start=1)
            for row, similarity in zip(group.rows, closest(features, group), strict=True)
        ]
        names, contents = [p.name for p in pictures], [p.content for p in pictures]
        columns = to_columns(names, contents, groups, odd_ones)
        paths = write_tables(parts.folder, "copies-and-odd-ones", COLUMNS, columns)
        strange = [(pictures[each.row], f"{each.similarity:.2f}") for each in odd_ones]
        yield {
            said: status_line(describe_groups(groups)),
            copies: fill(members),
            odd_said: status_line(describe_odd_ones(odd_ones, len(pictures))),
            odd: fill(strange),
            **{
                file: gr.update(value=path, visible=True)
                for file, path in zip(files, paths, strict=True)
            },
        }

    results = [said, copies, odd_said, odd, *files]
    parts.results += results
    parts.on(start, run, [threshold], results)


def closest(features: Tensor, group: Group) -> list[float]:
    """How similar each picture of a group is to the one of the others that is most like it.

    A chain of pairs makes a group: its first may be less similar than the threshold to its last.
    """
    rows = features[list(group.rows)]
    return (rows @ rows.T).fill_diagonal_(-1).amax(dim=1).tolist()


def fill(found: list[tuple[Picture, str]]) -> Any:
    """The update of a gallery that shows the first of these pictures, each with a caption."""
    shown = found[:SHOWN_AT_ONCE]
    value = items([picture for picture, _ in shown], [caption for _, caption in shown])
    return gr.update(value=value, visible=bool(shown))


def describe_groups(groups: list[Group]) -> str:
    """How many copies there are."""
    if not groups:
        return "No copies: no two pictures are this similar."
    too_many = sum(len(group.rows) - 1 for group in groups)
    copies = "1 copy" if too_many == 1 else f"{too_many:,} copies"
    where = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    return (
        f"{copies} too many, in {where}. Below each picture stand its group and how similar the "
        f"most similar other is.{describe_cut(sum(len(group.rows) for group in groups))}"
    )


def describe_odd_ones(odd_ones: list[Outlier], count: int) -> str:
    """How many pictures are unlike the others."""
    if count < LEAST_PICTURES:
        return f"Odd ones out are looked for among {LEAST_PICTURES} pictures or more."
    if not odd_ones:
        return "No odd ones out: each picture has others like it."
    return (
        f"{len(odd_ones):,} odd ones out, oddest first. Below each stands its mean similarity to "
        f"its nearest neighbours.{describe_cut(len(odd_ones))}"
    )


def describe_cut(count: int) -> str:
    """That not all of so many pictures are shown; nothing where they are."""
    if count <= SHOWN_AT_ONCE:
        return ""
    return f" {SHOWN_AT_ONCE} of {count:,} are shown; the table has all."
