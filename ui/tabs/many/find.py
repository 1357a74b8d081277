"""The tab "Find": pictures ranked by a phrase, by another picture, or by one less another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from torch import Tensor

from clip_core.batch.search import make_query, nearest
from prompts import TemplateError, fill_all
from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import STOPPED, ImageCollection, Picture
from ui.service.labels import strip_control_characters
from ui.service.question import Question, shorten, templates_for, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.gallery import LONGEST_CAPTION, items, lay_out_gallery

if TYPE_CHECKING:
    from .session import Chosen, ManyParts

TOP = 24
LONGEST_PHRASE = 300
CLOSE_PREVIEW = """() => document.querySelector('#find-gallery .preview')?.dispatchEvent(
  new KeyboardEvent('keydown', { code: 'Escape', bubbles: true }))"""
PICK_FIRST = "More like a picture: click one first"


def build_find_tab(parts: ManyParts) -> None:
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
    shown = gr.State([])  # the pictures in the gallery
    parts.results += [gallery, like]

    @on_gpu
    def search(
        album: ImageCollection, chosen: Chosen, phrase: str, minus: str, like: Tensor | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return search_album(parts, album, chosen, phrase, minus, like)

    def run(
        album: ImageCollection | None,
        words: Sequence[Any],
        phrase: str,
        minus: str,
        picked: Picture | None,
    ) -> Iterator[dict[Any, Any]]:
        chosen = parts.choose(words)
        yield from parts.begin(album, chosen.kind)
        assert album is not None
        if picked is not None and chosen.kind not in picked.features:
            raise QuestionError(picked.problem) if picked.problem else IncompleteError(STOPPED)
        features = None if picked is None else picked.features[chosen.kind]
        scores, rows = search(album, chosen, phrase, minus, features)
        pictures = album.encoded(chosen.kind)
        found = [pictures[row] for row in rows]
        captions = [f"{place}. {score:.3f}" for place, score in enumerate(scores, start=1)]
        album.picked = None
        yield {
            gallery: gr.update(value=items(found, captions), visible=True, selected_index=None),
            shown: found,
            like: gr.update(value=PICK_FIRST, visible=True),
        }

    def by_words(album: ImageCollection | None, *values: Any) -> Iterator[dict[Any, Any]]:
        *words, phrase, minus = values
        if not (phrase or "").strip():
            raise QuestionError("Type what to look for.")
        yield from run(album, words, phrase, minus, None)

    def by_picture(album: ImageCollection | None, *values: Any) -> Iterator[dict[Any, Any]]:
        *words, minus = values
        if album is None or album.picked is None:
            raise QuestionError("This picture is no longer here: choose another.")
        yield from run(album, words, "", minus, album.picked)

    outputs = [gallery, shown, like]
    parts.on(start, by_words, [phrase, minus], outputs)
    parts.on(like, by_picture, [minus], outputs, lambda album: bool(album and album.picked))
    # Else the next pictures would be seen with a chosen one, though none of them is
    gr.on([start.click, like.click], None, js=CLOSE_PREVIEW, api_visibility="private")
    # Enter presses the button, which is off while a run goes
    press = "() => document.querySelector('#find-start').click()"
    gr.on([phrase.submit, minus.submit], None, js=press, api_visibility="private")

    def pick(album: ImageCollection, shown: list[Picture], chosen: gr.SelectData) -> Any:
        album.picked = shown[chosen.index]
        name = shorten(album.picked.short_name, LONGEST_CAPTION)
        return gr.update(value=f"More like {name}", interactive=True)

    gallery.select(
        pick,
        [parts.album, shown],
        like,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def search_album(
    parts: ManyParts,
    album: ImageCollection,
    chosen: Chosen,
    phrase: str,
    minus: str,
    like: Tensor | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the encoded pictures that fit best.

    like: the features of a picture, to find others like it; None to go by the phrase. Raises
    QuestionError, with one sentence.
    """
    phrases = [strip_control_characters(phrase).strip()] if like is None else []
    others = [strip_control_characters(minus).strip()] if (minus or "").strip() else []
    for text in (*phrases, *others):
        if len(text) > LONGEST_PHRASE:  # the fields hold no more, but requests may
            raise QuestionError(
                f"The phrase “{shorten(text)}” has {len(text):,} characters: shorten it."
            )
    try:
        templates = templates_for(chosen.template)
    except TemplateError as error:
        raise QuestionError(str(error)) from error
    asked = Question("", "", (*phrases, *others), chosen.template, [], chosen.model)
    with translate_errors(asked), parts.models.use(chosen.model) as classifier:
        query = make_query(
            classifier,
            fill_all(templates, phrases),
            [] if like is None else [like],
            fill_all(templates, others),
        )
    return nearest(album.features(chosen.kind), query.cpu(), TOP)
