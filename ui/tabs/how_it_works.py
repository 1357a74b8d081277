"""The tab "How it works": the method on the person's own picture and prompt, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import torch
from PIL import Image

from clip_core.explain.introspect import (
    LayerTrace,
    ModuleNode,
    TokenRow,
    module_tree,
    token_row,
    trace_image,
    trace_text,
)
from clip_core.explain.similarity import Similarities, compare
from clip_core.images.decode import read_file
from clip_core.tokenizer import tokenize
from ui.service.errors import IncompleteError, QuestionError
from ui.service.examples import EXAMPLES
from ui.service.model_pool import ModelPool
from ui.service.question import Question, question_from_page, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.chart import say
from ui.widgets.lazy_tab import HEAVY
from ui.widgets.question_form import QuestionParts
from ui.widgets.similarity_table import READINGS, draw_similarity_table

PAIRS = 5
CAPTIONS = {
    "cat.jpg": "a photo of a tabby cat.",
    "coffee.jpg": "a cup of coffee on a red saucer.",
    "horse.png": "the silhouette of a horse.",
    "chart.png": "a bar chart.",
    "temple.jpg": "a pagoda on a hill.",
}
METHOD = (
    "Two towers turn a picture and a text into a list of numbers each, of one length. Training "
    "([section 2.3 of the paper](https://arxiv.org/abs/2103.00020)) made the lists of a picture "
    "and its caption point the same way, and those of strangers apart."
)
YOURS = "The first pair is your picture and the prompt of its best label."
EXAMPLES_ALONE = (
    "These are examples: with a picture and two labels on the first tab, yours are the first pair."
)


@dataclass(frozen=True)
class Anatomy:
    """What one look at a picture and a prompt went through."""

    is_yours: bool  # whether the first pair is the person's, not an example
    similarities: Similarities
    squares: list[Image.Image]
    captions: list[str]
    tokens: TokenRow
    image: list[LayerTrace]
    text: list[LayerTrace]
    tree: ModuleNode


def build_how_it_works_tab(models: ModelPool, question: QuestionParts, tab: gr.Tab) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    gr.Markdown(METHOD)
    gr.Markdown("## Pictures against captions")
    reading = gr.Radio(
        list(READINGS), value="cosine similarity", label="Read the matrix as", elem_id="reading"
    )
    parts = [
        gr.HTML(
            say("Computed when this tab is opened."), elem_id="matrix", elem_classes=["how", "bare"]
        )
    ]
    for title, name in (
        ("The prompt as tokens", "tokens"),
        ("From the picture to its features", "stages"),
        ("The model’s parts", "tree"),
    ):
        gr.Markdown(f"## {title}")
        parts.append(gr.HTML("", elem_id=name, elem_classes=["how", "bare"]))

    @on_gpu
    def look(asked: Question | None, model: str) -> Anatomy:
        ready = asked or Question("", "", (), "", [], model)
        with translate_errors(ready), models.use(model) as classifier:
            pairs = [
                ((EXAMPLES / name).read_bytes(), caption) for name, caption in CAPTIONS.items()
            ]
            if asked is not None:
                scores = classifier.score(asked.path, asked.labels, asked.prompts, asked.framing)
                best = int(scores.logits.argmax())
                mine = read_file(asked.path)
                pairs = [pair for pair in pairs if pair[0] != mine]  # one of them may be asked
                pairs.insert(0, (mine, asked.prompts[best][0]))
            pairs = pairs[:PAIRS]
            captions = [caption for _, caption in pairs]
            framing = ready.framing
            images = torch.stack([classifier.image_features(image, framing) for image, _ in pairs])
            seen = [classifier.squares(image, framing) for image, _ in pairs]
            texts = classifier.label_features([[caption] for caption in captions])
            clip = classifier.model
            pixels = classifier.pixels(pairs[0][0], framing)
            tokens = tokenize([captions[0]], clip.context_length)
            return Anatomy(
                asked is not None,
                compare(images, texts, clip.logit_scale),
                [squares[len(squares) // 2] for squares in seen],
                captions,
                token_row(captions[0], clip.context_length),
                classifier.in_turn(lambda: trace_image(clip, pixels)),
                classifier.in_turn(lambda: trace_text(clip, tokens)),
                module_tree(clip),
            )

    def fill(*values: Any) -> tuple[Any, ...]:
        *asked, how = values
        try:
            model = models.answering(asked[4], asked[5])
            try:
                ready = question_from_page(models, *asked)
            except IncompleteError:  # then the examples alone
                ready = None
            seen = look(ready, model)
        except QuestionError as error:
            return say(str(error), problem=True), "", "", ""
        note = f"<p>{YOURS if seen.is_yours else EXAMPLES_ALONE}</p>"
        return (
            note + draw_similarity_table(seen.similarities, seen.squares, seen.captions, how),
            draw_tokens(seen.tokens),
            draw_stages(seen.image, seen.text),
            draw_tree(seen.tree),
        )

    gr.on(
        [tab.select, reading.input],
        fill,
        [*question.asked, reading],
        parts,
        show_progress_on=parts[0],
        **HEAVY,
    )


def draw_tokens(row: TokenRow) -> str:
    """HTML of a prompt's tokens in order, each with its number; the end of text stands out."""
    items = []
    for place, token in enumerate(row.tokens):
        kind = "end" if place == row.end else "whole" if token.ends_word else "part"
        mark = '<span class="mark">end of text</span>' if place == row.end else ""
        items.append(
            f'<li class="{kind}"><span class="text" translate="no">{escape(token.text)}</span>'
            f'<span class="number">{token.number}</span>{mark}</li>'
        )
    used, left = len(row.tokens), row.context_length - len(row.tokens)
    return (
        "<p>The text tower reads numbers: byte pair encoding cuts a text into words and, where a "
        "word is rare, into pieces of words (section 2.4).</p>"
        f'<ol class="tokens">{"".join(items)}</ol>'
        f"<p>{used} of {row.context_length} places are used; {left} are filled with zeros. The "
        f"text’s features are read at the end of text, place {row.end} counted from 0, "
        "which alone has seen all tokens before it.</p>"
    )


