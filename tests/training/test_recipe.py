"""The parts of the recipe that can go wrong silently."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageFont

from clip_core import load
from training import diagrams, distil
from training.align import Alignment
from training.backbone import fold
from training.features import Pairs
from training.imagenet import ImageNetClass
from training.names import Names, sample_pairs
from training.prototypes import build_bank, learn_prototypes
from training.wordnet import WordNet, parse_counts
from training.work import Work


def test_a_stage_is_written_whole_and_made_once(tmp_path: Path) -> None:
    work = Work(tmp_path)
    assert work.make("a/x.pt", lambda: torch.arange(3)).tolist() == [0, 1, 2]
    assert work.make("a/x.pt", lambda: pytest.fail("made twice")).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="half way"):
        work.make("y.pt", _fail)
    assert not work.path("y.pt").exists()


def _fail() -> None:
    raise RuntimeError("half way")


def test_no_two_names_of_a_batch_clash() -> None:
    count = 60
    clash = torch.eye(count, dtype=torch.bool)
    clash[::2, ::2] = True  # all even names are synonyms
    names = Names(
        texts=[],
        vectors=torch.zeros(3, count, 384),
        pictures=[[2 * i, 2 * i + 1] for i in range(count)],
        is_drawing=torch.arange(count) < 10,
        clash=clash,
    )
    chosen, pictures = sample_pairs(names, 40, 8, torch.Generator().manual_seed(0))
    inside = clash[chosen.unsqueeze(1), chosen]
    assert torch.equal(inside, torch.eye(len(chosen), dtype=torch.bool))
    assert (pictures // 2 == chosen).all()
    assert sum(name % 2 == 0 for name in chosen.tolist()) == 1


def test_distilling_twice_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distil, "STEPS", 2)
    monkeypatch.setattr(distil, "HELD_OUT_TEXTS", 8)
    tower = load("bundled", device="cpu")[0].visual.requires_grad_(False)
    g = torch.Generator().manual_seed(0)
    rows = distil.tokenize_all([f"a photo of {number} dogs" for number in range(40)])
    teacher = {
        "texts": torch.randn(len(rows), 384, generator=g),
        "tokens": torch.randn(distil.VOCAB_SIZE, 384, generator=g),
    }
    alignment = Alignment(
        project=torch.randn(256, 384, generator=g),
        prototypes=torch.randn(1000, 256, generator=g),
        proj_weight=torch.zeros(256, 1280),
        proj_bias=torch.ones(256),
        attention_scale=1.0,
    )
    pairs = Pairs(torch.rand(300, 1280, generator=g), torch.rand(300, 1000, generator=g), [], [])
    names = Names(
        texts=[[f"thing {number}" for number in range(300)]],
        vectors=torch.zeros(1, 300, 384),
        pictures=[[number] for number in range(300)],
        is_drawing=torch.arange(300) < 40,
        clash=torch.eye(300, dtype=torch.bool),
    )

    def distilled() -> dict[str, torch.Tensor]:
        torch.seed()  # nothing may depend on what was drawn before
        model = distil.build_clip(tower, seed=3)
        return distil.distil(model, rows, teacher, alignment, pairs, names, seed=3).state

    first, second = distilled(), distilled()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_prototypes_learn_their_kinds_and_keep_their_length() -> None:
    torch.manual_seed(0)
    classes = [
        ImageNetClass("1", ("Samoyed",), (("dog", 1),)),
        ImageNetClass("2", ("sloop",), (("boat", 1),)),
    ]
    bank = build_bank(classes, ["train", "pear"])
    said = F.normalize(torch.randn(3, len(bank.words), 16) * 0.1 + torch.randn(1, 6, 16), dim=-1)
    number = {word: i for i, word in enumerate(bank.words)}
    start = 3 * F.normalize(said[0, [number["train"], number["sloop"]]], dim=1)  # a wrong Samoyed
    wordnet = WordNet({}, {}, parse_counts(["dog%1:05:00:: 1 42", "boat%1:06:00:: 1 20"]))
    learnt = learn_prototypes(start, bank, said, wordnet, seed=0)
    assert torch.allclose(learnt.norm(dim=1), start.norm(dim=1))
    fit = F.normalize(learnt, dim=1) @ said.mean(0).T
    assert fit[0, number["dog"]] > fit[0, number["boat"]]
    assert fit[0, number["dog"]] > fit[0, number["pear"]]
    assert fit[1, number["boat"]] > fit[1, number["dog"]]


@pytest.mark.parametrize("draw", [diagrams.flow_chart, diagrams.network, diagrams.tree])
def test_a_seed_draws_the_same_diagram_again(draw, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    plain = ImageFont.load_default()
    monkeypatch.setattr(diagrams.Sketchbook, "__init__", _without_fonts)
    monkeypatch.setattr(diagrams.Sketchbook, "font", lambda *_: plain)

    def drawn(seed: int) -> Image.Image:
        return draw(diagrams.Sketchbook(random.Random(seed), ["dog", "cat"], Path()))

    assert np.array_equal(drawn(1), drawn(1))
    assert len({drawn(seed).tobytes() for seed in range(5)}) == 5
    assert np.asarray(drawn(1)).std() > 5  # something is on the page


def _without_fonts(self, r: random.Random, words: list[str], fonts: Path) -> None:  # type: ignore[no-untyped-def]
    self.r, self.words = r, words


def test_batch_norm_is_folded_alike_on_every_processor() -> None:
    variance = np.linspace(0.01, 3, 5000, dtype=np.float32)
    norm = {name: torch.ones(5000) for name in ("weight", "bias", "running_mean")}
    norm["running_var"] = torch.from_numpy(variance)
    weight, bias = fold(torch.ones(5000, 1, 1, 1), norm, eps=0.5)
    scale = np.float32(1) / np.sqrt(
        variance + np.float32(0.5)
    )  # each step rounded as IEEE 754 says
    assert np.array_equal(weight.flatten().numpy(), scale)
    assert np.array_equal(bias.numpy(), np.float32(1) - scale)
