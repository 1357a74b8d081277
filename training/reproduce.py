"""Whether a rebuilt file is the committed one: `python -m training.reproduce REBUILT`.

The bytes are compared first. Where they differ, as they do between processors and versions of
torch, the rebuilt file must hold the same tensors by name, shape and dtype, the same notes but for
what it was built with, the locked ones to a step of float16, and be as right as the committed one
on the held-out pictures and the basic words. The exit status is 0 when it is, and else 1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from clip_core import CLIP, load
from clip_core.files import sha256_of
from clip_core.weights.resolve import BUNDLED

from .basic_words import TABLE, read_table
from .evaluate import WORD_TEMPLATES, Seen, count_basic_words, see, similarities
from .export import DEFAULT_TEMPLATE
from .heldout import Picture, gcompris, stamps, unpack_gcompris
from .measures import accuracy
from .packages import HELD_OUT, fetch

# Beginnings of the names of tensors that no stage learns
LOCKED = (
    *("visual.stem.", "visual.blocks.", "visual.head.", "visual.classifier.", "visual.blend"),
    *("logit_scale", "input_resolution", "context_length", "vocab_size"),
)
BUILT = "built"  # the note that may differ
# Points of 20-way top-1: three times the standard deviation over seeds that the model card gives,
# which is about twice that of the difference between two trainings. Both are smaller than the lead
# over ConSE, 4.3 and 8.2 points: a file that learnt nothing is not within them.
TOLERANCE = {"gcompris": 3.9, "stamps": 1.8}
LEAST_WORDS = 98.0  # per cent of the basic words, what tests/training asks of the committed file


@dataclass(frozen=True)
class Weights:
    """A file's tensors and notes."""

    tensors: dict[str, Tensor]
    notes: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Weights:
        """Of a safetensors file. Raises SafetensorError for another."""
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(tensors, file.metadata() or {})


def steps_apart(ours: Tensor, theirs: Tensor) -> int:
    """How many steps lie at most between a value and its other: float16's, or whole numbers.

    Of two tensors of one shape, both float16 or both of integers.
    """
    return int((_order(ours) - _order(theirs)).abs().max())


def _order(values: Tensor) -> Tensor:
    """Whole numbers in the order of the values, next to each other where those are."""
    if values.dtype != torch.float16:
        return values
    bits = values.view(torch.int16).int()  # a sign and a magnitude
    return torch.where(bits < 0, -(bits & 0x7FFF), bits)


def differences(committed: Weights, rebuilt: Weights) -> list[str]:
    """What must be equal and isn't, a sentence for each."""
    ours, theirs = committed.tensors, rebuilt.tensors
    found = [f"{name}: in one of the files only." for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        shapes = [(tuple(each.shape), each.dtype) for each in (ours[name], theirs[name])]
        if shapes[0] != shapes[1]:
            found.append(f"{name}: {shapes[0]} in the committed file, {shapes[1]} in the rebuilt.")
        elif name.startswith(LOCKED) and steps_apart(ours[name], theirs[name]) > 1:
            found.append(f"{name}: locked, and more than a step of float16 apart.")
    for name in sorted(committed.notes.keys() | rebuilt.notes.keys()):
        if name != BUILT and committed.notes.get(name) != rebuilt.notes.get(name):
            found.append(f"{name}: another note.")
    return found


def equal_values(committed: Weights, rebuilt: Weights, locked: bool) -> tuple[int, int]:
    """How many values of two files without `differences` are equal to the bit, and of how many."""
    names = [name for name in committed.tensors if name.startswith(LOCKED) == locked]
    pairs = [(committed.tensors[name], rebuilt.tensors[name]) for name in names]
    return (
        sum(int((ours == theirs).sum()) for ours, theirs in pairs),
        sum(ours.numel() for ours, _ in pairs),
    )


@dataclass(frozen=True)
class Measure:
    """Percentages of both files, and between which the rebuilt one's is the same."""

    name: str
    committed: float
    rebuilt: float
    least: float
    most: float

    @property
    def holds(self) -> bool:
        return self.least <= self.rebuilt <= self.most


def measure(committed: CLIP, rebuilt: CLIP, collections: dict[str, Seen]) -> list[Measure]:
    """collections: held-out pictures by a key of `TOLERANCE`, as the tower of both sees them."""
    both = (committed, rebuilt)
    found = []
    for key, seen in collections.items():
        ours, theirs = (
            accuracy(similarities(model, seen, DEFAULT_TEMPLATE), seen.right).twenty
            for model in both
        )
        name = f"{key} ({len(seen.right)}), `{DEFAULT_TEMPLATE}`, 20-way"
        limits = (ours - TOLERANCE[key], ours + TOLERANCE[key])
        found.append(Measure(name, ours, theirs, *limits))
    table = read_table(TABLE)
    for template in WORD_TEMPLATES:
        ours, theirs = (
            100 * count_basic_words(model, table, template) / len(table) for model in both
        )
        name = f"basic words ({len(table)}), `{template}`"
        found.append(Measure(name, ours, theirs, LEAST_WORDS, 100.0))
    return found


def held_out(work: Path) -> dict[str, list[Picture]]:
    """The two collections that the model card's first table begins with, fetched if need be."""
    folders = [fetch(package, work / "packages") for package in HELD_OUT]
    activities = unpack_gcompris(folders[0], work / "gcompris")
    return {"gcompris": gcompris(activities), "stamps": stamps(folders[1])}


def compare(committed: Path, rebuilt: Path, work: Path) -> bool:
    """Prints how two files compare, and returns whether they are the same model."""
    digests = [sha256_of(path) for path in (committed, rebuilt)]
    print(
        f"SHA-256 of the committed file  {digests[0]}\nSHA-256 of the rebuilt file    {digests[1]}"
    )
    if digests[0] == digests[1]:
        print("The same bytes.")
        return True
    ours, theirs = Weights.read(committed), Weights.read(rebuilt)
    print(f"Other bytes. Built with:\n  {ours.notes.get(BUILT)}\n  {theirs.notes.get(BUILT)}")
    if found := differences(ours, theirs):
        print(*found, "Not the same model.", sep="\n")
        return False
    for name, locked in (("locked", True), ("learnt", False)):
        equal, count = equal_values(ours, theirs, locked)
        print(f"{name}: {equal:,} of {count:,} values equal to the bit")
    models = [load(path, device="cpu")[0] for path in (committed, rebuilt)]
    collections = {key: see(models[0], pictures) for key, pictures in held_out(work).items()}
    measures = measure(models[0], models[1], collections)
    print("| measure | committed, % | rebuilt, % | the same within | |\n|---|---|---|---|---|")
    for each in measures:
        cells = f"{each.committed:.1f} | {each.rebuilt:.1f} | {each.least:.1f} to {each.most:.1f}"
        print(f"| {each.name} | {cells} | {'yes' if each.holds else 'NO'} |")
    same = all(each.holds for each in measures)
    print(f"{'The same model' if same else 'Not the same model'}, by the tolerance.")
    return same


def main() -> int:
    """Compares, and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.reproduce",
        description="Whether a rebuilt file is the committed one: its bytes, or what it is worth.",
    )
    parser.add_argument("rebuilt", type=Path, help="what `python -m training --output` wrote")
    parser.add_argument("--committed", type=Path, default=BUNDLED, help="the bundled file")
    parser.add_argument("--work", type=Path, default=Path("training/build"), help="the work folder")
    arguments = parser.parse_args()
    return 0 if compare(arguments.committed, arguments.rebuilt, arguments.work) else 1


if __name__ == "__main__":
    sys.exit(main())
