"""HTML from templates: every value is escaped, so that what visitors type stays text."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")
SMALLEST_SHOWN = 1e-6  # 0.0001 %


def render(template: str, **values: Any) -> str:
    """The HTML of `templates/<template>.html`, filled with values."""
    return _ENVIRONMENT.get_template(template).render(values)


def format_share(probability: float) -> str:
    """A share, 0 to 1, in per cent: one decimal from 1 % up, two significant digits below.

    No share is rounded to nothing or to all.
    """
    if probability < SMALLEST_SHOWN:
        return "< 0.0001 %" if probability > 0 else "0 %"
    percent = 100 * probability
    if percent < 1:
        return f"{percent:.{1 - math.floor(math.log10(percent))}f} %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 100 else "100 %"


def _join_lines(source: str) -> str:
    """The source on one line: a line break beside a tag is no space on the page."""
    beside_a_tag = r"(?:(?<=>)|(?<=[%#]\}))\s*\n\s*|\s*\n\s*(?=<|\{[%#])"
    return re.sub(r"\s*\n\s*", " ", re.sub(beside_a_tag, "", source.strip()))


_ENVIRONMENT = Environment(
    loader=DictLoader(
        {
            path.stem: _join_lines(path.read_text(encoding="utf-8"))
            for path in TEMPLATES.glob("*.html")
        }
    ),
    autoescape=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters |= {
    "share": format_share,
    "thousands": "{:,}".format,
    "css_percent": lambda part: f"{100 * part:.2f}%",
    "shape": lambda shape: " × ".join(map(str, shape)) or "1",
}
