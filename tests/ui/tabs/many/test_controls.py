"""The runs over many images, without a browser or a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gradio as gr
import pytest

from clip_core.evaluation.report import METHODS
from ui.server.translation import LANGUAGES, read_words
from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import (
    NO_PICTURES,
    STOPPED,
    ImageCollection,
    Kind,
    Picture,
    Progress,
)
from ui.tabs.many.controls import BatchControls
from ui.tabs.many.session import BatchJob, BatchSession, Selection

KIND = ("tiny", "crop", False)


class Session(BatchSession):
    """Runs jobs, and encodes without a model."""

    def __init__(self) -> None:
        self.running = 0

    def select(self, values: Any) -> Selection:
        return Selection("{}", "tiny", "crop")

    def encode(self, collection: ImageCollection, kind: Kind) -> Iterator[Progress]:
        for image in collection.pictures:
            image.features[kind] = cast(Any, "features")
        yield Progress(1, 1, 1, 1.0)


class Tab:
    """What a tab has: a gallery, its button, and one more button that needs something first."""

    def __init__(self) -> None:
        self.session = Session()
        with gr.Blocks():
            self.controls = BatchControls(self.session, cast(Any, None))
            self.gallery = gr.Gallery()
            self.said = gr.HTML()
            self.button, self.other = gr.Button(), gr.Button()
        self.controls.results += [self.gallery, self.said]
        outputs = [self.gallery, self.said]
        job = BatchJob(lambda *_: ([KIND], "request"), self.show, self.preview)
        self.controls.start_with(self.button, job, [], outputs)
        self.controls.start_with(
            self.other, job, [], [], lambda collection: collection.picked is not None
        )
        self.error: Exception | None = None

    def run(self, collection: ImageCollection | None) -> Iterator[dict[Any, Any]]:
        return self.controls.runner(self.button)(collection)

    def preview(self, collection: ImageCollection, request: str) -> dict[Any, Any]:
        return {self.gallery: gr.update(value=["a.jpg"], visible=True)}

    def show(self, collection: ImageCollection, request: str) -> dict[Any, Any]:
        assert request == "request"
        if self.error:
            raise self.error
        return {self.said: "done"}


@pytest.fixture
def tab() -> Tab:
    return Tab()


@pytest.fixture
def collection(tmp_path: Path) -> ImageCollection:
    return ImageCollection(tmp_path, [Picture("a.jpg", "a.jpg")])


def test_each_update_holds_all_before_it_whatever_gradio_does_to_those(
    tab: Tab, collection: ImageCollection
) -> None:
    seen = []
    for update in tab.run(collection):
        seen.append(dict(update))
        assert update[tab.gallery]["value"] == ["a.jpg"]
        for value in update.values():
            if isinstance(value, dict):
                value.pop("value", None)  # as gradio does with what it sends
    assert len(seen) == 3
    assert tab.said not in seen[0]
    assert seen[-1][tab.said] == "done"


def test_starts_are_off_until_the_end(tab: Tab, collection: ImageCollection) -> None:
    *during, last = tab.run(collection)
    assert not any(update[tab.button]["interactive"] for update in during)
    assert last[tab.button]["interactive"]
    assert not last[tab.other]["interactive"]
    collection.picked = collection.pictures[0]
    *_, last = tab.run(collection)
    assert last[tab.other]["interactive"]
    assert not last[tab.controls.stop]["visible"]


def test_others_wait_while_one_runs(tab: Tab, collection: ImageCollection) -> None:
    running = tab.run(collection)
    next(running)
    assert tab.session.running == 1
    assert len(list(running)) == 2
    assert tab.session.running == 0


@pytest.mark.parametrize(
    ("error", "is_red"), [(QuestionError("Type two."), True), (IncompleteError(STOPPED), False)]
)
def test_what_is_wrong_is_said_and_what_was_stopped_is_not_wrong(
    tab: Tab, collection: ImageCollection, error: Exception, is_red: bool
) -> None:
    tab.error = error
    *_, last = tab.run(collection)
    assert str(error) in last[tab.controls.progress]
    assert ("problem" in last[tab.controls.progress]) == is_red
    assert last[tab.button]["interactive"]


def test_what_was_stopped_is_said_beside_its_result(tab: Tab, collection: ImageCollection) -> None:
    collection.stopping = True
    *_, last = tab.run(collection)
    assert STOPPED in last[tab.controls.progress]
    assert last[tab.said] == "done"


@pytest.mark.parametrize("has_files", [True, False])
def test_without_images_nothing_runs(tab: Tab, tmp_path: Path, has_files: bool) -> None:
    (last,) = tab.run(ImageCollection(tmp_path) if has_files else None)
    assert NO_PICTURES in last[tab.controls.progress]
    assert tab.gallery not in last
    assert tab.session.running == 0


def test_a_run_over_other_pictures_than_those_that_are_there_shows_nothing(
    tab: Tab, collection: ImageCollection
) -> None:
    running = tab.run(collection)
    next(running)
    collection.take([])
    *_, last = running
    assert not last[tab.gallery]["visible"]
    assert last[tab.said] == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_methods_are_translated(language: str) -> None:
    assert METHODS in read_words(language)
