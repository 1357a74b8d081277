"""The tab "Best prompt": which template, wording or model is best for labelled pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
import torch
from torch import Tensor

from clip_core.batch.tables import to_csv
from clip_core.evaluation.ask import check_variant_count, score_variants, variant_name
from clip_core.evaluation.dataset import IDENTITY, LabelAliases, parse_aliases
from clip_core.evaluation.plots import draw_calibration, draw_confusion
from clip_core.evaluation.report import DISAGREEMENTS, METHODS, draw_variants, write_report
from clip_core.evaluation.statistics import Comparison, Variant, compare
from prompts import fill_all
from ui.service.errors import IncompleteError, QuestionError
from ui.service.export import fresh_directory
from ui.service.image_collection import NO_PICTURES, STOPPED, ImageCollection, Kind, Picture
from ui.service.question import CUSTOM, Question, templates_for, translate_errors
from ui.service.zerogpu import on_gpu
from ui.widgets.gallery import items, lay_out_gallery
from ui.widgets.question_form import template_choices

if TYPE_CHECKING:
    from .session import ManyParts

HOW = (
    "For pictures with known labels: a zip with a folder for each label, or pictures and a CSV "
    "with the columns picture and label. All ways of asking are compared with the first."
)
NAME = "best-prompt"


class Outcome(NamedTuple):
    """The components that a comparison fills."""

    verdict: gr.HTML
    report: gr.DownloadButton
    table: gr.DownloadButton
    answers: gr.DownloadButton
    said: gr.HTML
    gallery: gr.Gallery
    confusion_title: gr.HTML
    confusion: gr.Image
    calibration_title: gr.HTML
    calibration: gr.Image


def build_best_prompt_tab(parts: ManyParts) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    gr.Markdown(HOW)
    with gr.Row():
        templates = gr.Dropdown(
            label="Templates to compare",
            info="or type your own; the first is what the others are compared with",
            choices=[choice for choice in template_choices() if choice[1] != CUSTOM],
            value=["a photo of a {}.", "{}"],
            multiselect=True,
            allow_custom_value=True,
            elem_id="best-templates",
            min_width=220,
        )
        models = gr.Dropdown(
            label="Models to compare",
            info="left empty: the one under Classify",
            choices=[(parts.models.label(name), name) for name in parts.models.names],
            value=[],
            multiselect=True,
            elem_id="best-models",
            min_width=160,
        )
    wording = gr.Textbox(
        label="Other words for the labels",
        info="a line for each, as label = other words; left empty: none",
        placeholder="dog = a dog, man’s best friend",
        lines=2,
        max_lines=4,
        elem_id="best-wording",
    )
    start = gr.Button("Compare", variant="primary", elem_id="best-start")
    outcome = _lay_out_outcome()

    @on_gpu
    def ask(
        kind: Kind,
        features: Tensor,
        labels: list[str],
        chosen: dict[str, tuple[str, ...]],
        wordings: list[LabelAliases],
        several: bool,
    ) -> list[Variant]:
        asked = Question("", "", tuple(labels), "", [], kind[0])
        with translate_errors(asked), parts.models.use(kind[0]) as classifier:
            shown = kind[0] if several else None
            filled = (
                (variant_name(shown, name, wording.name), fill_all(texts, wording.of(labels)))
                for wording in wordings
                for name, texts in chosen.items()
            )
            return list(score_variants(classifier, features, filled))

    def run(album: ImageCollection | None, *values: Any) -> Iterator[dict[Any, Any]]:
        *words, names, wanted, text = values
        chosen = parts.choose(words)
        asked = wanted or [chosen.model]
        try:
            sets = {name: templates_for(name) for name in names or [""]}
            wordings = [
                IDENTITY,
                *([LabelAliases("other words", parse_aliases(text))] if text else []),
            ]
            check_variant_count(len(asked) * len(sets) * len(wordings))
        except ValueError as error:
            raise QuestionError(str(error)) from error
        check_labels(album)
        ready(parts, asked)
        kinds = [parts.choose(words, model).kind for model in asked]
        for kind in kinds:
            yield from parts.begin(album, kind)
        assert album is not None
        # Stopped on the way, models may not have seen the same pictures
        known = [p for p in album.pictures if p.label and all(kind in p.features for kind in kinds)]
        if album.stopping and not known:
            raise IncompleteError(STOPPED)
        ways: list[Variant] = []
        for kind in kinds:
            features = torch.stack([p.features[kind] for p in known])
            ways += ask(kind, features, album.labels, sets, wordings, len(asked) > 1)
        comparison = compare_ways(ways, album.labels, known)
        yield show(parts.folder, outcome, known, comparison, asked)

    parts.results += outcome
    parts.on(start, run, [templates, models, wording], list(outcome))


def _lay_out_outcome() -> Outcome:
    verdict = gr.HTML("", elem_id="best-verdict", elem_classes=["bare", "report"])
    with gr.Row():
        report = gr.DownloadButton(
            "Report as HTML", size="sm", visible=False, min_width=110, elem_id="best-report"
        )
        table = gr.DownloadButton(
            "Figures as CSV", size="sm", visible=False, min_width=110, elem_id="best-csv"
        )
        answers = gr.DownloadButton(
            "Answers as CSV", size="sm", visible=False, min_width=110, elem_id="best-answers"
        )
    said = gr.HTML("", elem_id="best-said", elem_classes="bare")
    gallery = lay_out_gallery("best-gallery")
    with gr.Row():
        with gr.Column(min_width=260):
            confusion = _lay_out_plot("Right labels in rows, answers in columns", "best-confusion")
        with gr.Column(min_width=260):
            calibration = _lay_out_plot(
                "Do the probabilities mean what they say?", "best-calibration"
            )
    return Outcome(verdict, report, table, answers, said, gallery, *confusion, *calibration)


def _lay_out_plot(title: str, name: str) -> tuple[gr.HTML, gr.Image]:
    """A plot below its title: gradio's own label would lie on the plot."""
    above = gr.HTML("", elem_classes=["bare", "plot-title"])
    plot = gr.Image(
        show_label=False,
        alt_text=title,
        interactive=False,
        visible=False,
        buttons=["download", "fullscreen"],
        elem_id=name,
    )
    return above, plot


