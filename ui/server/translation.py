"""Translation of the page in the browser.

Each language has a table such as `zh.json`: an English text as the page shows it, with {0}, {1} for
its variable parts, and its translation. The server writes English only; a script in the page
translates it. A test finds the texts that a table lacks.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "static"
LANGUAGES = ("zh",)


@cache
def read_words(language: str) -> dict[str, str]:
    """The table of one of `LANGUAGES`: English texts and their translations."""
    words: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return words


def translation_script() -> str:
    """HTML for the page's head: the script, called with each table."""
    script = (FOLDER / "translate.js").read_text(encoding="utf-8")
    calls = [
        f"translate({json.dumps(name)}, {json.dumps(read_words(name), ensure_ascii=False)});"
        for name in LANGUAGES
    ]
    code = f"{{ const translate = {script};\n{' '.join(calls)} }}"
    closing = code.replace("</", r"<\/")  # else a text could end the script
    return f"<script>{closing}</script>"
