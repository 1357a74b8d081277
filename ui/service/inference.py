"""Inference for the page and its API: every computation that needs a model.

`Inference` holds the pool of models. Each of its methods waits for the model that a question names,
runs on the GPU where there is one, and raises only `QuestionError`s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_core import Scores, ZeroShotClassifier
from clip_core.batch import classify, search
from clip_core.batch.classify import Ranking
from clip_core.batch.pipeline import encode_crops
from clip_core.errors import CheckpointError, ClipError, TextTooLongError
from clip_core.evaluation import ask
from clip_core.evaluation.statistics import Variant
from clip_core.explain import heatmap, similarity
from clip_core.explain.introspect import (
    LayerTrace,
    ModuleNode,
    TokenRow,
    module_tree,
    token_row,
    trace_image,
    trace_text,
)
from clip_core.explain.similarity import Similarities
from clip_core.images.decode import read_file
from clip_core.inference.oom import TOO_LITTLE_MEMORY, is_out_of_memory
from clip_core.tokenizer import tokenize
from prompts import TemplateError, UnknownNameError, fill_all

from .errors import QuestionError, UnexpectedError
from .examples import EXAMPLE_CAPTIONS, EXAMPLES
from .hints import find_hints
from .model_pool import ModelPool
from .question import BEST, Question, check_framing, shorten
from .telemetry import log_event, seconds_since
from .uploaded import uploaded_path
from .zerogpu import on_gpu

TRACED_PAIRS = 5  # images and captions in the similarity matrix of a trace

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Trace:
    """The steps by which a model compared images with texts."""

    is_yours: bool  # whether the first pair is the visitor's; else all are examples
    similarities: Similarities
    squares: list[Image.Image]  # what the model saw of each image
    captions: list[str]
    tokens: TokenRow  # of the first caption
    image: list[LayerTrace]  # of the first image
    text: list[LayerTrace]
    tree: ModuleNode


class Inference:
    """Computations with the models of a pool. Every method raises QuestionError when it can't."""

    def __init__(self, models: ModelPool) -> None:
        self.models = models
        # The only function that ZeroGPU marks. A worker process runs it, so what is passed to it
        # and what it returns must be picklable: module-level functions, not closures.
        self._on_model = on_gpu(self._compute)

    def score(self, question: Question) -> Scores:
        """Scores each label of a question."""
        started = time.perf_counter()
        scores = self._ask(question, ZeroShotClassifier.score, *_arguments(question))
        log_event(
            "answer",
            model=question.model,
            seconds=seconds_since(started),
            labels=len(scores.labels),
            labels_kept=scores.cached.texts,
            picture_kept=scores.cached.image,
        )
        return scores

    def score_each(self, question: Question, templates: Sequence[str]) -> list[Scores]:
        """Scores a question once with each of these templates instead of its own."""
        path, labels, _, framing = _arguments(question)
        prompts = fill_all(templates, labels)
        return self._ask(question, ZeroShotClassifier.score_each, path, labels, prompts, framing)

    def heat_maps(self, question: Question) -> tuple[Image.Image, np.ndarray]:
        """The square that the model sees (the middle one of several), and a heat map per label.

        The maps are float32 [labels, rows, columns], 0 to 1.
        """
        return self._ask(question, _heat_maps, *_arguments(question))

    def hints(self, question: Question, scores: Scores) -> list[str]:
        """Sentences about where CLIP is known to mislead with such labels and such an answer."""
        return self._ask(question, find_hints, question, scores)

    def similarity(self, questions: Sequence[Question]) -> Similarities:
        """Compares the image of each question with the prompts of the first."""
        first = questions[0]
        images = [(question.path, question.framing) for question in questions]
        return self._ask(first, _similarity, images, first.prompts)

    def crops(self, model: str, image: Mapping[str, Any], framing: str = BEST) -> list[Image.Image]:
        """The squares of an uploaded image that a model sees. Needs no GPU.

        image: as gradio's file data. framing: `BEST`, or one of the model's.
        """
        path, framed = uploaded_path(image), check_framing(framing)
        with translate_errors(model), self.models.use(model) as classifier:
            return classifier.squares(path, framed)

    def input_resolution(self, model: str) -> int:
        """Pixels of a side of the squares that a model takes. Needs no GPU."""
        with translate_errors(model), self.models.use(model) as classifier:
            return classifier.input_resolution

    def encode(self, model: str, batch: Sequence[np.ndarray], appearance: bool = False) -> Tensor:
        """Features [N, D] of N images on the CPU, each image given by its squares.

        batch: uint8 [squares, resolution, resolution, 3] each. appearance: features that compare
        images with images instead of with texts.
        """
        return self._run(model, (), _encode, list(batch), appearance)

    def rank(
        self,
        model: str,
        features: Tensor,
        labels: Sequence[str],
        prompts: Sequence[Sequence[str]],
    ) -> Ranking:
        """How well labels fit images that are encoded already. features: [N, D]."""
        return self._run(model, labels, _rank, features, labels, prompts)

    def query(
        self,
        model: str,
        phrases: dict[str, Sequence[str]],
        minus: dict[str, Sequence[str]],
        like: Tensor | None = None,
    ) -> Tensor:
        """The vector to search encoded images for, float32 [D] on the CPU.

        phrases: what is wanted, each with its prompts. minus: what is not wanted, likewise. like:
        features [D] of an image to find others like.
        """
        labels = (*phrases, *minus)
        wanted, unwanted = list(phrases.values()), list(minus.values())
        return self._run(model, labels, _query, wanted, [] if like is None else [like], unwanted)

    def score_variants(
        self,
        model: str,
        features: Tensor,
        labels: Sequence[str],
        prompts: Sequence[tuple[str, Sequence[Sequence[str]]]],
    ) -> list[Variant]:
        """Scores encoded images once for each variant. features: [N, D].

        prompts: the name of each variant, and the prompts of each label in it.
        """
        return self._run(model, labels, _score_variants, features, prompts)

    def trace(self, model: str, question: Question | None = None) -> Trace:
        """What a question goes through in a model, beside some examples.

        question: None to use the examples alone.
        """
        labels = question.labels if question else ()
        return self._run(model, labels, _trace, question)

    def _ask(
        self,
        question: Question,
        compute: Callable[Concatenate[ZeroShotClassifier, P], T],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        return self._run(question.model, question.labels, compute, *arguments, **options)

    def _run(
        self,
        model: str,
        labels: Sequence[str],
        compute: Callable[Concatenate[ZeroShotClassifier, P], T],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        return self._on_model(model, labels, compute, *arguments, **options)

    def _compute(
        self,
        model: str,
        labels: Sequence[str],
        compute: Callable[Concatenate[ZeroShotClassifier, P], T],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        with translate_errors(model, labels), self.models.use(model) as classifier:
            return compute(classifier, *arguments, **options)


@contextmanager
def translate_errors(model: str, labels: Sequence[str] = ()) -> Iterator[None]:
    """Raises every error of a computation as QuestionError, with one sentence for the visitor.

    labels: those whose prompts are computed. An error that is not meant for people is a bug: it is
    logged with its traceback, and raised as UnexpectedError.
    """
    try:
        yield
    except QuestionError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            log_event("problem", logging.ERROR, kind=type(error).__name__, model=model)
            raise QuestionError(TOO_LITTLE_MEMORY) from error
        if not isinstance(error, ClipError | TemplateError | UnknownNameError):
            raise UnexpectedError.logged(error, model=model) from error
        log_event("problem", kind=type(error).__name__, model=model)
        raise QuestionError(_sentence(error, model, labels)) from error


def _sentence(error: Exception, model: str, labels: Sequence[str]) -> str:
    if isinstance(error, TextTooLongError):
        # The longest of those that hold it: a short label may be a part of others' prompts
        label = max((label for label in labels if label in error.text), key=len, default="")
        return (
            f"The label “{shorten(label)}” has {error.tokens} tokens in its prompt, and the model "
            f"reads at most {error.context_length}: shorten it."
        )
    if isinstance(error, CheckpointError):
        return f"The model {model} could not be loaded. {error}"
    return str(error)


def _arguments(
    question: Question,
) -> tuple[str | bytes, tuple[str, ...], list[list[str]], str | None]:
    return question.path, question.labels, question.prompts, question.framing


def _heat_maps(
    classifier: ZeroShotClassifier,
    path: str | Path | bytes,
    labels: Sequence[str],
    prompts: Sequence[Sequence[str]],
    framing: str | None,
) -> tuple[Image.Image, np.ndarray]:
    squares = classifier.squares(path, framing)
    maps = heatmap.heat_maps(classifier, path, labels, prompts, framing)
    return squares[len(squares) // 2], maps


def _similarity(
    classifier: ZeroShotClassifier,
    images: Sequence[tuple[str | bytes, str | None]],
    prompts: Sequence[Sequence[str]],
) -> Similarities:
    features = [classifier.image_features(path, framing) for path, framing in images]
    texts = classifier.label_features(prompts)
    return similarity.compare(torch.stack(features), texts, classifier.model.logit_scale)


def _encode(
    classifier: ZeroShotClassifier, batch: Sequence[np.ndarray], appearance: bool
) -> Tensor:
    return encode_crops(classifier, batch, appearance).cpu()


def _rank(
    classifier: ZeroShotClassifier,
    features: Tensor,
    labels: Sequence[str],
    prompts: Sequence[Sequence[str]],
) -> Ranking:
    return classify.rank(classifier, features, classifier.label_features(prompts), labels)


def _query(
    classifier: ZeroShotClassifier,
    phrases: Sequence[Sequence[str]],
    pictures: Sequence[Tensor],
    minus: Sequence[Sequence[str]],
) -> Tensor:
    return search.make_query(classifier, phrases, pictures, minus).cpu()


def _score_variants(
    classifier: ZeroShotClassifier,
    features: Tensor,
    prompts: Sequence[tuple[str, Sequence[Sequence[str]]]],
) -> list[Variant]:
    return list(ask.score_variants(classifier, features, prompts))


def _trace(classifier: ZeroShotClassifier, question: Question | None) -> Trace:
    pairs = [((EXAMPLES / name).read_bytes(), text) for name, text in EXAMPLE_CAPTIONS.items()]
    framing = None
    if question is not None:
        framing = question.framing
        best = int(classifier.score(*_arguments(question)).logits.argmax())
        image = read_file(question.path)
        pairs = [pair for pair in pairs if pair[0] != image]  # the image may be one of the examples
        pairs.insert(0, (image, question.prompts[best][0]))
    pairs = pairs[:TRACED_PAIRS]
    captions = [caption for _, caption in pairs]
    images = torch.stack([classifier.image_features(image, framing) for image, _ in pairs])
    squares = [classifier.squares(image, framing) for image, _ in pairs]
    texts = classifier.label_features([[caption] for caption in captions])
    clip = classifier.model
    pixels = classifier.pixels(pairs[0][0], framing)
    tokens = tokenize([captions[0]], clip.context_length)
    return Trace(
        question is not None,
        similarity.compare(images, texts, clip.logit_scale),
        [each[len(each) // 2] for each in squares],
        captions,
        token_row(captions[0], clip.context_length),
        classifier.in_turn(lambda: trace_image(clip, pixels)),
        classifier.in_turn(lambda: trace_text(clip, tokens)),
        module_tree(clip),
    )
