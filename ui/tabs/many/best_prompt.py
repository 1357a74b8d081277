"""The tab "Best prompt": which template, wording or model is best for labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import torch

from clip_core.batch.tables import to_csv
from clip_core.evaluation.ask import check_variant_count, variant_name
from clip_core.evaluation.dataset import IDENTITY, LabelAliases, parse_aliases
from clip_core.evaluation.plots import draw_calibration, draw_confusion
from clip_core.evaluation.report import DISAGREEMENTS, METHODS, draw_variants, write_report
from clip_core.evaluation.statistics import Comparison, Variant, compare
from prompts import fill_all
from ui.service.errors import IncompleteError, QuestionError
from ui.service.export import fresh_directory
from ui.service.image_collection import NO_PICTURES, STOPPED, ImageCollection, Kind, Picture
from ui.service.inference import Inference
from ui.service.model_pool import ModelPool
from ui.service.question import templates_for
from ui.widgets.gallery import gallery_items, lay_out_gallery
from ui.widgets.question_form import template_choices
from ui.widgets.render import render
from ui.widgets.status_line import status_line

from .controls import BatchControls
from .session import BatchJob, Selection, Updates

HOW = (
    "For pictures with known labels: a zip with a folder for each label, or pictures and a CSV "
    "with the columns picture and label. All ways of asking are compared with the first."
)
NAME = "best-prompt"


class VariantGrid(NamedTuple):
    """What to compare: every model with every template and every wording of the labels."""

    kinds: list[Kind]  # one for each model
    templates: dict[str, tuple[str, ...]]  # by the name of a set, or by the template itself
    wordings: list[LabelAliases]


class Outcome(NamedTuple):
    """The components that show a comparison."""

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


def build_best_prompt_tab(controls: BatchControls) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    session, pool = controls.session, controls.session.models
    gr.Markdown(HOW)
    with gr.Row():
        templates = gr.Dropdown(
            label="Templates to compare",
            info="or type your own; the first is what the others are compared with",
            choices=template_choices(with_custom=False),
            value=["a photo of a {}.", "{}"],
            multiselect=True,
            allow_custom_value=True,
            elem_id="best-templates",
            min_width=220,
        )
        models = gr.Dropdown(
            label="Models to compare",
            info="left empty: the one under Classify",
            choices=[(pool.label(name), name) for name in pool.names],
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

    def prepare(
        collection: ImageCollection,
        selection: Selection,
        names: list[str] | None,
        wanted: list[str] | None,
        text: str | None,
    ) -> tuple[list[Kind], VariantGrid]:
        chosen = wanted or [selection.model]
        sets, wordings = read_variants(names or [""], text, len(chosen))
        check_labels(collection)
        check_ready(pool, chosen)
        kinds = [session.kind(model, selection.framing) for model in chosen]
        return kinds, VariantGrid(kinds, sets, wordings)

    def show(collection: ImageCollection, grid: VariantGrid) -> Updates:
        # Stopped on the way, the models may not have encoded the same images
        images = [
            image
            for image in collection.pictures
            if image.label and all(kind in image.features for kind in grid.kinds)
        ]
        if collection.stopping and not images:
            raise IncompleteError(STOPPED)
        variants = score_grid(session.inference, images, collection.labels, grid)
        comparison = compare_variants(variants, collection.labels, images)
        chosen = [model for model, _, _ in grid.kinds]
        return show_comparison(controls.folder, outcome, images, comparison, chosen)

    controls.results += outcome
    controls.start_with(start, BatchJob(prepare, show), [templates, models, wording], list(outcome))


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
    """A plot below its title: gradio's own label would cover a part of the plot."""
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


def read_variants(
    names: Sequence[str], text: str | None, models: int
) -> tuple[dict[str, tuple[str, ...]], list[LabelAliases]]:
    """The templates by name, and the wordings of the labels. Raises QuestionError.

    names: of sets, or templates. text: other words as typed. models: how many are compared.
    """
    try:
        templates = {name: templates_for(name) for name in names}
        wordings = [IDENTITY]
        if text:
            wordings.append(LabelAliases("other words", parse_aliases(text)))
        check_variant_count(models * len(templates) * len(wordings))
    except ValueError as error:
        raise QuestionError(str(error)) from error
    return templates, wordings


def check_labels(collection: ImageCollection) -> None:
    """Raises QuestionError for images that don't have two labels at least."""
    if not collection.pictures:
        raise QuestionError(NO_PICTURES)
    if collection.labels:
        return
    if any(image.label for image in collection.pictures):
        raise QuestionError("All are in one folder, so they have no labels to compare. " + HOW)
    raise QuestionError("These pictures have no labels. " + HOW)


