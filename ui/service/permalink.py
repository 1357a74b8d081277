"""A link that asks the page's question again: labels, template, model, square and open tab.

Never an uploaded picture: a link names one of the examples, if the person wants that, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from clip_core.preprocess import FRAMINGS
from prompts import template_sets

from .examples import EXAMPLE_LABELS
from .question import BEST, CUSTOM, Question

LONGEST_LINK = 8000  # characters: servers and proxies refuse longer addresses
LONGEST_TEMPLATE = 300  # as the field for one


class Restored(NamedTuple):
    """What a link says; None for what it leaves as it is."""

    labels: str | None
    template: str | None  # a choice of the template's menu
    custom: str | None  # the text of one's own template
    model: str | None
    framing: str | None
    example: str | None  # the name of an example picture
    tab: str | None


def to_permalink(address: str, question: Question, tab: str, example: str | None = None) -> str:
    """The link to a question on the page at `address`.

    Raises ValueError when there are too many labels for a link.
    """
    values = {
        "labels": "\n".join(question.labels),
        "template": question.template,
        "model": question.model,
        "framing": question.framing,
        "tab": tab,
        "example": example,
    }
    link = f"{address}/?{urlencode({name: value for name, value in values.items() if value})}"
    if len(link) > LONGEST_LINK:
        raise ValueError("These are too many labels for a link: leave some out, or share the JSON.")
    return link


def from_permalink(
    values: Mapping[str, str], models: list[str], tabs: list[str], longest: int = LONGEST_LINK
) -> Restored:
    """What the query of an address asks for. What no page could have written is left out.

    longest: characters of labels that are taken.
    """

    def one_of(name: str, choices: Any) -> str | None:
        value = values.get(name)
        return value if value in choices else None

    template = values.get("template", "")[:LONGEST_TEMPLATE]
    known = template in template_sets()
    return Restored(
        labels=values.get("labels", "")[:longest] or None,
        template=template if known else CUSTOM if template else None,
        custom=template if template and not known else None,
        model=one_of("model", models),
        framing=one_of("framing", (BEST, *FRAMINGS)),
        example=one_of("example", EXAMPLE_LABELS),
        tab=one_of("tab", tabs),
    )
