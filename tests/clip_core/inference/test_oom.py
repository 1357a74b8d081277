from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from clip_core import ZeroShotClassifier
from clip_core.errors import NotEnoughMemoryError
from clip_core.inference.encoder import TextEncoder
from clip_core.inference.oom import is_out_of_memory, split_on_oom

LABELS = [f"a photo of thing {number}" for number in range(9)]


@contextmanager
def quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def with_room_for(most: int, seen: list[int]) -> Callable[[Tensor], Tensor]:
    """Doubles rows, and fails as CUDA does where there are more than fit."""

    def work(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return rows * 2

    return work


@pytest.mark.parametrize(
    ("count", "most", "calls"),
    [(7, 7, [7]), (7, 4, [7, 4, 3]), (5, 2, [5, 3, 2, 1, 2]), (2, 1, [2, 1, 1]), (0, 1, [0])],
)
def test_as_many_rows_as_fit(count: int, most: int, calls: list[int]) -> None:
    seen: list[int] = []
    rows = torch.arange(3 * count).view(count, 3)
    with quietly():
        assert split_on_oom(with_room_for(most, seen), rows).equal(rows * 2)
    assert seen == calls


def test_it_is_said() -> None:
    with pytest.warns(RuntimeWarning, match="for 4 rows at once: half as many are run"):
        split_on_oom(with_room_for(2, []), torch.ones(4, 1))


def test_a_single_row_that_does_not_fit_is_one_sentence() -> None:
    rows = torch.arange(3.0).view(3, 1)
    with quietly(), pytest.raises(NotEnoughMemoryError, match="choose a smaller model") as caught:
        split_on_oom(with_room_for(0, []), rows)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert is_out_of_memory(caught.value)


def test_other_errors_pass() -> None:
    calls = []

    def work(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x2 and 3x4)")

    with pytest.raises(RuntimeError, match="shapes"):
        split_on_oom(work, torch.ones(4, 2))
    assert calls == [4]


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 18.10 GB)",
    ],
)
def test_how_devices_say_so(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said))
    assert not is_out_of_memory(ValueError(said))


def test_this_processor_says_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.fixture
def make_short(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Leaves the text tower memory for so many texts at once."""

    def make(most: int) -> None:
        def encode(tower: TextEncoder, text: Tensor) -> Tensor:
            if len(text) > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return plain(tower, text)

        plain = TextEncoder._encode
        monkeypatch.setattr(TextEncoder, "_encode", encode)

    return make


@pytest.mark.parametrize("most", [4, 1])
def test_texts_have_the_same_features(
    most: int, tiny_model: Path, make_short: Callable[[int], None]
) -> None:
    classifier = ZeroShotClassifier(tiny_model, "cpu", texts_on_disk=False)
    expected = classifier.label_features([[label] for label in LABELS])
    make_short(most)
    again = ZeroShotClassifier(classifier.model, "cpu", texts_on_disk=False)
    with quietly():
        found = again.label_features([[label] for label in LABELS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_no_text_fits(tiny_model: Path, make_short: Callable[[int], None]) -> None:
    classifier = ZeroShotClassifier(tiny_model, "cpu", texts_on_disk=False)
    make_short(0)
    with quietly(), pytest.raises(NotEnoughMemoryError):
        classifier.label_features([[label] for label in LABELS])


@pytest.mark.parametrize("most", [2, 1])
@pytest.mark.parametrize("appearance", [False, True])
def test_pictures_have_the_same_features(
    most: int, appearance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    side = classifier.input_resolution
    squares = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    expected = classifier.encode_squares(squares, appearance)
    seen: list[int] = []
    tower = type(classifier.model.visual)
    plain = tower.features

    def features(tower: torch.nn.Module, rows: Tensor) -> Tensor:
        seen.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(tower, rows)

    monkeypatch.setattr(tower, "features", features)
    with quietly():
        found = classifier.encode_squares(squares, appearance)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert max(seen) == 5
    assert sum(rows for rows in seen if rows <= most) == 5


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@CUDA
def test_a_full_gpu_is_one_sentence(tiny_model: Path) -> None:
    classifier = ZeroShotClassifier(tiny_model, "cuda", "float32", texts_on_disk=False)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-9)
    try:
        with quietly(), pytest.raises(NotEnoughMemoryError):
            classifier.classify(Image.effect_noise((64, 64), 80), LABELS)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
