"""Rebuilds `clip_core/bundled.safetensors`: `python -m training`.

Each stage writes one file into the work folder, whole or not at all; a second run skips what is
there. Stages named in capitals below learn and depend on the seed; the others don't.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clip_core import load
from clip_core.weights.resolve import BUNDLED

from .align import EMBED_DIM, align, class_vectors
from .backbone import read_backbone
from .basic_words import TABLE, basic_words, write_table
from .distil import build_clip, distil, encode, tokenize_all
from .export import export
from .features import look_at_pairs
from .imagenet import read_classes
from .names import gather_names
from .packages import INGREDIENTS, fetch
from .phrases import PICTURES
from .prototypes import build_bank, learn_prototypes
from .teacher import teach
from .texts import build_corpus
from .wordnet import read_wordnet
from .work import Work


def build(work: Work, seed: int) -> Path:
    """Runs what has not run yet and returns the finished file in the work folder."""
    packages = work.path("packages")
    for package in INGREDIENTS:
        fetch(package, packages)
    wordnet = read_wordnet(packages / "wordnet-base")
    tower = read_backbone(EMBED_DIM)

    def stage(name: str, make: Callable[[], Any]) -> Any:
        started, fresh = time.monotonic(), not work.path(name).exists()
        value = work.make(name, make)
        print(f"{name}: {f'{time.monotonic() - started:.0f} s' if fresh else 'there'}", flush=True)
        return value

    classes = stage("classes.pt", lambda: read_classes(wordnet))
    write_table(basic_words(wordnet, classes), TABLE)
    corpus = stage("corpus.pt", lambda: build_corpus(wordnet, classes))
    teacher = stage("teacher.pt", lambda: teach(corpus))
    everyday = set(corpus.common)
    known = {
        word
        for noun in corpus.nouns
        if " " not in noun or noun in everyday
        for word in noun.lower().split()
    }
    pairs = stage("pairs.pt", lambda: look_at_pairs(tower, packages, corpus.common, known))
    names = stage("names.pt", lambda: gather_names(pairs))
    rows = stage("tokens.pt", lambda: tokenize_all(corpus.texts, "tokens"))

    # ALIGN, DISTIL, PROTOTYPES
    of_classes = class_vectors(corpus, classes, teacher["nouns"])
    alignment = stage(
        f"seed{seed}/align.pt",
        lambda: align(tower, pairs, names, teacher["texts"], of_classes, seed),
    )
    model = build_clip(tower, seed)
    distilled = stage(
        f"seed{seed}/distil.pt",
        lambda: distil(model, rows, teacher, alignment, pairs, names, seed),
    )
    print(
        f"on texts never seen: distance {distilled.distance:.3f}, own target nearest "
        f"{100 * distilled.found:.1f} %"
    )
    model.load_state_dict(distilled.state, strict=False)
    alignment.fill(model.visual)
    bank = build_bank(classes, [*names.texts[0], *corpus.common, *PICTURES])

    def make_prototypes() -> torch.Tensor:
        said = torch.stack([encode(model, tokenize_all(texts)) for texts in bank.texts()])
        return learn_prototypes(alignment.prototypes, bank, said, wordnet, seed)

    prototypes = stage(f"seed{seed}/prototypes.pt", make_prototypes)
    model.visual.prototypes.data = prototypes
    file = work.path(f"seed{seed}/bundled.safetensors")
    export(model, file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("training/build"), help="the work folder")
    parser.add_argument("--output", type=Path, default=BUNDLED, help="where the file goes")
    parser.add_argument("--seed", type=int, default=0, help="of the stages that learn")
    arguments = parser.parse_args()
    started = time.monotonic()
    file = build(Work(arguments.work), arguments.seed)
    load(file, device="cpu")  # it must read back as a model before it takes the old one's place
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    shutil.copyfile(file, partial)
    partial.replace(arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
