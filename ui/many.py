"""The tab "Many pictures": a set of pictures that is sorted, searched, and used to compare prompts.

What the tabs within it share: the pictures, the labels, how far the model is, and how to stop it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from gradio.components import Component
from torch import Tensor

from clip_core.many.encode import run_squares
from clip_core.many.sources import PICTURE_SUFFIXES

from .album import MAX_PICTURES, Album, Kind, Progress
from .best_prompt import build_best_prompt_tab
from .copies import build_copies_tab
from .find import build_find_tab
from .form import QuestionParts
from .models import Models
from .notes import note
from .question import BEST, CUSTOM, QuestionError
from .sort import build_sort_tab
from .zerogpu import on_gpu

# One such run at a time: it takes its turns with those who ask about one picture.
MANY: dict[str, Any] = {
    "preprocess": False,
    "trigger_mode": "always_last",
    "concurrency_id": "many",
    "concurrency_limit": 1,
    "show_progress": "hidden",
    "api_visibility": "private",
}


class Chosen(NamedTuple):
    """What is chosen under Classify, and goes for many pictures too."""

    template: str  # as it is written, or the name of a set
    model: str
    framing: str

    @property
    def kind(self) -> Kind:
        """The features that labels and phrases are compared with."""
        return self.model, self.framing, False


class ManyParts:
    """What the tabs share: components, and the run that they all begin with."""

    def __init__(self, models: Models, question: QuestionParts) -> None:
        self.models = models
        self._question = question
        with gr.Row():
            with gr.Column(scale=5, min_width=280):
                self.files = gr.File(
                    label=f"Pictures, or a zip of them; at most {MAX_PICTURES:,}",
                    file_count="multiple",
                    file_types=[*PICTURE_SUFFIXES, ".zip", ".csv"],
                    height=160,
                    elem_id="many-files",
                    elem_classes="theirs",
                )
            with gr.Column(scale=6, min_width=280):
                self.labels = gr.Textbox(
                    label="Labels: one a line, or on one line with commas",
                    info="The same as under Classify, as are the template, the model and the "
                    "square",
                    lines=5,
                    max_lines=5,
                    elem_id="many-labels",
                )
        self.progress = gr.HTML("", elem_id="many-progress", elem_classes="bare")
        self.stop = gr.Button("Stop", size="sm", visible=False, elem_id="many-stop")
        self.album = gr.State(None)
        self.folder = Path(self.files.GRADIO_CACHE)
        self.runs: list[Any] = []

        @on_gpu
        def run(kind: Kind, batch: list[np.ndarray]) -> Tensor:
            with models.use(kind[0]) as classifier:
                return run_squares(classifier, batch, appearance=kind[2]).cpu()

        self._run = run

    @property
    def asked(self) -> list[Component]:
        """The inputs of every run: `begin` takes their values."""
        menu = self._question.menu
        return [
            self.album,
            self._question.template,
            self._question.custom,
            menu.model,
            menu.answered,
            self._question.framing,
        ]

    def on(
        self, events: Sequence[Any], run: Callable[..., Any], inputs: list[Any], outputs: list[Any]
    ) -> None:
        """Wires a run, a generator of updates, so that it can be stopped.

        run takes the values of `asked`, then those of `inputs`.
        """

        def guarded(*values: Any) -> Iterator[dict[Any, Any]]:
            # Each update holds those before it: the browser may drop all but the last of several
            shown: dict[Any, Any] = {}
            try:
                for update in run(*values):
                    shown |= update
                    yield _fresh(shown)
            except QuestionError as error:
                shown[self.progress] = note(str(error), problem=True)
            yield _fresh(shown | {self.stop: _hidden()})

        self.runs.append(
            gr.on(
                events,
                guarded,
                [*self.asked, *inputs],
                [self.progress, self.stop, *outputs],
                **MANY,
            )
        )

    def begin(self, album: Album | None, kind: Kind) -> Iterator[dict[Any, Any]]:
        """Encodes the pictures, telling how far it is; afterwards `album` has their features.

        Raises QuestionError, with one sentence.
        """
        if album is None or not album.pictures:
            raise QuestionError("Drop some pictures above first.")
        with self.models.use(kind[0]) as classifier:
            resolution = classifier.input_resolution

        def run(batch: list[np.ndarray]) -> Tensor:
            return self._run(kind, batch)

        for progress in album.encode(kind, resolution, run):
            yield {
                self.progress: draw_progress(progress),
                self.stop: gr.update(visible=progress.done < progress.total),
            }
        if not album.encoded(kind):
            reason = next((p.problem for p in album.pictures if p.problem), "")
            raise QuestionError(f"None of these pictures can be read. {reason}".strip())

    def choose(self, values: Sequence[Any], other_model: str | None = None) -> Chosen:
        """What is chosen, from the values of `asked` without the album.

        other_model: one instead of the chosen one, which must be ready.
        """
        template, custom, wanted, answered, framing = values
        model = other_model or self.models.answering(wanted, answered)
        return Chosen(
            custom if template == CUSTOM else template,
            model,
            self.models.default_framing(model) if framing == BEST else framing,
        )


def build_many_tab(models: Models, question: QuestionParts, tab: gr.Tab) -> None:
    """Adds the tab's components to the Blocks in whose context it is called, and wires them."""
    parts = ManyParts(models, question)
    with gr.Tabs(elem_id="many"):
        with gr.Tab("Sort", id="sort"):
            show_sorted = build_sort_tab(parts)
        with gr.Tab("Find", id="find"):
            build_find_tab(parts)
        with gr.Tab("Copies", id="copies"):
            build_copies_tab(parts)
        with gr.Tab("Best prompt", id="best-prompt"):
            build_best_prompt_tab(parts)

    def take(album: Album | None, files: Any) -> tuple[Album, str]:
        # A folder of the visitor's own, where gradio deletes what is a day old
        album = album or Album(Path(tempfile.mkdtemp(dir=_made(parts.folder))))
        try:
            album.take(files)
        except QuestionError as error:
            return album, note(str(error), problem=True)
        return album, describe(album)

    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    parts.files.change(
        take,
        [parts.album, parts.files],
        [parts.album, parts.progress],
        preprocess=False,
        concurrency_id="many-files",
        concurrency_limit=4,
        **quick,
    )
    tab.select(None, question.labels, parts.labels, js="(labels) => labels", **quick)
    parts.labels.blur(
        None,
        parts.labels,
        [question.labels, question.typed_labels],
        js="(labels) => [labels, labels]",
        **quick,
    )
    parts.stop.click(
        lambda: (note("Stopped. What was done is kept: start again to go on."), _hidden()),
        None,
        [parts.progress, parts.stop],
        cancels=parts.runs,
        **quick,
    ).then(show_sorted[0], *show_sorted[1:], queue=False, **quick)


