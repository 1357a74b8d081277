"""The tab "Find": pictures ranked by a phrase, by another picture, or by one less another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from clip_core.many.find import ExactIndex, make_query
from prompts import TemplateError, fill_all

from .album import Album
from .pictures import items, lay_out_gallery
from .question import Question, QuestionError, model_errors, templates_for
from .zerogpu import on_gpu

if TYPE_CHECKING:
    from .many import Chosen, ManyParts

TOP = 24
LONGEST_PHRASE = 300


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
    with gr.Row():
        start = gr.Button("Find", variant="primary", elem_id="find-start")
        like = gr.Button(
            "More like the chosen picture", interactive=False, elem_id="find-like", min_width=200
        )
    gallery = lay_out_gallery("find-gallery")
    shown = gr.State([])  # the pictures in the gallery, by their numbers in the album
    picked = gr.State(None)

    @on_gpu
    def search(
        album: Album, chosen: Chosen, phrase: str, minus: str, number: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return search_album(parts, album, chosen, phrase, minus, number)

    def run(album: Album | None, *values: Any) -> Iterator[dict[Any, Any]]:
        *words, wanted, without, number = values
        chosen = parts.choose(words)
        if number is None and not (wanted or "").strip():
            raise QuestionError("Type what to look for.")
        yield from parts.begin(album, chosen.kind)
        assert album is not None
        scores, rows = search(album, chosen, wanted, without, number)
        pictures = album.encoded(chosen.kind)
        found = [pictures[row] for row in rows]
        captions = [f"{place}. {score:.3f}" for place, score in enumerate(scores, start=1)]
        yield {
            gallery: gr.update(value=items(found, captions), visible=True, selected_index=None),
            shown: [album.pictures.index(picture) for picture in found],
            picked: None,
            like: gr.update(interactive=False),
        }

    outputs = [gallery, shown, picked, like]

    def by_words(*values: Any) -> Iterator[dict[Any, Any]]:
        yield from run(*values, None)

    parts.on([start.click, phrase.submit, minus.submit], by_words, [phrase, minus], outputs)
    parts.on([like.click], run, [phrase, minus, picked], outputs)

    def pick(shown: list[int], chosen: gr.SelectData) -> tuple[int, Any]:
        return shown[chosen.index], gr.update(interactive=True)

    gallery.select(
        pick,
        shown,
        [picked, like],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def search_album(
    parts: ManyParts, album: Album, chosen: Chosen, phrase: str, minus: str, number: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the encoded pictures that fit best.

    number: a picture of the album, to find others like it; None to go by the phrase. Raises
    QuestionError, with one sentence.
    """
    phrases = [phrase.strip()] if number is None else []
    others = [minus.strip()] if (minus or "").strip() else []
    try:
        templates = templates_for(chosen.template)
    except TemplateError as error:
        raise QuestionError(str(error)) from error
    asked = Question("", "", (*phrases, *others), chosen.template, [], chosen.model)
    with model_errors(asked), parts.models.use(chosen.model) as classifier:
        query = make_query(
            classifier,
            fill_all(templates, phrases),
            [] if number is None else [album.pictures[number].features[chosen.kind]],
            fill_all(templates, others),
        )
    return ExactIndex(album.features(chosen.kind)).search(query.cpu(), TOP)