def _title(plot: gr.Image) -> str:
    return f"<h3>{plot.alt_text}</h3>"


def show(
    folder: Path,
    outcome: Outcome,
    pictures: list[Picture],
    comparison: Comparison,
    models: Sequence[str],
) -> dict[Any, Any]:
    """The updates that show a comparison of the ways on these pictures."""
    paths = write_files(folder, pictures, comparison, models)
    several = len(comparison.results) > 1
    rows = comparison.disagreements()[:DISAGREEMENTS].tolist() if several else []
    captions = [describe_row(comparison, row) for row in rows]
    shown = items([pictures[row] for row in rows], captions)
    files = (
        *(outcome.report, outcome.table, outcome.answers),
        *(outcome.confusion, outcome.calibration),
    )
    return {
        outcome.verdict: draw_verdict(comparison),
        outcome.said: draw_said(comparison) if several else "",
        outcome.gallery: gr.update(value=shown, visible=bool(rows)),
        **{
            component: gr.update(value=str(path), visible=True)
            for component, path in zip(files, paths, strict=True)
        },
        outcome.confusion_title: _title(outcome.confusion),
        outcome.calibration_title: _title(outcome.calibration),
    }


def check_labels(album: ImageCollection | None) -> None:
    """Raises QuestionError for pictures that have no two labels."""
    if album is None or not album.pictures:
        raise QuestionError(NO_PICTURES)
    if album.labels:
        return
    if any(picture.label for picture in album.pictures):
        raise QuestionError("All are in one folder, so they have no labels to compare. " + HOW)
    raise QuestionError("These pictures have no labels. " + HOW)


def ready(parts: ManyParts, models: Sequence[str]) -> None:
    """Sends for models that are not here. Raises QuestionError while one is on its way."""
    away = [model for model in models if not parts.models.is_ready(model)]
    for model in away:
        parts.models.request(model)
    away = [model for model in away if not parts.models.is_ready(model)]
    if away:
        raise QuestionError(f"{away[0]} is on its way: press Compare in a moment.")


def compare_ways(ways: list[Variant], labels: list[str], pictures: list[Picture]) -> Comparison:
    """Compares ways on labelled pictures. Raises QuestionError, with one sentence."""
    truth = [labels.index(str(picture.label)) for picture in pictures]
    try:
        return compare(ways, labels, truth, [picture.name for picture in pictures])
    except ValueError as error:
        raise QuestionError(str(error)) from error


def write_files(
    folder: Path, pictures: list[Picture], comparison: Comparison, models: Sequence[str]
) -> list[Path]:
    """The report, the two tables and the two plots, in a directory nobody can guess."""
    notes = [("Models", ", ".join(models)), ("Date", date.today().isoformat())]
    best = max(comparison.results, key=lambda result: result.right)
    with fresh_directory(folder) as directory:
        seen = {
            picture.name: Path(picture.thumbnail).read_bytes()
            for picture in pictures
            if picture.thumbnail
        }
        paths = [directory / f"{NAME}{end}" for end in (".html", ".csv", "-answers.csv")]
        write_report(comparison, paths[0], "Which way of asking is best?", notes, seen)
        for path, frame in zip(
            paths[1:], (comparison.to_frame(), comparison.answers()), strict=True
        ):
            path.write_text(to_csv(frame), encoding="utf-8", newline="")
        paths += [directory / "confusion.png", directory / "calibration.png"]
        paths[3].write_bytes(draw_confusion(best, comparison.labels))
        paths[4].write_bytes(draw_calibration(comparison.results))
    return paths


def draw_verdict(comparison: Comparison) -> str:
    """HTML: what can be said, what makes it weak, and the table of all ways."""
    warned = "".join(f"<p>{escape(warning)}</p>" for warning in comparison.warnings)
    return (
        f'<p class="verdict" role="status">{escape(comparison.sentence)}</p>{warned}'
        f"{draw_variants(comparison)}"
        f"<details><summary>What the columns mean</summary><p>{escape(METHODS)}</p></details>"
    )


def draw_said(comparison: Comparison) -> str:
    """HTML: how often the ways disagree."""
    count = len(comparison.disagreements())
    said = (
        f"They disagree on {count:,} pictures. Below each stand the right label and the answers."
        if count
        else "They agree on every picture."
    )
    return f'<div class="note">{said}</div>'


def describe_row(comparison: Comparison, row: int) -> str:
    """The right label of a picture, and what each way answers."""
    answers = [comparison.labels[result.answers[row]] for result in comparison.results]
    return f"{comparison.labels[comparison.truth[row]]}: {' / '.join(answers)}"
