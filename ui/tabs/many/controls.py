"""Controls that the tabs for many images share: the files, the progress, Stop, and the runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from clip_core.batch.inputs import PICTURE_SUFFIXES
from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import STOPPED, ImageCollection, Progress
from ui.service.limits import LIMITS
from ui.widgets.cumulative import cumulative_updates
from ui.widgets.events import BATCH, INSTANT
from ui.widgets.gallery import draw_problems
from ui.widgets.question_form import QuestionParts
from ui.widgets.status_line import ProgressBar, status_line

from .session import BatchJob, BatchSession, Updates

SELECTED = "The template, the model and the square are those chosen under Classify."


class Start(NamedTuple):
    """A button that starts a job. is_ready: whether it can be pressed while nothing runs."""

    button: gr.Button
    job: BatchJob
    inputs: list[Any]
    outputs: list[Any]
    is_ready: Callable[[ImageCollection], bool]


class BatchControls:
    """Lays out the shared components, and wires every job of the tabs to its button."""

    def __init__(self, session: BatchSession, question: QuestionParts) -> None:
        self.session = session
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
                gr.HTML(status_line(limits + SELECTED), elem_id="many-limits", elem_classes="bare")
                self.progress = gr.HTML("", elem_id="many-progress", elem_classes="bare")
                self.stop = gr.Button("Stop", size="sm", visible=False, elem_id="many-stop")
                self.problems = gr.HTML("", elem_id="many-problems", elem_classes="bare")
        self.collection = gr.State(None)  # an ImageCollection once files came
        self.folder = Path(self.files.GRADIO_CACHE)
        self.results: list[Component | gr.Row] = []  # hidden when the images change
        self._starts: list[Start] = []

    def start_with(
        self,
        button: gr.Button,
        job: BatchJob,
        inputs: list[Any],
        outputs: list[Any],
        is_ready: Callable[[ImageCollection], bool] = lambda collection: True,
    ) -> None:
        """Registers a job to run when a button is pressed; `wire` connects them.

        inputs: their values follow the selection in `job.prepare`.
        """
        self._starts.append(Start(button, job, inputs, outputs, is_ready))

    def wire(self) -> None:
        """Connects all jobs. A job disables every start button until it ends."""
        shared = [self.progress, self.stop, *(start.button for start in self._starts)]
        form, menu = self.question, self.question.menu
        selection = [
            form.template,
            form.custom,
            menu.model,
            menu.answered,
            form.framing,
        ]

        def wait(collection: ImageCollection | None) -> Updates:
            if collection is not None:
                collection.stopping = False
            waits = self.session.running > 0
            return {
                self.progress: status_line(
                    "Waiting for another run to end …" if waits else "Starting …"
                ),
                self.stop: gr.update(visible=waits),
                **self._enable(None),
            }

        def give_up(collection: ImageCollection | None) -> Updates:
            return {self.progress: "", **self._ended(collection)}

        for start in self._starts:
            waiting = start.button.click(wait, self.collection, shared, **INSTANT)
            running = waiting.then(
                self.runner(start.button),
                [self.collection, *selection, *start.inputs],
                [*shared, self.problems, *start.outputs],
                **BATCH,
            )
            running.failure(give_up, self.collection, shared, **INSTANT)
        # Shown by the browser, before the run can report that it ended
        said = json.dumps(status_line("Stopping …"))
        self.stop.click(None, None, self.progress, js=f"() => {said}", **INSTANT)
        self.stop.click(_stop, self.collection, None, **INSTANT)

    def runner(self, button: gr.Button) -> Callable[..., Iterator[Updates]]:
        """The handler of a button: runs its job, with errors as sentences."""
        (start,) = (each for each in self._starts if each.button is button)

        @cumulative_updates
        def run(collection: ImageCollection | None, *values: Any) -> Iterator[Updates]:
            collection = collection or ImageCollection(self.folder)
            images = collection.pictures
            error_line: Updates = {}
            try:
                for progress, updates in self.session.run(start.job, collection, values):
                    yield self._enable(None) | self._report(collection, progress) | updates
            except QuestionError as error:
                is_wrong = not isinstance(error, IncompleteError)
                error_line = {self.progress: status_line(str(error), problem=is_wrong)}
            hidden = {}
            if collection.pictures is not images:  # other files came meanwhile
                hidden = self.hide([each for each in self.results if each in start.outputs])
            yield error_line | self._ended(collection) | hidden

        return run

    def hide(self, results: Sequence[Component | gr.Row]) -> Updates:
        """The updates that hide results."""
        return {
            each: "" if isinstance(each, gr.HTML) else gr.update(visible=False) for each in results
        }

    def _report(self, collection: ImageCollection, progress: Progress | None) -> Updates:
        """The updates for a step of a run, None for its last."""
        if progress is None:
            return {self.progress: status_line(STOPPED)} if collection.stopping else {}
        bad = sum(image.problem is not None for image in collection.pictures)
        return {
            self.progress: draw_progress(progress, bad),
            self.problems: draw_problems(collection.pictures),
            self.stop: gr.update(visible=progress.done < progress.total),
        }

    def _ended(self, collection: ImageCollection | None) -> Updates:
        collection = collection or ImageCollection(self.folder)
        return {self.stop: gr.update(visible=False), **self._enable(collection)}

    def _enable(self, collection: ImageCollection | None) -> Updates:
        """The updates that enable the start buttons that suit a collection; none for None."""
        return {
            start.button: gr.update(
                interactive=collection is not None and start.is_ready(collection)
            )
            for start in self._starts
        }


def draw_progress(progress: Progress, bad: int) -> str:
    """HTML: how many images are done, how fast it goes, and how long it will take.

    bad: of those done, the ones that can't be read.
    """
    done, total = progress.done, progress.total
    said = f"{done - bad:,} of {total:,} pictures"
    if done < total:
        left = progress.seconds_left
        if left is not None:
            said += f", {progress.rate:,.0f} a second, {duration(left)} left"
        return status_line(f"{said} …", progress=ProgressBar(done, total, "done"))
    if progress.new:
        return status_line(f"{said} in {progress.seconds:,.1f} s, {progress.rate:,.1f} a second.")
    return status_line(f"{said}.")


def duration(seconds: float) -> str:
    """Seconds in words: up to a minute and a half in seconds, beyond in minutes."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min"


def _stop(collection: ImageCollection | None) -> None:
    if collection is not None:
        collection.stopping = True
