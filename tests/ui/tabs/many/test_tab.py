"""The runs over many pictures, without a browser or a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gradio as gr
import pytest

from clip_core.evaluation.report import METHODS
from ui.server.translation import LANGUAGES, read_words
from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import STOPPED, ImageCollection, Picture
from ui.tabs.many.session import ManyParts, Start


class Tab:
    """What a tab has: a gallery, its button, and one more button that needs something first."""

    def __init__(self) -> None:
        with gr.Blocks():
            self.parts = ManyParts(cast(Any, None), cast(Any, None))
            self.gallery = gr.Gallery()
            self.said = gr.HTML()
            self.button, self.other = gr.Button(), gr.Button()
        self.parts.results += [self.gallery, self.said]
        outputs = [self.gallery, self.said]
        self.start = Start(self.button, self.run, [], outputs, lambda album: True)
        self.parts.on(self.button, self.run, [], outputs)
        self.parts.on(self.other, self.run, [], [], lambda album: bool(album and album.picked))
        self.error: Exception | None = None

    def run(self, album: ImageCollection | None) -> Iterator[dict[Any, Any]]:
        yield {self.gallery: gr.update(value=["a.jpg"], visible=True)}
        yield {self.said: "done"}
        if self.error:
            raise self.error


@pytest.fixture
def tab() -> Tab:
    return Tab()


@pytest.fixture
def album(tmp_path: Path) -> ImageCollection:
    return ImageCollection(tmp_path, [Picture("a.jpg", "a.jpg")])


def test_each_update_holds_all_before_it_whatever_gradio_does_to_those(
    tab: Tab, album: ImageCollection
) -> None:
    seen = []
    for update in tab.parts.guarded(tab.start)(album):
        seen.append(dict(update))
        assert update[tab.gallery]["value"] == ["a.jpg"]
        for value in update.values():
            if isinstance(value, dict):
                value.pop("value", None)  # as gradio does with what it sends
    assert len(seen) == 3
    assert tab.said not in seen[0]
    assert seen[-1][tab.said] == "done"


def test_starts_are_off_until_the_end(tab: Tab, album: ImageCollection) -> None:
    *during, last = tab.parts.guarded(tab.start)(album)
    assert not any(update[tab.button]["interactive"] for update in during)
    assert last[tab.button]["interactive"]
    assert not last[tab.other]["interactive"]
    album.picked = album.pictures[0]
    *_, last = tab.parts.guarded(tab.start)(album)
    assert last[tab.other]["interactive"]
    assert not last[tab.parts.stop]["visible"]


@pytest.mark.parametrize(
    ("error", "is_red"), [(QuestionError("Type two."), True), (IncompleteError(STOPPED), False)]
)
def test_what_is_wrong_is_said_and_what_was_stopped_is_not_wrong(
    tab: Tab, album: ImageCollection, error: Exception, is_red: bool
) -> None:
    tab.error = error
    *_, last = tab.parts.guarded(tab.start)(album)
    assert str(error) in last[tab.parts.progress]
    assert ("problem" in last[tab.parts.progress]) == is_red
    assert last[tab.button]["interactive"]


def test_a_run_over_other_pictures_than_those_that_are_there_shows_nothing(
    tab: Tab, album: ImageCollection
) -> None:
    running = tab.parts.guarded(tab.start)(album)
    next(running)
    album.take([])
    *_, last = running
    assert not last[tab.gallery]["visible"]
    assert last[tab.said] == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_methods_are_translated(language: str) -> None:
    assert METHODS in read_words(language)
