"""A rebuilt file is taken for the committed one when it is, and not when it only looks like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clip_core import load
from clip_core.weights.resolve import BUNDLED
from training import reproduce
from training.basic_words import BASIC_WORDS, TABLE, read_table
from training.evaluate import Seen
from training.reproduce import (
    Weights,
    compare,
    differences,
    equal_values,
    measure,
    steps_apart,
)

Change = Callable[[dict[str, Tensor], dict[str, str]], object]


@pytest.fixture(scope="module")
def committed() -> Weights:
    return Weights.read(BUNDLED)


def changed(committed: Weights, change: Change) -> Weights:
    tensors = {name: tensor.clone() for name, tensor in committed.tensors.items()}
    notes = dict(committed.notes)
    change(tensors, notes)
    return Weights(tensors, notes)


def nudge(name: str, steps: int) -> Change:
    """Moves a value by so many of float16's steps."""

    def change(tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
        moved = tensors[name].clone()
        moved.view(-1).view(torch.int16)[0] += steps
        tensors[name] = moved

    return change


def half_as_sure(tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    tensors["logit_scale"] = tensors["logit_scale"] / 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (nudge("visual.stem.weight", 2), "visual.stem.weight: locked, and more than a step"),
        (nudge("visual.blocks.3.project.bias", -2), "visual.blocks.3.project.bias: locked"),
        (nudge("visual.classifier.bias", 300), "visual.classifier.bias: locked"),
        (lambda tensors, _: tensors["vocab_size"].add_(2), "vocab_size: locked"),
        (half_as_sure, "logit_scale: locked"),
        (lambda tensors, _: tensors.pop("text_projection"), "text_projection: in one of the"),
        (
            lambda tensors, _: tensors.update(text_projection=tensors["text_projection"].float()),
            "text_projection: ((256, 256), torch.float16) in the committed file, "
            "((256, 256), torch.float32) in the rebuilt.",
        ),
        (lambda _, notes: notes.update(default_framing="crop"), "default_framing: another note."),
    ],
)
def test_what_nothing_learns_must_be_the_same(
    committed: Weights, change: Change, sentence: str
) -> None:
    (found,) = differences(committed, changed(committed, change))
    assert found.startswith(sentence)


def test_rounding_what_is_learnt_and_versions_may_differ(committed: Weights) -> None:
    rebuilt = changed(committed, nudge("text_projection", 300))
    nudge("visual.stem.weight", 1)(rebuilt.tensors, rebuilt.notes)
    rebuilt.notes["built"] = "on another day"
    assert differences(committed, rebuilt) == []
    for locked in (True, False):
        equal, count = equal_values(committed, rebuilt, locked)
        assert equal == count - 1 > 6_000_000


def test_steps_are_counted_over_zero_and_over_powers_of_two() -> None:
    tiny = 2.0**-24
    ours = torch.tensor([-tiny, -0.0, 1 - 2.0**-11, -2.0], dtype=torch.float16)
    assert steps_apart(ours, torch.tensor([0, 0, 1, -2]).half()) == 1
    assert steps_apart(ours, torch.tensor([tiny, 0, 1, -2]).half()) == 2
    assert steps_apart(ours, torch.tensor([0, 0, 1, 2]).half()) == 2 * 0x4000


def test_the_same_bytes_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(BUNDLED.read_bytes())
    assert compare(BUNDLED, copy, tmp_path)
    assert "The same bytes." in capsys.readouterr().out


def with_noise(committed: Weights, noise: float, file: Path) -> Path:
    """Writes the committed weights, the rows of the text tower's tokens shaken by so much."""

    def shake(tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
        torch.manual_seed(0)
        weight = tensors["token_embedding.weight"].float()
        moved = weight + noise * weight.std() * torch.randn_like(weight)
        tensors["token_embedding.weight"] = moved.half()

    rebuilt = changed(committed, shake)
    save_file(rebuilt.tensors, file, rebuilt.notes)
    return file


@pytest.mark.parametrize(("noise", "same"), [(0.001, True), (0.5, False)])
def test_perturbed_weights_are_refused(
    committed: Weights,
    noise: float,
    same: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the basic words alone, which need no picture."""
    file = with_noise(committed, noise, tmp_path / "rebuilt.safetensors")
    monkeypatch.setattr(reproduce, "held_out", lambda work: {})
    monkeypatch.setattr("sys.argv", ["reproduce", str(file)])
    assert reproduce.main() == (0 if same else 1)
    printed = capsys.readouterr().out
    assert "locked: 6,063,029 of 6,063,029 values equal to the bit" in printed
    assert ("Not the same model" in printed) != same


def test_a_file_that_is_less_often_right_is_refused(committed: Weights, tmp_path: Path) -> None:
    """On pictures of which the classifier is sure: classes that have one basic word."""
    table = read_table(TABLE)
    logits = 20 * torch.eye(1000)[list(table)]
    right = torch.tensor([BASIC_WORDS.index(word) for word in table.values()])
    seen = Seen(torch.zeros(len(table), 1280), logits, BASIC_WORDS, right, [])
    file = with_noise(committed, 0.5, tmp_path / "rebuilt.safetensors")
    ours, theirs = load(BUNDLED, device="cpu")[0], load(file, device="cpu")[0]
    assert all(each.holds for each in measure(ours, ours, {"stamps": seen}))
    pictures, *_ = measure(ours, theirs, {"stamps": seen})
    assert pictures.committed > 90
    assert pictures.rebuilt < pictures.committed - 3
    assert not pictures.holds