def draw_stages(image: Sequence[LayerTrace], text: Sequence[LayerTrace]) -> str:
    """HTML of the shapes on the way through each tower."""

    def table(title: str, stages: Sequence[LayerTrace]) -> str:
        rows = "".join(
            f'<tr><th scope="row" translate="no">{escape(stage.name)}</th>'
            f'<td translate="no">{escape(stage.kind)}</td>'
            f"<td>{_shape(stage.taken)}</td><td>{_shape(stage.given)}</td></tr>"
            for stage in stages
        )
        return (
            f"<details><summary>{title}</summary>"
            f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>'
            '<thead><tr><th scope="col">Stage</th><th scope="col">Kind</th>'
            f'<th scope="col">Takes</th><th scope="col">Gives</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div></details>"
        )

    seen, said = image[0].taken, image[-1].given
    return (
        "<p>Shapes as the model runs: pictures, channels, rows and columns of numbers; in a "
        "Transformer’s blocks places, pictures, channels. "
        f"{_shape(seen)} numbers of the square become {_shape(said)} features; a prompt’s tokens "
        f"become {_shape(text[-1].given)}.</p>"
        + table("The picture’s way", image)
        + table("The prompt’s way", text)
    )


def draw_tree(part: ModuleNode) -> str:
    """HTML of the model's modules, each opened by a click."""

    def draw(part: ModuleNode, name: str, is_open: bool) -> str:
        own = "; ".join(f"{key} {_shape(shape)}" for key, shape in part.weights)
        head = (
            f'<span translate="no">{escape(name)}</span> '
            f'<span class="kind" translate="no">{escape(part.kind)}</span> '
            f'<span class="count">{part.parameters:,}</span>'
        )
        weights = f'<li class="own" translate="no">{escape(own)}</li>' if own else ""
        if not part.parts and not own:
            return f'<div class="leaf">{head}</div>'
        inner = "".join(f"<li>{draw(child, child.name, False)}</li>" for child in part.parts)
        opened = " open" if is_open else ""
        return f"<details{opened}><summary>{head}</summary><ul>{weights}{inner}</ul></details>"

    return (
        "<p>Each part with its class and how many numbers were learnt in it; a click opens it.</p>"
        f'<div class="tree">{draw(part, "CLIP", True)}</div>'
    )


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "1"
