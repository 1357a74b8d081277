"""The answer as files to take away: CSV and JSON, with full precision."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from PIL import Image

from clip_core import Scores
from clip_core.batch import tables

from .errors import QuestionError
from .question import Question

TABLE_HEADERS = ["rank", "label", "prompt", "score", "cosine similarity", "logit"]
SQUARES_IN_A_ROW = 3
GAP = 6  # pixels between squares


def write_files(scores: Scores, question: Question, folder: str | Path) -> tuple[str, str]:
    """Writes an answer as CSV and as JSON under `folder`; returns the two paths.

    Each answer gets a directory whose name can't be guessed, and
    the files' names say what they hold: picture, number of labels, model.
    """
    name = "-".join(
        [
            "scores",
            _plain(Path(question.picture).stem) or "picture",
            f"{len(scores.labels)}-labels",
            _plain(Path(scores.model).stem),
        ]
    )
    with fresh_directory(folder) as directory:
        csv_path, json_path = directory / f"{name}.csv", directory / f"{name}.json"
        csv_path.write_text(to_csv(scores), encoding="utf-8", newline="")
        json_path.write_text(to_json(scores, question), encoding="utf-8")
    return str(csv_path), str(json_path)


def write_squares(squares: Sequence[Image.Image], folder: str | Path) -> str:
    """Writes the squares that a model sees as one PNG under `folder`, rows of three; the path.

    In a directory of its own each time: gradio would write the same picture over the file that a
    browser may be reading.
    """
    side = squares[0].width
    columns = min(len(squares), SQUARES_IN_A_ROW)
    rows = -(-len(squares) // columns)
    sheet = Image.new("RGB", (columns * (side + GAP) - GAP, rows * (side + GAP) - GAP), "white")
    for i, square in enumerate(squares):
        sheet.paste(square, (i % columns * (side + GAP), i // columns * (side + GAP)))
    with fresh_directory(folder) as directory:
        path = directory / "square.png"
        sheet.save(path)
    return str(path)


def write_heat_map(picture: Image.Image, question: Question, label: str, folder: str | Path) -> str:
    """Writes a heat map as PNG under `folder`, named by picture and label; returns the path."""
    names = [_plain(Path(question.picture).stem) or "picture", _plain(label) or "label"]
    with fresh_directory(folder) as directory:
        path = directory / f"heat-map-{'-'.join(names)}.png"
        picture.save(path)
    return str(path)


def to_table(scores: Scores) -> pd.DataFrame:
    """The columns `TABLE_HEADERS`, best label first.

    score: the share among these labels, 0 to 1, to four digits that count.
    """
    frame = scores.to_frame()
    shown = pd.DataFrame(
        {
            "rank": frame["rank"],
            "label": frame["label"],
            "prompt": frame["prompt"],
            "score": [float(f"{value:.4g}") for value in frame["probability"]],
            "cosine similarity": frame["cosine_similarity"].astype(float).round(4),
            "logit": frame["logit"].astype(float).round(3),
        }
    )
    return shown[TABLE_HEADERS]


def to_csv(scores: Scores) -> str:
    """CSV, a row for each label, best first; text that a spreadsheet would run is made harmless."""
    columns = ["rank", "label", "prompt", "probability", "cosine_similarity", "logit"]
    return tables.to_csv(scores.to_frame()[columns])


def to_json(scores: Scores, question: Question) -> str:
    """JSON: the picture's name, the model, the template, and each label with all its prompts."""
    frame = scores.to_frame().drop(columns="prompt")
    prompts = dict(zip(scores.labels, scores.prompts, strict=True))
    rows = [row | {"prompts": prompts[row["label"]]} for row in frame.to_dict(orient="records")]
    answer = {
        "picture": question.picture,
        "model": scores.model,
        "template": question.template,
        "framing": scores.framing,
        "scores": rows,
        "none_of_these": scores.none_of_these and asdict(scores.none_of_these),
    }
    return json.dumps(answer, indent=2, ensure_ascii=False)


@contextmanager
def fresh_directory(folder: str | Path) -> Iterator[Path]:
    """A new one to write in. Raises QuestionError where that can't be done."""
    directory = Path(folder) / secrets.token_hex(16)
    try:
        directory.mkdir(parents=True)
        yield directory
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)  # half an answer helps nobody
        reason = (error.strerror or "the disk is at fault").lower()
        raise QuestionError(
            f"The page can't write its files ({reason}): try again in ten minutes."
        ) from error


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text)[:40].strip("-").lower()
