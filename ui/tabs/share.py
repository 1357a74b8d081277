"""The tab "Share": a link to the question, and the Python and curl code that answers it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import gradio as gr

from ui.service.errors import QuestionError
from ui.service.model_pool import ModelPool
from ui.service.permalink import to_permalink
from ui.service.question import Question
from ui.widgets.events import SILENT
from ui.widgets.lazy_tab import lazy_tab
from ui.widgets.question_form import QuestionParts

BEFORE = "Ask something first: the lines that give its answer come here."
OPENS_ON = [
    ("the answer", "answer"),
    ("Why", "why"),
    ("Prompts", "prompts"),
    ("Side by side", "side-by-side"),
    ("Camera", "camera"),
    ("How it works", "how"),
]


def build_share_tab(
    models: ModelPool, question: QuestionParts, settled: gr.Textbox, tab: gr.Tab
) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    link = gr.Textbox(
        label="Link",
        info="Labels, template and model. An uploaded picture is never in it.",
        placeholder="Ask something first.",
        interactive=False,
        buttons=["copy"],
        lines=2,
        max_lines=4,
        elem_id="link",
    )
    with gr.Row():
        opens_on = gr.Dropdown(
            label="Opens on", choices=OPENS_ON, value="answer", elem_id="opens-on", min_width=160
        )
        with_example = gr.Checkbox(
            label="with the example picture",
            info="if it is one of the page's own",
            elem_id="with-example",
            min_width=160,
        )
    python = gr.Code(
        f"# {BEFORE}",
        language="python",
        label="Python, in a copy of this project",
        interactive=False,
        wrap_lines=True,
        elem_id="code-python",
    )
    curl = gr.Code(
        f"# {BEFORE}",
        language="shell",
        label="curl, asking this page",
        interactive=False,
        wrap_lines=True,
        elem_id="code-curl",
    )
    address = gr.Textbox(visible="hidden", elem_id="page-address")
    tab.select(None, None, address, js="clip.pageAddress", **SILENT)

    def fill(*values: Any) -> tuple[Any, str, str]:
        *asked, at, opens, wants_example, example = values
        try:
            ready = Question.from_page(models, *asked)
        except QuestionError as error:
            return "", f"# {error}", f"# {error}"
        try:
            made = to_permalink(at, ready, opens, example if wants_example else None)
        except ValueError as error:
            made = str(error)
        return made, to_python(ready), to_curl(ready, at)

    controls: list[Any] = [address, opens_on, with_example, question.example]
    changes = [control.change for control in controls]
    lazy_tab(tab, "share", settled, question, fill, [link, python, curl], controls, changes)


def to_python(question: Question) -> str:
    """A Python program that prints the answer to a question as a table."""
    templates = f"[{_quoted(question.template)}]"
    imports = "from clip_core import ZeroShotClassifier\n"
    framing = f", framing={_quoted(question.framing)}" if question.framing else ""
    plain = "{}" in question.template and "{a}" not in question.template
    if plain:
        ask = f"scores = classifier.classify(picture, labels, {templates}{framing})"
    else:
        if "{}" in question.template:
            imports += "from prompts import fill_all\n"
        else:
            imports += "from prompts import fill_all, find_template_set\n"
            templates = f"find_template_set({_quoted(question.template)}).templates"
        ask = (
            f"prompts = fill_all({templates}, labels)\n"
            f"scores = classifier.score(picture, labels, prompts{framing})"
        )
    labels = "\n".join(f"    {_quoted(label)}," for label in question.labels)
    return (
        f"{imports}\n"
        f"picture = {_quoted(question.picture)}\n"
        f"labels = [\n{labels}\n]\n"
        f"classifier = ZeroShotClassifier({_quoted(question.model)})\n"
        f"{ask}\n"
        "print(scores.to_frame())\n"
    )


def to_curl(question: Question, address: str) -> str:
    """Shell commands that upload the image to the page at `address`, ask, and print the JSON."""
    name = question.picture.replace("\\", "\\\\").replace('"', '\\"')
    file = shlex.quote(f'files=@"{name}"')
    rest = [question.labels, question.template, question.model, question.framing or "best"]
    # A quote would end the shell's quotes; JSON has another way to write it
    said = json.dumps(rest, ensure_ascii=False)[1:].replace("'", "\\u0027")
    return (
        f"PAGE={shlex.quote(address)}\n"
        f"IMAGE=$(curl -s -F {file} \"$PAGE/gradio_api/upload\" | tr -d '[]')\n"
        'EVENT=$(curl -s "$PAGE/gradio_api/call/classify" '
        "-H 'Content-Type: application/json' \\\n"
        '  -d \'{"data": [{"path": \'"$IMAGE"\', '
        '"meta": {"_type": "gradio.FileData"}},\n'
        f"  {said}}}' | cut -d '\"' -f 4)\n"
        'curl -sN "$PAGE/gradio_api/call/classify/$EVENT"\n'
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
