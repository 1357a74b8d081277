"""Batch runs: what the visitor selected for them, and the encoding of a collection of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ui.service.errors import IncompleteError, QuestionError
from ui.service.image_collection import NO_PICTURES, STOPPED, ImageCollection, Kind, Progress
from ui.service.inference import Inference
from ui.service.question import BEST, CUSTOM

Updates = dict[Any, Any]  # by component, as gradio takes them


class Selection(NamedTuple):
    """What is selected under Classify, and holds for many images too."""

    template: str  # its text, or the name of a set
    model: str
    framing: str  # `BEST` or one of the model's


@dataclass(frozen=True, eq=False)
class BatchJob:
    """What a tab does with a collection.

    prepare: checks what was selected and typed; returns the kinds of features that the job needs,
    and a request. show: the updates that show the result of the request, once all images are
    encoded. preview: those that show it of the images that are encoded so far.
    """

    prepare: Callable[..., tuple[list[Kind], Any]]  # (collection, selection, *values)
    show: Callable[[ImageCollection, Any], Updates]
    preview: Callable[[ImageCollection, Any], Updates] | None = None


class BatchSession:
    """Runs over collections of images, of all visitors. One runs at a time; the others wait."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.models = inference.models
        self.running = 0

    def select(self, values: Sequence[str]) -> Selection:
        """The selection in the values of template, custom, model, answered and framing."""
        template, custom, wanted, answered, framing = values
        model = self.models.answering(wanted, answered)
        return Selection(custom if template == CUSTOM else template, model, framing)

    def kind(self, model: str, framing: str, appearance: bool = False) -> Kind:
        """The kind of features that a model computes.

        appearance: for comparing images with images instead of with texts.
        """
        if framing == BEST:
            framing = self.models.default_framing(model)
        return model, framing, appearance

    def run(
        self, job: BatchJob, collection: ImageCollection, values: Sequence[Any]
    ) -> Iterator[tuple[Progress | None, Updates]]:
        """Runs a job: a step with its progress now and then, and at the end the result.

        values: the five of `select`, then those of the job's own inputs. Raises QuestionError for
        what is wrong with them, for an empty collection, and if no image can be encoded.
        """
        self.running += 1
        try:
            kinds, request = job.prepare(collection, self.select(values[:5]), *values[5:])
            if not collection.pictures:
                raise QuestionError(NO_PICTURES)
            for kind in kinds:
                for progress in self.encode(collection, kind):
                    if job.preview is not None and collection.encoded(kind):
                        yield progress, job.preview(collection, request)
                    else:
                        yield progress, {}
            yield None, job.show(collection, request)
        finally:
            self.running -= 1

    def encode(self, collection: ImageCollection, kind: Kind) -> Iterator[Progress]:
        """Encodes the images that have no features of this kind yet, until somebody stops it.

        Afterwards the collection has some. Raises QuestionError otherwise.
        """
        model, _, appearance = kind

        def run(batch: list[np.ndarray]) -> Tensor:
            return self.inference.encode(model, batch, appearance)

        yield from collection.encode(kind, self.inference.input_resolution(model), run)
        if collection.encoded(kind):
            return
        if collection.stopping:
            raise IncompleteError(STOPPED)
        reason = next((image.problem for image in collection.pictures if image.problem), "")
        raise QuestionError(f"None of these pictures can be read. {reason}".strip())