def describe(album: Album) -> str:
    """HTML: how many pictures there are, and what was left out."""
    count = len(album.pictures)
    if not count:
        return ""
    said = "1 picture." if count == 1 else f"{count:,} pictures."
    if album.left_out:
        said += f" {album.left_out:,} more are left out: the page takes {MAX_PICTURES:,}."
    labelled = {picture.label for picture in album.pictures if picture.label}
    if labelled:
        said += f" They are labelled, with {len(labelled):,} labels."
    return note(said)


def draw_progress(progress: Progress) -> str:
    """HTML: how many pictures are done, how fast it goes, and how long it will take."""
    said = f"{progress.done:,} of {progress.total:,} pictures"
    if progress.done < progress.total:
        left = progress.seconds_left
        if left is not None:
            said += f", {progress.rate:,.0f} a second, {duration(left)} left"
        said += " …"
    elif progress.new:
        said += f" in {progress.seconds:,.1f} s, {progress.rate:,.1f} a second."
    else:
        said += ", all known before."
    bar = ""
    if progress.done < progress.total:
        bar = f'<progress max="{progress.total}" value="{progress.done}" aria-label="done">'
        bar += "</progress>"
    return f'<div class="note" role="status">{escape(said)}{bar}</div>'


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fresh(updates: dict[Any, Any]) -> dict[Any, Any]:
    """The same updates, each a copy: gradio takes the value out of those that it has sent."""
    return {
        component: dict(update) if isinstance(update, dict) else update
        for component, update in updates.items()
    }


def _hidden() -> Any:
    return gr.update(visible=False)
