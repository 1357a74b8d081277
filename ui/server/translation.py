"""The page in the browser's language: its texts are written in English, and put in place there.

One table for each language, `zh.json`: an English text as the page shows it, with {0}, {1} where it
varies, and its translation. So no text has to be built twice, and what the server says later is
translated by the same table. A test finds the texts that a table lacks.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "static"
LANGUAGES = ("zh",)


@cache
def read_words(language: str) -> dict[str, str]:
    """English -> one of `LANGUAGES`."""
    words: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return words


def translation_script() -> str:
    """What the page's head holds: the script, run with each table."""
    script = (FOLDER / "translate.js").read_text(encoding="utf-8")
    calls = [
        f"translate({json.dumps(name)}, {json.dumps(read_words(name), ensure_ascii=False)});"
        for name in LANGUAGES
    ]
    code = f"{{ const translate = {script};\n{' '.join(calls)} }}"
    closing = code.replace("</", r"<\/")  # nothing in it may end the script
    return f"<script>{closing}</script>"
