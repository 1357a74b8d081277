"""Pictures and texts through the towers, ours beside its peers' on the same weights."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from clip_core import ZeroShotClassifier, load, tokenize
from clip_core.batch.inputs import find_inputs
from clip_core.batch.pipeline import encode
from clip_core.batch.store_folder import open_store
from clip_core.cache import FeatureCache
from clip_core.inference.encoder import Encoder
from clip_core.preprocess import preprocess
from prompts import fill_all, find_template_set

from .many import write_pictures
from .peers import (
    ORT,
    OURS,
    OURS_ONNX,
    PEERS,
    REFERENCE,
    Contenders,
    by_onnx,
    installed,
    make,
    to_onnx,
)
from .timing import Row, race

THINGS = (
    *("cat", "dog", "horse", "tree", "castle", "lighthouse", "bridge", "cup", "guitar", "piano"),
    *("violin", "trumpet", "mountain", "river", "forest", "sailboat", "locomotive", "bicycle"),
    *("motorcycle", "helicopter"),
)
KINDS = (
    *("red", "blue", "old", "wooden", "small", "large", "ancient", "broken", "golden", "striped"),
)
LABELS = [f"{kind} {thing}" for thing in THINGS for kind in KINDS]
TEMPLATE = "a photo of a {}."
REFERENCE_BATCH = 100  # pictures or texts at once, as the reference's own examples have it


def rows(quick: bool) -> Iterator[Row]:
    """Every row that one process can measure; the quick ones first."""
    rounds = 5 if quick else 15
    made = make("ViT-B/32", (REFERENCE, ORT) if quick else (*PEERS, OURS_ONNX))
    picture, pictures = torch.randn(1, 3, 224, 224), torch.randn(16, 3, 224, 224)
    yield image_row("image, batch 1", made, picture, rounds * 3, 1.7)
    if not quick:
        yield image_row("image, batch 16", made, pictures, rounds, None)
    labels = LABELS[::4] if quick else LABELS
    yield text_row(
        f"{len(labels)} labels, one template (cold)",
        made,
        labels,
        [TEMPLATE],
        None if quick else 12,
        0 if quick else 5,
    )
    yield from repeated_rows(made, labels, rounds)
    yield pictures_row(made, 50 if quick else 1000, 0 if quick else 1)
    if not quick:
        templates = list(find_template_set("imagenet-80").templates)
        yield text_row("100 labels x 80 templates (cold)", made, LABELS[:100], templates, 15, 0)
    del made
    gc.collect()
    if not quick:
        made = make("RN50", (REFERENCE, ORT, OURS_ONNX))
        yield image_row("RN50, batch 1", made, picture, rounds, 1.5)
        del made
        gc.collect()
    yield bundled_row(rounds * 3, not quick)
    if not quick:
        made = make("ViT-L/14", (REFERENCE, ORT, OURS_ONNX))
        yield image_row("ViT-L/14, batch 1", made, picture, rounds, None)


def image_row(work: str, made: Contenders, pictures: Tensor, rounds: int, bar: float | None) -> Row:
    """Pictures [N, 3, H, W] through each contender's image tower."""
    contenders = {
        name: lambda run=run: run(pictures)  # type: ignore[misc]
        for name, run in made.image.items()
    }
    return race(Row(work, REFERENCE, bar), contenders, rounds)


def text_row(
    work: str,
    made: Contenders,
    labels: list[str],
    templates: list[str],
    bar: float | None,
    rounds: int,
) -> Row:
    """Labels in their templates, from strings to one feature a label."""
    prompts = fill_all(templates, labels)
    flat = [text for texts in prompts for text in texts]

    def plain(run) -> Tensor:  # type: ignore[no-untyped-def]
        tokens = tokenize(flat)
        found = torch.cat([run(some) for some in tokens.split(REFERENCE_BATCH)])
        return F.normalize(found, dim=-1).view(len(labels), len(templates), -1).mean(dim=1)

    contenders = {
        name: lambda run=run: plain(run)  # type: ignore[misc]
        for name, run in made.text.items()
        if name != OURS and (name == REFERENCE or len(templates) == 1)
    }
    classifier = ZeroShotClassifier(made.model, "cpu", texts_on_disk=False)
    contenders[OURS] = lambda: classifier.label_features(prompts)

    def forget() -> None:
        classifier._texts = FeatureCache(len(labels))

    return race(Row(work, REFERENCE, bar), contenders, rounds, {OURS: forget})


