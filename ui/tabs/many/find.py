"""The tab "Find": images ranked by a phrase, by another image, or by one minus another."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from torch import Tensor

from clip_core.batch.search import nearest
from prompts import TemplateError, fill_all
from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import STOPPED, ImageCollection, Kind, Picture
from ui.service.inference import Inference
from ui.service.labels import strip_control_characters
from ui.service.question import shorten, templates_for
from ui.widgets.events import INSTANT, PRIVATE
from ui.widgets.gallery import LONGEST_CAPTION, gallery_items, lay_out_gallery

from .controls import BatchControls
from .session import BatchJob, Selection, Updates

TOP = 24
LONGEST_PHRASE = 300
PICK_FIRST = "More like a picture: click one first"


class Search(NamedTuple):
    """What to search for. like: an image to find others like it; None to go by the phrase."""

    selection: Selection
    kind: Kind
    phrase: str
    minus: str
    like: Picture | None = None


def build_find_tab(controls: BatchControls) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    with gr.Row():
        phrase = gr.Textbox(
            label="Look for",
            placeholder="a dog on a beach",
            max_length=LONGEST_PHRASE,
            elem_id="find-phrase",
            scale=3,
            min_width=200,
        )
        minus = gr.Textbox(
            label="but not",
            info="left empty: nothing is taken away",
            max_length=LONGEST_PHRASE,
            elem_id="find-minus",
            scale=2,
            min_width=160,
        )
    start = gr.Button("Find", variant="primary", elem_id="find-start")
    gallery = lay_out_gallery("find-gallery")
    like = gr.Button(PICK_FIRST, size="sm", visible=False, interactive=False, elem_id="find-like")
    shown = gr.State([])  # the images in the gallery
    session = controls.session
    controls.results += [gallery, like]

    def prepare_phrase(
        _: ImageCollection, selection: Selection, phrase: str | None, minus: str | None
    ) -> tuple[list[Kind], Search]:
        if not (phrase or "").strip():
            raise QuestionError("Type what to look for.")
        kind = session.kind(selection.model, selection.framing)
        return [kind], Search(selection, kind, phrase or "", minus or "")

    def prepare_like(
        collection: ImageCollection, selection: Selection, minus: str | None
    ) -> tuple[list[Kind], Search]:
        if collection.picked is None:
            raise QuestionError("This picture is no longer here: choose another.")
        kind = session.kind(selection.model, selection.framing)
        return [kind], Search(selection, kind, "", minus or "", collection.picked)

    def show(collection: ImageCollection, search: Search) -> Updates:
        scores, rows = search_collection(session.inference, collection, search)
        images = collection.encoded(search.kind)
        found = [images[row] for row in rows]
        captions = [f"{place}. {score:.3f}" for place, score in enumerate(scores, start=1)]
        collection.picked = None
        return {
            gallery: gr.update(
                value=gallery_items(found, captions), visible=True, selected_index=None
            ),
            shown: found,
            like: gr.update(value=PICK_FIRST, visible=True),
        }

    outputs = [gallery, shown, like]
    controls.start_with(start, BatchJob(prepare_phrase, show), [phrase, minus], outputs)
    controls.start_with(
        like,
        BatchJob(prepare_like, show),
        [minus],
        outputs,
        is_ready=lambda collection: collection.picked is not None,
    )
    # Else the next images would come with one of them enlarged
    gr.on([start.click, like.click], None, js="() => clip.closePreview('find-gallery')", **PRIVATE)
    # Enter presses the button, which is disabled during a run
    press = "() => clip.press('find-start')"
    gr.on([phrase.submit, minus.submit], None, js=press, **PRIVATE)

    def pick(collection: ImageCollection, shown: list[Picture], chosen: gr.SelectData) -> Any:
        collection.picked = shown[chosen.index]
        name = shorten(collection.picked.short_name, LONGEST_CAPTION)
        return gr.update(value=f"More like {name}", interactive=True)

    gallery.select(pick, [controls.collection, shown], like, **INSTANT)


def search_collection(
    inference: Inference, collection: ImageCollection, search: Search
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the encoded images that fit best. Raises QuestionError."""
    phrases = [strip_control_characters(search.phrase).strip()] if search.like is None else []
    others = [strip_control_characters(search.minus).strip()] if search.minus.strip() else []
    for text in (*phrases, *others):
        if len(text) > LONGEST_PHRASE:  # the fields hold no more, but requests may
            raise QuestionError(
                f"The phrase “{shorten(text)}” has {len(text):,} characters: shorten it."
            )
    try:
        templates = templates_for(search.selection.template)
    except TemplateError as error:
        raise QuestionError(str(error)) from error
    query = inference.query(
        search.selection.model,
        dict(zip(phrases, fill_all(templates, phrases), strict=True)),
        dict(zip(others, fill_all(templates, others), strict=True)),
        _features_of(search.like, search.kind),
    )
    return nearest(collection.features(search.kind), query, TOP)


def _features_of(image: Picture | None, kind: Kind) -> Tensor | None:
    """The features of the image that was picked. Raises QuestionError if it has none."""
    if image is None:
        return None
    if kind not in image.features:
        raise QuestionError(image.problem) if image.problem else IncompleteError(STOPPED)
    return image.features[kind]
