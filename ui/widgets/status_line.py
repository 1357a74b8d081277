"""The lines of small print beside what they speak of: on the prompts, on a run."""

from __future__ import annotations

from html import escape

from clip_core import Scores
from prompts import fill_all

PREVIEW_LABELS, PREVIEW_PROMPTS = 10, 7


def preview(templates: tuple[str, ...], labels: tuple[str, ...]) -> str:
    """HTML of the exact prompts that will be scored: one to see at once, the others on a click."""
    prompts = fill_all(templates, labels)
    head = f"Scored as “{escape(prompts[0][0] if labels else templates[0])}”"
    if len(templates) > 1:
        head += f" and {len(templates) - 1} more prompts for each label, averaged"
    items = []
    for label, texts in list(zip(labels, prompts, strict=False))[:PREVIEW_LABELS]:
        shown = [escape(text) for text in texts[:PREVIEW_PROMPTS]]
        if len(texts) > PREVIEW_PROMPTS:
            shown.append(f"… and {len(texts) - PREVIEW_PROMPTS} more")
        items.append(f'<li translate="no">{escape(label)}: {"; ".join(shown)}</li>')
    if len(labels) > PREVIEW_LABELS:
        items.append(f"<li>… and {len(labels) - PREVIEW_LABELS:,} more labels</li>")
    all_prompts = f"<details><summary>All prompts</summary><ul>{''.join(items)}</ul></details>"
    return f'<div class="note">{head}{all_prompts if items else ""}</div>'


def describe_run(scores: Scores) -> str:
    """One line: which model answered where, how long it took, what was kept from before."""
    picture = "from the cache" if scores.cached.image else "computed"
    short = f" {scores.short_device} had too little memory for it." if scores.short_device else ""
    return (
        f"Answered by the model “{scores.model}” on {scores.device} in "
        f"{scores.seconds * 1000:,.0f} ms.{short} Picture {picture}; {scores.cached.texts:,} of "
        f"{len(scores.labels):,} labels from the cache."
    )


def status_line(sentence: str, problem: bool = False) -> str:
    """HTML of a sentence in small print; what is wrong stands out."""
    kind = "note problem" if problem else "note"
    return f'<div class="{kind}" role="status">{escape(sentence)}</div>'