def check_ready(pool: ModelPool, models: Sequence[str]) -> None:
    """Requests the models that are not loaded. Raises QuestionError while one is on its way."""
    for model in models:
        if not pool.is_ready(model):
            pool.request(model)
    missing = [model for model in models if not pool.is_ready(model)]
    if missing:
        raise QuestionError(f"{missing[0]} is on its way: press Compare in a moment.")


def score_grid(
    inference: Inference, images: Sequence[Picture], labels: Sequence[str], grid: VariantGrid
) -> list[Variant]:
    """The scores of every variant. Raises QuestionError."""
    variants: list[Variant] = []
    for kind in grid.kinds:
        model = kind[0]
        prompts = [
            (
                variant_name(model if len(grid.kinds) > 1 else None, name, wording.name),
                fill_all(templates, wording.of(labels)),
            )
            for wording in grid.wordings
            for name, templates in grid.templates.items()
        ]
        features = torch.stack([image.features[kind] for image in images])
        variants += inference.score_variants(model, features, labels, prompts)
    return variants


def compare_variants(
    variants: list[Variant], labels: list[str], images: list[Picture]
) -> Comparison:
    """Compares variants on labelled images. Raises QuestionError, with one sentence."""
    truth = [labels.index(str(image.label)) for image in images]
    try:
        return compare(variants, labels, truth, [image.name for image in images])
    except ValueError as error:
        raise QuestionError(str(error)) from error


def show_comparison(
    folder: Path,
    outcome: Outcome,
    images: list[Picture],
    comparison: Comparison,
    models: Sequence[str],
) -> Updates:
    """The updates that show a comparison on these images."""
    several = len(comparison.results) > 1
    rows = comparison.disagreements()[:DISAGREEMENTS].tolist() if several else []
    captions = [describe_row(comparison, row) for row in rows]
    files = (
        *(outcome.report, outcome.table, outcome.answers),
        *(outcome.confusion, outcome.calibration),
    )
    paths = write_files(folder, images, comparison, models)
    return {
        outcome.verdict: draw_verdict(comparison),
        outcome.said: describe_disagreements(comparison) if several else "",
        outcome.gallery: gr.update(
            value=gallery_items([images[row] for row in rows], captions), visible=bool(rows)
        ),
        **{
            component: gr.update(value=str(path), visible=True)
            for component, path in zip(files, paths, strict=True)
        },
        outcome.confusion_title: f"<h3>{outcome.confusion.alt_text}</h3>",
        outcome.calibration_title: f"<h3>{outcome.calibration.alt_text}</h3>",
    }


def write_files(
    folder: Path, images: list[Picture], comparison: Comparison, models: Sequence[str]
) -> list[Path]:
    """The report, two tables and two plots, in a directory with an unguessable name."""
    notes = [("Models", ", ".join(models)), ("Date", date.today().isoformat())]
    best = max(comparison.results, key=lambda result: result.right)
    thumbnails = {
        image.name: Path(image.thumbnail).read_bytes() for image in images if image.thumbnail
    }
    with fresh_directory(folder) as directory:
        report = directory / f"{NAME}.html"
        write_report(comparison, report, "Which way of asking is best?", notes, thumbnails)
        table, answers = directory / f"{NAME}.csv", directory / f"{NAME}-answers.csv"
        for path, frame in ((table, comparison.to_frame()), (answers, comparison.answers())):
            path.write_text(to_csv(frame), encoding="utf-8", newline="")
        confusion, calibration = directory / "confusion.png", directory / "calibration.png"
        confusion.write_bytes(draw_confusion(best, comparison.labels))
        calibration.write_bytes(draw_calibration(comparison.results))
    return [report, table, answers, confusion, calibration]


def draw_verdict(comparison: Comparison) -> str:
    """HTML: what the comparison shows, what weakens it, and the table of all variants."""
    return render(
        "verdict", comparison=comparison, table=draw_variants(comparison), methods=METHODS
    )


def describe_disagreements(comparison: Comparison) -> str:
    """HTML: how often the variants disagree."""
    count = len(comparison.disagreements())
    said = (
        f"They disagree on {count:,} pictures. Below each stand the right label and the answers."
        if count
        else "They agree on every picture."
    )
    return status_line(said, is_live=False)


def describe_row(comparison: Comparison, row: int) -> str:
    """The right label of an image, and the answer of each variant."""
    answers = [comparison.labels[result.answers[row]] for result in comparison.results]
    return f"{comparison.labels[comparison.truth[row]]}: {' / '.join(answers)}"
