"""The tab "Limits": what an answer is good for, where it misleads, and the bundled model's card."""

from __future__ import annotations

import re

import gradio as gr

from clip_core.weights.resolve import BUNDLED

MODEL_CARD = BUNDLED.with_name("MODEL_CARD.md")
FIT_FOR = [
    "Trying words on a picture, and seeing how the wording moves the answer.",
    "Sorting or searching pictures of your own, where a wrong one does no harm.",
    "Learning how a model that compares pictures with texts works.",
]
NOT_FIT_FOR = [
    "Deciding anything about people, or telling who somebody is: it carries the prejudices of the "
    "pictures and sentences it learnt from.",
    "Anything where a wrong answer does harm: medicine, safety, the law, surveillance.",
    "Counting, reading, telling left from right, or fine distinctions such as species of birds.",
]
LIMITS = [
    "A share says how a label does among your labels, not whether it is true.",
    "“None of these” is a guess of its own, and sometimes wrong.",
    "It hardly reads “no”, “not” and “without”.",
    "The wording counts: look at Prompts before you trust a close answer.",
    "It learnt from English captions.",
    "The whole picture is scaled to a small square: small things in large pictures are lost.",
]
CARDS = (
    "Published models: the [model card of CLIP](https://github.com/openai/CLIP/blob/main/"
    "model-card.md). The bundled model: the card below, with all its figures."
)


def build_limits_tab() -> None:
    """Adds the tab's components to the Blocks in whose context it is called."""
    for title, lines in (
        ("Good for", FIT_FOR),
        ("Not for", NOT_FIT_FOR),
        ("Keep in mind", LIMITS),
    ):
        gr.Markdown(f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines))
    gr.Markdown(CARDS)
    with gr.Accordion("The bundled model’s card", open=False, elem_id="card"):
        gr.Markdown(read_card(), elem_id="card-text")


def read_card() -> str:
    """The model card without its title; links into the repository become plain text."""
    text = MODEL_CARD.read_text(encoding="utf-8").split("\n", 1)[1]
    return re.sub(r"\[([^\]]+)\]\((?!https?://)[^)]+\)", r"\1", text)