def repeated_rows(made: Contenders, labels: list[str], rounds: int) -> Iterator[Row]:
    """What is asked again: a picture, labels, labels after a restart."""
    classifier = ZeroShotClassifier(made.model, "cpu", texts_on_disk=False)
    transform = preprocess(224)
    prompts = fill_all([TEMPLATE], labels)
    tokens = tokenize([texts[0] for texts in prompts])
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "picture.jpg"
        chance = np.random.default_rng(0)
        small = chance.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480)).save(path)

        def open_and_encode() -> Tensor:
            return made.image[REFERENCE](transform(Image.open(path)).unsqueeze(0))

        classifier.image_features(path)
        classifier.label_features(prompts)
        yield race(
            Row("a picture asked again", REFERENCE, 20),
            {
                REFERENCE: open_and_encode,
                OURS: lambda: classifier.image_features(path).unsqueeze(0),
            },
            rounds,
        )
        few = 0 if rounds < 15 else 3
        yield race(
            Row(f"{len(labels)} labels asked again", REFERENCE, 20),
            {
                REFERENCE: lambda: made.text[REFERENCE](tokens),
                OURS: lambda: classifier.label_features(prompts),
            },
            few,
        )
        import clip_core.classifier as module  # noqa: PLC0415  (where it keeps them is replaced)

        module.weights_folder = lambda: Path(name)  # type: ignore[assignment]
        ZeroShotClassifier(made.model, "cpu").label_features(prompts)
        restarted = classifier

        def restart() -> None:
            nonlocal restarted
            restarted = ZeroShotClassifier(made.model, "cpu")

        yield race(
            # The digest of the weights takes as long for few labels as for many
            Row(
                f"{len(labels)} labels after a restart", REFERENCE, 20 if labels == LABELS else None
            ),
            {
                REFERENCE: lambda: made.text[REFERENCE](tokens),
                OURS: lambda: restarted.label_features(prompts),
            },
            few,
            {OURS: restart},
        )


def pictures_row(made: Contenders, count: int, rounds: int) -> Row:
    """Pictures from disk, end to end, into features."""
    classifier = ZeroShotClassifier(made.model, "cpu", texts_on_disk=False)
    transform = preprocess(224)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures", count)
        sources = find_inputs([folder / "pictures"])

        def loop() -> Tensor:
            found = []
            for start in range(0, count, REFERENCE_BATCH):
                some = sources[start : start + REFERENCE_BATCH]
                batch = [transform(Image.open(source.path)) for source in some]
                found.append(made.image[REFERENCE](torch.stack(batch)))
            return torch.cat(found)

        number = 0

        def ours() -> Tensor:
            nonlocal number
            number += 1
            with open_store(folder / f"features-{number}", classifier, "crop") as store:
                each = [row.features for row in encode(classifier, sources, store, "crop")]
            return torch.stack([features for features in each if features is not None])

        # Of few, the start of the workers takes longer than the pictures
        row = Row(f"{count:,} pictures from disk", REFERENCE, 1.5 if count >= 1000 else None)
        return race(row, {REFERENCE: loop, OURS: ours}, rounds)


def bundled_row(rounds: int, by_flag: bool) -> Row:
    """The bundled image tower, beside itself in ONNX Runtime. by_flag: with --onnx, too."""
    model, _ = load("bundled", device="cpu")
    side = model.visual.input_resolution
    picture = torch.randn(1, 3, side, side)
    encoder = Encoder(model)
    contenders = {
        "plain forward": lambda: model.encode_image(picture),
        OURS: lambda: encoder.encode_image(picture),
    }
    if installed()[ORT]:
        by_hand = to_onnx(model.visual, side)
        contenders[ORT] = lambda: by_hand(picture)
        if by_flag:
            run = by_onnx(model)
            contenders[OURS_ONNX] = lambda: run(picture)
    return race(Row("bundled image tower, batch 1", "plain forward"), contenders, rounds)
