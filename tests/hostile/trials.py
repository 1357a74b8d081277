"""What the page does with one text, before the model and behind it, and whether that was right."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clip_core import Scores, tokenize
from clip_core.batch.tables import FORMULA_STARTS
from clip_core.classifier import Cached
from tests.hostile.verdicts import FAILURE, RIGHT, Verdict, judge
from ui.service.errors import QuestionError, UnexpectedError
from ui.service.export import to_table, write_files
from ui.service.inference import translate_errors
from ui.service.permalink import from_permalink, to_permalink
from ui.service.question import Question, templates_for
from ui.widgets.chart import CHART_LABELS, draw_chart
from ui.widgets.status_line import preview

FEW = 20  # labels that are asked with 80 templates too
ARTICLE = "a photo of {a} {}."


def try_text(text: str, picture: Path, folder: Path) -> Verdict:
    """Asks with a text as labels, as one label, as template and as the picture's name.

    The verdict is that on the labels, unless another is a failure.
    """
    found = [
        try_question(labels, template, text, picture, folder)
        for labels, template in (
            (text, ARTICLE),
            (text, "imagenet-80"),
            ([text, "a cat"], "{}"),
            ("a cat, a dog", text),
        )
    ]
    return next((verdict for verdict in found if verdict.kind == FAILURE), found[0])


def try_question(
    labels: str | Sequence[str], template: str, name: str, picture: Path, folder: Path
) -> Verdict:
    """Checks a question, splits its prompts into tokens, and shows and writes an answer."""
    image = {"path": str(picture), "orig_name": name}
    try:
        asked = Question.parse(image, labels, template, "tiny.safetensors")
        if len(asked.labels) > FEW and len(asked.prompts[0]) > 1:
            return Verdict(RIGHT)
        with translate_errors(asked.model, asked.labels):
            tokenize([prompt for prompts in asked.prompts for prompt in prompts])
        return show(asked, folder)
    except UnexpectedError as error:
        return Verdict(FAILURE, repr(error.__cause__)[:300])
    except QuestionError as error:
        return judge(str(error), [str(picture)])
    except Exception as error:
        return Verdict(FAILURE, repr(error)[:300])


def made_up(asked: Question) -> Scores:
    """Scores such as a model gives."""
    count = len(asked.labels)
    logits = np.random.default_rng(count).normal(20, 3, count).astype(np.float32)
    shares = np.exp(logits - logits.max())
    return Scores(
        labels=asked.labels,
        prompts=tuple(map(tuple, asked.prompts)),
        probabilities=shares / shares.sum(),
        logits=logits,
        cosine_similarities=logits / 100,
        model=asked.model,
        device="cpu",
        framing="crop",
        cached=Cached(False, 0),
        seconds=0.1,
    )


def show(asked: Question, folder: Path) -> Verdict:
    """Draws and writes an answer, and reads it back."""
    scores = made_up(asked)
    ranked = list(scores.to_frame()["label"])
    chart, table = draw_chart(scores), to_table(scores)
    note = preview(templates_for(asked.template), asked.labels)
    orjson.dumps([chart, note, table.to_dict("list")])  # as the page's answers are sent
    read = Page.read(chart)
    if read.labels != ranked[:CHART_LABELS] or read.tags != {"div", "span"}:
        return Verdict(FAILURE, f"the chart has {read.tags}, {read.labels}"[:300])
    if not Page.read(note).tags <= {"div", "details", "summary", "ul", "li"}:
        return Verdict(FAILURE, f"the note has {Page.read(note).tags}"[:300])
    try:
        link = to_permalink("http://127.0.0.1:7860", asked, "why")
        from_permalink({"labels": link, "template": asked.template}, [], [])
    except ValueError as error:
        if judge(str(error)).kind == FAILURE:
            return judge(str(error))
    return _read_back(asked, ranked, *write_files(scores, asked, folder))


def _read_back(asked: Question, ranked: list[str], csv_path: str, json_path: str) -> Verdict:
    with open(csv_path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if any(
        cell.startswith(FORMULA_STARTS) for row in rows for cell in (row["label"], row["prompt"])
    ):
        return Verdict(FAILURE, "a cell is a formula")
    if [row["label"] for row in rows] != [
        f"'{label}" if label.startswith(FORMULA_STARTS) else label for label in ranked
    ]:
        return Verdict(FAILURE, f"the CSV holds {rows}"[:300])
    answer: dict[str, Any] = json.loads(Path(json_path).read_text(encoding="utf-8"))
    if [row["label"] for row in answer["scores"]] != ranked or answer["picture"] != asked.picture:
        return Verdict(FAILURE, f"the JSON holds {answer}"[:300])
    return Verdict(RIGHT)


class Page(HTMLParser):
    """The tags of a piece of HTML, and the labels in it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.labels: list[str] = []
        self._in_label = False

    @classmethod
    def read(cls, html: str) -> Page:
        """Of the whole piece."""
        page = cls()
        page.feed(html)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_label = ("class", "label") in attrs
        if self._in_label:
            self.labels.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_label = False

    def handle_data(self, data: str) -> None:
        if self._in_label:
            self.labels[-1] += data
