"""Prompt templates and label sets as data, and the code that checks and fills them.

Standard library only. The lists are text files under data/; see README.md beside this file.
"""

from .articles import indefinite_article
from .labels import LabelSet, find_label_set, label_sets
from .lists import UnknownNameError
from .templates import (
    TemplateError,
    TemplateSet,
    fill,
    fill_all,
    find_template_set,
    template_sets,
    validate,
)

__all__ = [
    "LabelSet",
    "TemplateError",
    "TemplateSet",
    "UnknownNameError",
    "fill",
    "fill_all",
    "find_label_set",
    "find_template_set",
    "indefinite_article",
    "label_sets",
    "template_sets",
    "validate",
]
