"""Prompt templates: checking them, filling them, and the sets that ship with the project.

A template holds `{}` where the label goes: "a photo of a {}.". It may hold `{a}` before that, which
becomes "a" or "an" for the word after it: "a photo of {a} {}.". Nothing else in braces means
anything, and a label is always taken literally.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .articles import indefinite_article
from .lists import DATA, look_up, read_list

# In characters. Room to spare: the longest published template has 44, and CLIP reads 75 tokens.
MAX_TEMPLATE_LENGTH = 300

# Control characters, line and paragraph separators, lone surrogates.
_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp", "Cs"})
# These turn the direction of whatever is shown after them.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST_SHOWN = 60  # characters of a template in a message


class TemplateError(ValueError):
    """A template that cannot be filled; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class TemplateSet:
    """Templates used together; a label's features are the mean over its filled prompts.

    `name` is what `find_template_set` takes, `title` what a person reads; `source` and `licence`
    say where the templates come from.
    """

    name: str
    title: str
    templates: tuple[str, ...]
    source: str
    licence: str


def validate(template: str) -> None:
    """Check that `template` holds one `{}`, at most one `{a}` before it, and no other brace.

    Raises:
        TemplateError: with one sentence on the first thing that is wrong.
    """
    if len(template) > MAX_TEMPLATE_LENGTH:
        raise TemplateError(
            f"The template has {len(template)} characters; shorten it to {MAX_TEMPLATE_LENGTH} "
            "at most."
        )
    for position, character in enumerate(template, start=1):
        if unicodedata.category(character) in _UNPRINTABLE or character in _TURNING:
            raise TemplateError(
                f"The template holds a control character (U+{ord(character):04X}, at place "
                f"{position}); remove it and write the template on one line."
            )
    if "{{" in template or "}}" in template:
        raise TemplateError(
            'The template holds doubled braces ("{{" or "}}"); write {} once, where the label goes.'
        )
    fields = re.findall(r"\{[^{}]*\}", template)
    for field in fields:
        if field not in ("{}", "{a}"):
            shown = field if len(field) <= _LONGEST_SHOWN else f"{field[:_LONGEST_SHOWN]}…"
            raise TemplateError(
                f'The template holds "{shown}", which nothing fills; write {{}} where the label '
                "goes, and no other braces except {a} for a or an."
            )
    if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", template)):
        raise TemplateError(
            "The template holds a brace without its partner; remove it, or write {} where the "
            "label goes."
        )
    count = fields.count("{}")
    if count == 0:
        raise TemplateError(
            'The template has no {}; write {} where the label goes, as in "a photo of a {}.".'
        )
    if count > 1:
        raise TemplateError(
            f"The template has {{}} {count} times; keep the one where the label goes."
        )
    if "{a}" in fields:
        _validate_article(template, fields)


def _validate_article(template: str, fields: list[str]) -> None:
    if fields.count("{a}") > 1:
        raise TemplateError(
            f"The template has {{a}} {fields.count('{a}')} times; keep the one before {{}}."
        )
    if fields.index("{a}") > fields.index("{}"):
        raise TemplateError(
            'The template has {a} after {}; write it before, as in "a photo of {a} {}.".'
        )
    # A word may stand between, as in "{a} small {}": the article then goes by that word.
    if not re.search(r"(?<!\w)\{a\} ", template):
        raise TemplateError(
            "The template joins {a} to other letters or to {}; {a} is a word of its own, so put a "
            'space on each side, as in "a photo of {a} {}.".'
        )


def fill(template: str, label: str) -> str:
    """The prompt for one label.

    The label is put in literally, whatever it holds (braces, "{}" or "{a}" among them); it is
    neither trimmed nor checked.

    Raises:
        TemplateError: `template` is not valid.
    """
    validate(template)
    return _fill(template, label)


def fill_all(templates: Sequence[str], labels: Sequence[str]) -> list[list[str]]:
    """The prompts of each label: `len(labels)` lists of `len(templates)` strings, orders kept.

    Raises:
        TemplateError: a template is not valid; with several templates the message names which.
        TypeError: `templates` or `labels` is one string and not a sequence of them.
    """
    if isinstance(templates, str) or isinstance(labels, str):
        raise TypeError("fill_all takes lists; put a single template or label in a list.")
    for number, template in enumerate(templates, start=1):
        try:
            validate(template)
        except TemplateError as error:
            if len(templates) == 1:
                raise
            raise TemplateError(f"Template {number}: {error}") from None
    return [[_fill(template, label) for template in templates] for label in labels]


def _fill(template: str, label: str) -> str:
    """Fill a valid template. Split and joined, not formatted, so that a label stays literal."""
    before, after = template.split("{}")
    if "{a}" in before:
        start, between = before.split("{a}")
        before = start + indefinite_article(between + label + after) + between
    return before + label + after


def template_sets() -> dict[str, TemplateSet]:
    """Every template set by name, in the order of a menu.

    The single templates (each a set of one, named by itself), then `imagenet-7` and `imagenet-80`,
    then the 26 data sets of openai/CLIP by name.
    """
    return dict(_template_sets())


def find_template_set(name: str) -> TemplateSet:
    """The template set of that name.

    Raises:
        UnknownNameError: a ValueError that lists near matches.
    """
    return look_up(_template_sets(), name, "template set")


@cache
def _template_sets() -> dict[str, TemplateSet]:
    folder = DATA / "templates"
    single = read_list(folder / "single.txt")
    sets = [
        TemplateSet(template, template, (template,), single.source, single.licence)
        for template in single.items
    ]
    published = [folder / "imagenet-7.txt", folder / "imagenet-80.txt"]
    for path in published + sorted((folder / "datasets").glob("*.txt")):
        file = read_list(path)
        count = f"{len(file.items)} template{'s' if len(file.items) > 1 else ''}"
        title = f"{file.title}: {count}"
        sets.append(TemplateSet(file.name, title, file.items, file.source, file.licence))

    for template_set in sets:
        for template in template_set.templates:
            try:
                validate(template)
            except TemplateError as error:
                raise TemplateError(f'{template_set.name}, "{template}": {error}') from None
    by_name = {template_set.name: template_set for template_set in sets}
    if len(by_name) < len(sets):
        raise ValueError("Two template sets under data/templates share a name; rename one.")
    return by_name


def single_templates() -> tuple[str, ...]:
    """The templates that are offered by themselves."""
    return tuple(name for name in template_sets() if "{}" in name)
