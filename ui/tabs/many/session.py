"""What the tabs for many pictures share: the pictures, the labels, the progress, and Stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from gradio.components import Component
from torch import Tensor

from clip_core.batch.inputs import PICTURE_SUFFIXES
from clip_core.batch.pipeline import encode_crops
from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import NO_PICTURES, STOPPED, ImageCollection, Kind, Progress
from ui.service.limits import LIMITS
from ui.service.model_pool import ModelPool
from ui.service.question import BEST, CUSTOM
from ui.service.zerogpu import on_gpu
from ui.widgets.cumulative import Updates, fresh, merge
from ui.widgets.gallery import draw_problems
from ui.widgets.question_form import QuestionParts
from ui.widgets.status_line import status_line

# One such run at a time: it takes its turns with those who ask about one picture.
MANY: dict[str, Any] = {
    "preprocess": False,
    "concurrency_id": "many",
    "concurrency_limit": 1,
    "show_progress": "hidden",
    "api_visibility": "private",
}


QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


CHOSEN = "The template, the model and the square are those chosen under Classify."


class Chosen(NamedTuple):
    """What is chosen under Classify, and goes for many pictures too."""

    template: str  # as it is written, or the name of a set
    model: str
    framing: str

    @property
    def kind(self) -> Kind:
        """The features that labels and phrases are compared with."""
        return self.model, self.framing, False


class Start(NamedTuple):
    """A button that begins a run. is_ready: whether it can be pressed while nothing runs."""

    button: gr.Button
    run: Callable[..., Iterator[dict[Any, Any]]]
    inputs: list[Any]
    outputs: list[Any]
    is_ready: Callable[[ImageCollection | None], bool]


class ManyParts:
    """What the tabs share: components, and the run that they all begin with."""

    def __init__(self, models: ModelPool, question: QuestionParts) -> None:
        self.models = models
        self.question = question
        with gr.Row():
            with gr.Column(scale=5, min_width=280):
                self.files = gr.File(
                    label=f"Pictures or zips, {LIMITS.pictures:,} at most",
                    file_count="multiple",
                    file_types=[*PICTURE_SUFFIXES, ".zip", ".csv"],
                    height=160,
                    elem_id="many-files",
                    elem_classes="theirs",
                )
            with gr.Column(scale=6, min_width=280):
                limits = f"{LIMITS.file_mb} MB a file at most, zips too. "
                gr.HTML(status_line(limits + CHOSEN), elem_id="many-limits", elem_classes="bare")
                self.progress = gr.HTML("", elem_id="many-progress", elem_classes="bare")
                self.stop = gr.Button("Stop", size="sm", visible=False, elem_id="many-stop")
                self.problems = gr.HTML("", elem_id="many-problems", elem_classes="bare")
        self.album = gr.State(None)
        self.folder = Path(self.files.GRADIO_CACHE)
        self.results: list[Component | gr.Row] = []  # what other pictures make out of date
        self._starts: list[Start] = []
        self._going = 0  # runs, of anybody

        @on_gpu
        def run(kind: Kind, batch: list[np.ndarray]) -> Tensor:
            with models.use(kind[0]) as classifier:
                return encode_crops(classifier, batch, appearance=kind[2]).cpu()

        self._run = run

    @property
    def asked(self) -> list[Component]:
        """The inputs of every run: `begin` takes their values."""
        menu = self.question.menu
        return [
            self.album,
            self.question.template,
            self.question.custom,
            menu.model,
            menu.answered,
            self.question.framing,
        ]

    def on(
        self,
        button: gr.Button,
        run: Callable[..., Iterator[dict[Any, Any]]],
        inputs: list[Any],
        outputs: list[Any],
        is_ready: Callable[[ImageCollection | None], bool] = lambda album: True,
    ) -> None:
        """Has a button begin a run, a generator of updates, once `wire` is called.

        run takes the values of `asked`, then those of `inputs`.
        """
        self._starts.append(Start(button, run, inputs, outputs, is_ready))

    def wire(self) -> None:
        """Wires all runs: each turns every start off until it ends, so that none waits unseen."""
        shared = [self.progress, self.stop, *(start.button for start in self._starts)]

        def wait(album: ImageCollection | None) -> dict[Any, Any]:
            if album is not None:
                album.stopping = False
            said = "Waiting for another run to end …" if self._going else "Starting …"
            return {
                self.progress: status_line(said),
                self.stop: gr.update(visible=self._going > 0),
                **self._switch(album, on=False),
            }

        def give_up(album: ImageCollection | None) -> dict[Any, Any]:
            return {self.progress: "", self.stop: _hidden(), **self._switch(album, on=True)}

        for start in self._starts:
            waiting = start.button.click(wait, self.album, shared, **QUICK)
            outputs = [*shared, self.problems, *start.outputs]
            running = waiting.then(
                self.guarded(start), [*self.asked, *start.inputs], outputs, **MANY
            )
            running.failure(give_up, self.album, shared, **QUICK)

        # Said in the browser, before the run can say that it ended
        said = json.dumps(status_line("Stopping …"))
        self.stop.click(None, None, self.progress, js=f"() => {said}", **QUICK)
        self.stop.click(_stop, self.album, None, **QUICK)

    def guarded(self, start: Start) -> Callable[..., Iterator[dict[Any, Any]]]:
        """Its run with errors as sentences, each update whole, and the starts off until the end."""

        def guarded(album: ImageCollection | None, *values: Any) -> Iterator[dict[Any, Any]]:
            shown: Updates = self._switch(album, on=False)
            pictures = album.pictures if album is not None else []
            self._going += 1
            try:
                for update in start.run(album, *values):
                    merge(shown, update)
                    yield fresh(shown)
            except QuestionError as error:
                is_wrong = not isinstance(error, IncompleteError)
                shown[self.progress] = status_line(str(error), problem=is_wrong)
            finally:
                self._going -= 1
            merge(shown, {self.stop: _hidden(), **self._switch(album, on=True)})
            if album is not None and album.pictures is not pictures:
                merge(shown, self.hide([each for each in self.results if each in start.outputs]))
            yield fresh(shown)

        return guarded

    def _switch(self, album: ImageCollection | None, on: bool) -> dict[Any, Any]:
        return {
            start.button: gr.update(interactive=on and start.is_ready(album))
            for start in self._starts
        }

    def hide(self, results: Sequence[Component | gr.Row]) -> dict[Any, Any]:
        """The updates that put results out of sight."""
        return {each: "" if isinstance(each, gr.HTML) else _hidden() for each in results}

    def begin(self, album: ImageCollection | None, kind: Kind) -> Iterator[dict[Any, Any]]:
        """Encodes the pictures, telling how far it is; afterwards `album` has their features.

        Raises QuestionError, with one sentence.
        """
        if album is None or not album.pictures:
            raise QuestionError(NO_PICTURES)
        with self.models.use(kind[0]) as classifier:
            resolution = classifier.input_resolution

        def run(batch: list[np.ndarray]) -> Tensor:
            return self._run(kind, batch)

        for progress in album.encode(kind, resolution, run):
            bad = sum(picture.problem is not None for picture in album.pictures)
            yield {
                self.progress: draw_progress(progress, bad),
                self.problems: draw_problems(album.pictures),
                self.stop: gr.update(visible=progress.done < progress.total),
            }
        if album.stopping:
            if not album.encoded(kind):
                raise IncompleteError(STOPPED)
            yield {self.progress: status_line(STOPPED)}
        elif not album.encoded(kind):
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


def draw_progress(progress: Progress, bad: int) -> str:
    """HTML: how many pictures are done, how fast it goes, and how long it will take.

    bad: of those done, the ones that can't be read.
    """
    read, total = progress.done - bad, progress.total
    said = f"{read:,} of {total:,} pictures"
    if progress.done < total:
        left = progress.seconds_left
        if left is not None:
            said += f", {progress.rate:,.0f} a second, {duration(left)} left"
        said += " …"
    elif progress.new:
        said += f" in {progress.seconds:,.1f} s, {progress.rate:,.1f} a second."
    else:
        said += "."
    bar = ""
    if progress.done < total:
        bar = f'<progress max="{total}" value="{progress.done}" aria-label="done"></progress>'
    return f'<div class="note" role="status">{escape(said)}{bar}</div>'


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min"


def _stop(album: ImageCollection | None) -> None:
    if album is not None:
        album.stopping = True


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hidden() -> Any:
    return gr.update(visible=False)
