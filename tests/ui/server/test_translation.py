"""Every text that the code can put on the page has a translation: found in the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ui.server.translation import LANGUAGES, read_words, translation_script

ROOT = Path(__file__).parents[3]
# What reaches the person by an error's words, or by a component's
ERRORS = {
    *("QuestionError", "IncompleteError", "LabelsError", "TemplateError", "ImageError"),
    *("NotReadyError", "CheckpointError", "DownloadError"),
}
SHOWN = {"label", "info", "placeholder", "alt_text"}
TITLED = {"Tab", "Accordion", "Button", "DownloadButton"}
# For those who start the page, whose errors end in a terminal; and what holds no words
NOT_ON_THE_PAGE = {
    "Two of these models have the same file name: rename one.",
    "{0} is no amount of memory: write it as 8GB, 800MB or in bytes.",
    "Template {0}: {1}",
    "Ask something first: the lines that give its answer come here.",  # a comment in code
}
# Parts of texts that are whole in the tables
COMPOSED = {
    "The model {0} {1}; ask again when it is in.",
    "{0} where the file was expected.",
    "The disk is full: free{0} for {1}, or set CLIP_CACHE to a folder elsewhere.",
}


def template(node: ast.expr | None) -> str | None:
    """A text with {0}, {1} where it varies; None for what is no text in the source."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        made, count = "", 0
        for part in node.values:
            if isinstance(part, ast.Constant):
                made += part.value
            else:
                made, count = made + f"{{{count}}}", count + 1
        return made
    return None


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def texts(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = name_of(node)
            first = template(node.args[0]) if node.args else None
            if first and (name in ERRORS or name in TITLED or name in ("say", "status_line")):
                yield first
            if path.is_relative_to(ROOT / "ui"):
                for keyword in node.keywords:
                    found = template(keyword.value)
                    if keyword.arg in SHOWN and found:
                        yield found
        elif isinstance(node, ast.Assign) and path.is_relative_to(ROOT / "ui"):
            values = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            for value in values:
                found = template(value)
                if found and re.match(r"[A-Z“].* .*[.:a-z]$", found) and "\n" not in found:
                    yield found


def sentences(text: str) -> list[str]:
    """As the page's script has them; what varies may be a sentence of its own."""
    split = re.split(r"(?<=[.!?:…”)}])\s+(?=[A-Z“])|(?<=[.}])\s+(?={)", text)
    return [part for part in split if not re.fullmatch(r"\{\d\}", part)]


def is_known(text: str, words: dict[str, str]) -> bool:
    if text in words:
        return True
    # what varies may itself be a fixed word: any key that fits the whole text will do
    for english in words:
        parts = [re.escape(part) for part in re.split(r"\{\d\}", english)]
        if len(parts) > 1 and re.fullmatch("(.+?)".join(parts), text, re.DOTALL):
            return True
    return False


FILES = sorted(
    {
        # what programs read stays in one language
        *(
            path
            for path in ROOT.glob("ui/**/*.py")
            if path.parent.name != "api" and path.name not in ("url_fetch.py", "__init__.py")
        ),
        ROOT / "prompts/templates.py",
        *(set(ROOT.glob("clip_core/weights/*.py")) - {ROOT / "clip_core/weights/convert.py"}),
        *ROOT.glob("clip_core/images/*.py"),
        *(
            ROOT / f"clip_core/{name}.py"
            for name in ("preprocess", "config", "explain/heatmap", "batch/loader")
        ),
        ROOT / "clip_core/evaluation/dataset.py",
    }
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_text_lacks_its_translation(path: Path, language: str) -> None:
    words = read_words(language)
    missing = [
        text
        for text in texts(path)
        if re.search("[A-Za-z]{3}", re.sub(r"\{\d\}", "", text))
        and "\n" not in text
        and text not in NOT_ON_THE_PAGE | COMPOSED
        and not all(
            is_known(piece.strip(), words)
            or all(is_known(part, words) for part in sentences(piece))
            for piece in re.split(r"\[|\]\(https?://[^)]+\)", text)  # links part a text on the page
        )
    ]
    assert missing == []


def test_the_search_finds_what_is_missing() -> None:
    words = {"This is {0}.": "x", "Known.": "y"}
    assert is_known("This is {0}.", words)
    assert not is_known("That is {0}.", words)
    assert "Picture" in set(texts(ROOT / "ui/widgets/question_form.py"))
    assert any("broken" in text for text in texts(ROOT / "clip_core/images/decode.py"))


def test_nothing_in_a_table_ends_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.server.translation.read_words", lambda _: {"a": "</script><b>"})
    assert translation_script().count("</script>") == 1
