"""Encode once, ask often: how well each label fits a picture.

Source: section 3.1 of the paper (arXiv 2103.00020): zero-shot classification by the softmax of
scaled cosine similarities, and prompt ensembling over text features (3.1.4).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clip_core.images.decode import open_image, read_file
from clip_core.inference.batcher import Batcher
from clip_core.inference.encoder import Encoder
from clip_core.inference.onnx import check_onnx
from clip_core.inference.oom import split_on_oom
from clip_core.inference.text_store import TextStore
from clip_core.weights.build import Checkpoint, build_model, read_checkpoint
from clip_core.weights.resolve import choose_dtype, find_weights, place, weights_folder

from .cache import FeatureCache
from .config import Config
from .efficientnet import EfficientNetLite
from .model import CLIP
from .open_set import NoneOfThese, judge, read_fit
from .preprocess import FRAMINGS, center_square, squares, to_pixels
from .tokenizer import tokenize

IMAGE_CACHE_ENTRIES = 1024  # pictures: 4 KB each at the largest embed_dim, 1024 float32
TEXT_CACHE_ENTRIES = 16384  # labels in their prompts: 64 MB at that size

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cached:
    """What an answer did not have to compute."""

    image: bool  # the picture's features were kept from an earlier question
    texts: int  # so many of the labels' features were


@dataclass(frozen=True)
class _Encoded:
    """Features, and how many of them were cached."""

    features: Tensor
    kept: int


@dataclass(frozen=True)
class Scores:
    """How well each label fits one picture. Arrays are in the order of `labels`."""

    labels: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]  # the texts scored for each label
    probabilities: np.ndarray  # float32 [labels], sums to 1: shares among these labels
    logits: np.ndarray  # float32 [labels], cosine similarity times the model's logit scale
    cosine_similarities: np.ndarray  # float32 [labels], -1 to 1
    model: str  # which model answered
    device: str  # where it ran
    framing: str  # how the picture was made square, one of `preprocess.FRAMINGS`
    cached: Cached
    seconds: float  # from the call to the answer
    none_of_these: NoneOfThese | None = None  # None where nothing was fitted for the model

    def to_frame(self) -> pd.DataFrame:
        """One row a label, best first.

        Columns: label, prompt, probability, logit, cosine_similarity, rank (1 is best). For an
        ensemble, prompt shows the first text and how many more there are.
        """
        first = [
            texts[0] if len(texts) == 1 else f"{texts[0]} (+{len(texts) - 1} more)"
            for texts in self.prompts
        ]
        frame = pd.DataFrame(
            {
                "label": self.labels,
                "prompt": first,
                "probability": self.probabilities,
                "logit": self.logits,
                "cosine_similarity": self.cosine_similarities,
            }
        )
        frame = frame.sort_values("logit", ascending=False, kind="stable", ignore_index=True)
        return frame.assign(rank=range(1, len(frame) + 1))


class ZeroShotClassifier:
    """Scores labels in anyone's own words against pictures, with one model on one device.

    model: what `load` takes, a name, file, folder or repository; a checkpoint that was read; or a
    CLIP model already made (moved to `device`). device: CUDA, else Apple's MPS, else the CPU,
    unless named. dtype: as for `load`. name: what answers call the model, unless it has one. pack:
    whether, on a CPU, weights may be in memory twice, which is quicker for a picture and a few
    labels. turns: the line in which forward passes wait, for a server that has many threads; None
    runs them in the thread that asks. onnx: has ONNX Runtime run the image tower, on a CPU in
    float32; see `inference/onnx.py`.

    The features of pictures and labels are kept in two bounded caches that belong to this
    classifier, hence to its model, and are keyed by content: the same pixels or bytes, the same
    prompts. Labels' are kept on disk too, beside downloaded weights, unless texts_on_disk is False;
    see `inference/text_store.py`. Safe to share by threads.

    Raises CheckpointError or DownloadError when the model can't be loaded, and ValueError when ONNX
    Runtime is wanted and can't be had.
    """

    def __init__(
        self,
        model: str | Path | Checkpoint | CLIP = "bundled",
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        name: str | None = None,
        pack: bool = True,
        texts_on_disk: bool = True,
        turns: Batcher | None = None,
        onnx: bool = False,
    ) -> None:
        self.device = torch.device(device or best_device())
        self.dtype = choose_dtype(dtype, self.device)
        if onnx:
            check_onnx(self.device, self.dtype)
        # Those that measured best, where a file names them
        self.default_template: str | None = None
        self.default_framing = "crop"
        config = Config()
        metadata: dict[str, str] = {}
        if isinstance(model, CLIP):
            self.model = place(model.eval(), self.device, self.dtype)
        else:
            if isinstance(model, str | Path):
                path, known = find_weights(model)
                name = name or (path.name if Path(model) == path else str(model))
                model = read_checkpoint(path, known)
            config = model.config
            metadata = model.metadata
            self.default_template = metadata.get("default_template")
            if metadata.get("default_framing") in FRAMINGS:
                self.default_framing = metadata["default_framing"]
            self.model = build_model(model, self.device, self.dtype)
        self._encoder = Encoder(self.model, pack, weights_folder() / "onnx" if onnx else None)
        self._turns = turns
        self.name = name or "custom"
        self.input_resolution: int = self.model.visual.input_resolution
        # Mean and standard deviation of red, green and blue in 0..1, as the model was trained on
        self.pixel_statistics = (config.image_mean, config.image_std)
        # What tells whether any label fits; None until it was fitted for this model
        self.fitted = read_fit(self.name, metadata, self.model.visual, weights_folder())
        self._images = FeatureCache(IMAGE_CACHE_ENTRIES)
        self._texts = FeatureCache(TEXT_CACHE_ENTRIES)
        self._stored_texts = TextStore(weights_folder(), self.model) if texts_on_disk else None

    def classify(
        self,
        image: Image.Image | str | Path | bytes,
        labels: Sequence[str],
        templates: Sequence[str] = ("{}",),
        framing: str | None = None,
    ) -> Scores:
        """How well each label, put in the place of `{}` in each template, fits the picture.

        image: a PIL picture, a path, or a file's bytes. templates: plain strings that hold `{}`
        once; several are an ensemble. framing: how the picture is made square, one of
        `preprocess.FRAMINGS`, else the model's `default_framing`; the features of several squares
        are averaged as an ensemble's are.

        Raises ImageError for a picture that can't be used, TextTooLongError for a prompt longer
        than the context, ValueError for no labels, a template without exactly one `{}` or an
        unknown framing.
        """
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"The template {template!r} must hold {{}} exactly once.")
        return self.score(
            image,
            labels,
            [[t.replace("{}", label) for t in templates] for label in labels],
            framing,
        )

    @torch.inference_mode()
    def score(
        self,
        image: Image.Image | str | Path | bytes,
        labels: Sequence[str],
        prompts: Sequence[Sequence[str]],
        framing: str | None = None,
    ) -> Scores:
        """As `classify`, with the texts that stand for each label, already filled.

        prompts: one or more texts for each label; those of one label are an ensemble.
        """
        started = time.perf_counter()
        if not labels or len(labels) != len(prompts) or not all(prompts):
            raise ValueError("At least one label is needed, and a prompt for each.")
        texts = self._encode_prompts([tuple(each) for each in prompts])
        picture = self._encode_image(image, framing)
        text_features, image_features = texts.features, picture.features
        cosines = text_features @ image_features
        none = judge(image_features, text_features, self.fitted) if self.fitted else None
        logits = cosines * self.model.logit_scale.to(cosines.device).exp().float()
        probabilities = logits.softmax(dim=0)
        return Scores(
            labels=tuple(labels),
            prompts=tuple(tuple(texts) for texts in prompts),
            probabilities=probabilities.cpu().numpy(),
            logits=logits.cpu().numpy(),
            cosine_similarities=cosines.cpu().numpy(),
            model=self.name,
            device=str(self.device),
            framing=framing or self.default_framing,
            cached=Cached(picture.kept == 1, texts.kept),
            seconds=time.perf_counter() - started,
            none_of_these=none,
        )

    def score_each(
        self,
        image: Image.Image | str | Path | bytes,
        labels: Sequence[str],
        prompts: Sequence[Sequence[str]],
        framing: str | None = None,
    ) -> list[Scores]:
        """One answer for each prompt by itself, where `score` makes an ensemble of them.

        prompts: equally many texts for each label, in the same order. Raises as `score` does, and
        ValueError when one label has more texts than another.
        """
        columns = zip(*prompts, strict=True)
        return [self.score(image, labels, [[t] for t in texts], framing) for texts in columns]

    @torch.inference_mode()
    def label_features(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """What stands for each label: normalised float32 [labels, D], one mean of its prompts."""
        return self._encode_prompts([tuple(each) for each in prompts]).features

    @torch.inference_mode()
    def image_features(
        self, image: Image.Image | str | Path | bytes, framing: str | None = None
    ) -> Tensor:
        """What stands for a picture: normalised float32 [D]. Raises as `squares` does."""
        return self._encode_image(image, framing).features

    @torch.inference_mode()
    def encode_squares(self, squares: np.ndarray, appearance: bool = False) -> Tensor:
        """Normalised float32 features [N, D] of squares as `squares` gives them, in one forward.

        squares: uint8 [N, input_resolution, input_resolution, 3]. appearance: those that compare
        pictures with pictures, [N, `appearance_dim`]. Keeps nothing.
        """
        pixels = self._to_pixels(squares)
        encode = self._encoder.encode_appearance if appearance else self._encoder.encode_image
        return F.normalize(self.in_turn(lambda: encode(pixels)).float(), dim=-1)

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """Runs what needs much of the processor where this classifier's forward passes run."""
        return work() if self._turns is None else self._turns.run(work)

    @property
    def extra_bytes(self) -> int:
        """The memory that it takes beside the model's parameters, without what it keeps."""
        return self._encoder.extra_bytes

    @property
    def appearance_dim(self) -> int | None:
        """The length of features that compare pictures with pictures; None: the usual ones do."""
        tower = self.model.visual
        return tower.classifier.in_features if isinstance(tower, EfficientNetLite) else None

    def pixels(self, image: Image.Image | str | Path | bytes, framing: str | None = None) -> Tensor:
        """The squares as the model takes them, on its device, preprocessed.

        Float32 [squares, 3, input_resolution, input_resolution]. Raises as `squares` does.
        """
        return self._pixels(image, framing)

    def square(self, image: Image.Image | str | Path | bytes) -> Image.Image:
        """The RGB square that the model sees of a picture, input_resolution pixels a side."""
        return center_square(open_image(image), self.input_resolution)

    def squares(
        self, image: Image.Image | str | Path | bytes, framing: str | None = None
    ) -> list[Image.Image]:
        """The RGB squares that the model sees of a picture, input_resolution pixels a side.

        framing: as for `classify`. Raises ImageError, and ValueError for a framing that is none of
        `preprocess.FRAMINGS`.
        """
        return squares(open_image(image), self.input_resolution, framing or self.default_framing)

    def _pixels(self, image: Image.Image | str | Path | bytes, framing: str | None) -> Tensor:
        seen = np.stack([np.asarray(square) for square in self.squares(image, framing)])
        return self._to_pixels(seen)

    def _to_pixels(self, squares: np.ndarray) -> Tensor:
        def convert(rows: Tensor) -> Tensor:
            return to_pixels(rows.to(self.device), *self.pixel_statistics)

        return split_on_oom(convert, torch.from_numpy(squares))

    def _encode_image(
        self, image: Image.Image | str | Path | bytes, framing: str | None = None
    ) -> _Encoded:
        """Normalised float32 features [D]."""
        content, source = _content(image)
        framing = framing or self.default_framing
        key = (content, framing)
        features = self._images.get(key)
        if features is not None:
            return _Encoded(features, kept=1)
        if self._turns is None:
            encoded = self._encoder.encode_image(self._pixels(source, framing))
        else:
            with self._turns.decoding:
                pixels = self._pixels(source, framing)
            encoded = self._turns.run_rows(self._encoder.encode_image, pixels)
        each = F.normalize(encoded.float(), dim=-1)
        features = each[0] if len(each) == 1 else F.normalize(each.mean(dim=0), dim=-1)
        self._images.put(key, features)
        return _Encoded(features, kept=0)

    def _encode_prompts(self, prompts: Sequence[tuple[str, ...]]) -> _Encoded:
        """Normalised float32 features [labels, D]."""
        kept = {texts: self._texts.get(texts) for texts in prompts}
        found = {texts: features for texts, features in kept.items() if features is not None}
        missing = [texts for texts in kept if texts not in found]
        if missing and self._stored_texts is not None:
            stored = self._stored_texts.get(missing)
            found |= {texts: features.to(self.device) for texts, features in stored.items()}
            missing = [texts for texts in missing if texts not in found]
        kept_count = sum(texts in found for texts in prompts)
        if missing:
            encoded = self._encode_texts([text for texts in missing for text in texts])
            sizes = [len(texts) for texts in missing]
            for texts, rows in zip(missing, encoded.split(sizes), strict=True):
                # Section 3.1.4: the ensemble is one mean of features, not of probabilities.
                found[texts] = F.normalize(rows.mean(dim=0), dim=-1)
            if self._stored_texts is not None:
                self._stored_texts.put({texts: found[texts] for texts in missing})
        for texts, features in found.items():
            self._texts.put(texts, features)
        return _Encoded(torch.stack([found[texts] for texts in prompts]), kept_count)

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Normalised float32 features [texts, D]."""
        tokens = tokenize(texts, self.model.context_length)
        return F.normalize(self._encoder.encode_text(tokens, self.in_turn).float(), dim=-1)


def best_device() -> str:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _content(
    image: Image.Image | str | Path | bytes,
) -> tuple[str, Image.Image | bytes]:
    """A digest of a picture's content, and the picture, read from disk no more than once."""
    if isinstance(image, Image.Image):
        image = open_image(image)
        return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest(), image
    data = read_file(image)
    return hashlib.sha256(data).hexdigest(), data


def none_of_these(
    classifier: ZeroShotClassifier,
    image: Image.Image | str | Path | bytes,
    prompts: Sequence[Sequence[str]],
    framing: str | None = None,
) -> NoneOfThese | None:
    """Whether any label fits a picture; None for a model that nothing was fitted for.

    image, prompts, framing: as for `ZeroShotClassifier.score`, whose kept features are used. Raises
    as it does.
    """
    if classifier.fitted is None:
        return None
    image_features = classifier.image_features(image, framing)
    return judge(image_features, classifier.label_features(prompts), classifier.fitted)
