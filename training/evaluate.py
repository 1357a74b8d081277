"""Prints the table of the model card: `python -m training.evaluate [FILE ...]`.

Held-out pictures (heldout.py), diagrams, photographs of the gradio package, and the test of basic
words, for each file of weights; the mean over files is printed when there are several. ConSE
(Norouzi et al., arXiv 1312.5650), the baseline, mixes the teacher's vectors of the 20 likeliest
class names by the same classifier's probabilities.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from clip_core import CLIP, ZeroShotClassifier, load, tokenize

from .basic_words import BASIC_WORDS, basic_word, basic_words
from .export import DEFAULT_FRAMING
from .features import look, look_at_files
from .heldout import Picture, cartoons, gcompris, graphviz_diagrams, half, stamps, unpack_gcompris
from .imagenet import read_classes
from .measures import Accuracy, accuracy, fit_scale, question_calibration, twenty_ways
from .packages import HELD_OUT, fetch
from .phrases import article
from .teacher import Teacher
from .wordnet import VISIBLE, WordNet, read_wordnet

TEMPLATES = ("{}", "a {}", "a photo of a {}.")
WORD_TEMPLATES = ("a {}", "a photo of a {}.")  # of basic words
GRADIO_LABELS = {
    "cheetah.jpg": "a cheetah|a lion|a dog|a car|a bird|a zebra",
    "cheetah1.jpg": "a cheetah|a lion|a dog|a car|a bird|a zebra",
    "lion.jpg": "a lion|a cheetah|a dog|a cat|a bear|a tiger",
    "tower.jpg": "a tower|a bridge|a house|a car|a mountain|a ship",
    "bus.png": "a bus|a car|a train|a bicycle|a house|a truck",
}
DIAGRAM_LABELS = ["a diagram", "a dog", "a cat"]


@dataclass(frozen=True)
class Seen:
    """One collection as the tower sees it: features, labels in order, and which label is right."""

    pooled: Tensor
    logits: Tensor
    labels: list[str]
    right: Tensor
    halves: list[str]

    def rows(self, part: str) -> Tensor:
        """Row numbers of a half, or of the whole."""
        return torch.tensor([i for i, h in enumerate(self.halves) if part in (h, "whole")])


def see(model: CLIP, pictures: list[Picture]) -> Seen:
    labels = sorted({picture.label for picture in pictures})
    paths = [picture.path for picture in pictures]
    pooled, logits = look_at_files(model.visual, paths, DEFAULT_FRAMING, "held out")
    right = torch.tensor([labels.index(picture.label) for picture in pictures])
    return Seen(pooled, logits, labels, right, [half(picture) for picture in pictures])


@torch.inference_mode()
def say(model: CLIP, texts: list[str]) -> Tensor:
    return F.normalize(model.encode_text(tokenize(texts)[:, :40]), dim=-1)


@torch.inference_mode()
def similarities(model: CLIP, seen: Seen, template: str) -> Tensor:
    """[pictures, labels], by the template filled as the page fills it."""
    image = F.normalize(model.visual.embed(seen.pooled, seen.logits), dim=-1)
    return image @ say(model, [template.replace("{}", label) for label in seen.labels]).T


def conse(seen: Seen, classes: Tensor, teacher: Teacher, template: str) -> Tensor:
    """[pictures, labels] of the baseline; classes: the teacher's vectors of class names."""
    best, which = seen.logits.float().softmax(1).topk(20, dim=1)
    mixed = (best.unsqueeze(2) * classes[which]).sum(1)
    texts = [article(template.replace("{}", label)) for label in seen.labels]
    return F.normalize(mixed, dim=1) @ teacher.embed(texts).T


def part_of(whole: Tensor, seen: Seen, part: str) -> tuple[Tensor, Tensor]:
    """The rows of a half, among all labels."""
    rows = seen.rows(part)
    return whole[rows], seen.right[rows]


def line(name: str, results: list[Accuracy], calibration: list[float]) -> str:
    def mean(field: str) -> float:
        return float(np.mean([getattr(result, field) for result in results]))

    over = float(np.std([r.twenty for r in results], ddof=1)) if len(results) > 1 else 0.0
    return (
        f"| {name} | {mean('top1'):.1f} ± {mean('top1_error'):.1f} | {mean('top5'):.1f} "
        f"| {mean('twenty'):.1f} ± {mean('twenty_error'):.1f} | {over:.1f} "
        f"| {np.mean(calibration):.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures weights on pictures never trained on.")
    parser.add_argument("files", nargs="*", default=["bundled"], help="weights, one for each seed")
    parser.add_argument("--work", type=Path, default=Path("training/build"), help="the work folder")
    parser.add_argument(
        "--fit", action="store_true", help="fit the logit scale on the choosing half"
    )
    arguments = parser.parse_args()
    models = [load(file, device="cpu")[0] for file in arguments.files]
    packages = arguments.work / "packages"
    folders = [fetch(package, packages) for package in HELD_OUT]
    activities = unpack_gcompris(folders[0], arguments.work / "gcompris")
    pictures = {"gcompris": gcompris(activities), "stamps": stamps(folders[1])}
    collections = {key: see(models[0], some) for key, some in pictures.items()}
    drawn = see(models[0], cartoons(activities))
    if arguments.fit:
        fit(models, collections)
        return
    print_table(models, collections, drawn)
    wordnet = read_wordnet(fetch("wordnet-base", packages))
    classes = read_classes(wordnet)
    common = sorted(word for word, count in wordnet.counts.items() if count >= 10)
    diagrams = look(models[0].visual, graphviz_diagrams(common))
    for file, model in zip(arguments.files, models, strict=True):
        print(f"\n{file}")
        print_basic_words(model, basic_words(wordnet, classes))
        print_diagrams(model, diagrams)
        print_photographs(file)
        print_basic_pictures(file, pictures, wordnet)


def fit(models: list[CLIP], collections: dict[str, Seen]) -> None:
    for template in TEMPLATES:
        scales = []
        for model in models:
            questions = [
                twenty_ways(*part_of(similarities(model, seen, template), seen, "choose"))
                for seen in collections.values()
            ]
            scales.append(fit_scale(questions))
        print(f"{template!r}: logit scale {scales}")


def print_table(models: list[CLIP], collections: dict[str, Seen], drawn: Seen) -> None:
    """drawn: cartoons, which nothing is chosen by."""
    from open_clip import IMAGENET_CLASSNAMES  # noqa: PLC0415  slow to import

    teacher = Teacher()
    names = teacher.embed([article(f"a photo of a {name}.") for name in IMAGENET_CLASSNAMES])
    print("| pictures, template, model | top-1 | top-5 | 20-way | seeds | ECE |")
    print("|---|---|---|---|---|---|")
    parts = [(key, part) for key in collections for part in ("choose", "report", "whole")]
    everything = {**collections, "cartoons": drawn}
    for template in TEMPLATES:
        baseline = {key: conse(seen, names, teacher, template) for key, seen in everything.items()}
        # the baseline has no scale of its own: it is given the best for the choosing halves
        baseline_scale = fit_scale(
            [
                twenty_ways(*part_of(baseline[key], seen, "choose"))
                for key, seen in collections.items()
            ]
        )
        for key, part in [*parts, ("cartoons", "whole")]:
            seen = everything[key]
            plain, right = part_of(baseline[key], seen, part)
            head = f"{key}, {part} ({len(right)}), `{template}`"
            ece = question_calibration(twenty_ways(plain, right), baseline_scale)
            print(line(f"{head}, ConSE", [accuracy(plain, right)], [ece]))
            results, errors = [], []
            for model in models:
                ours, right = part_of(similarities(model, seen, template), seen, part)
                results.append(accuracy(ours, right))
                scale = model.logit_scale.exp().item()
                errors.append(question_calibration(twenty_ways(ours, right), scale))
            print(line(f"{head}, bundled", results, errors))


@torch.inference_mode()
def count_basic_words(model: CLIP, table: dict[int, str], template: str) -> int:
    """Of how many classes of `basic_words` the prototype is nearest to their own basic word."""
    points = F.normalize(model.visual.prototypes, dim=-1)[list(table)]
    texts = [article(template.replace("{}", word)) for word in BASIC_WORDS]
    said = (points @ say(model, texts).T).argmax(1).tolist()
    return sum(BASIC_WORDS[i] == word for i, word in zip(said, table.values(), strict=True))


def print_basic_words(model: CLIP, table: dict[int, str]) -> None:
    for template in WORD_TEMPLATES:
        right = count_basic_words(model, table, template)
        print(
            f"basic words, {template!r}: {right} of {len(table)} = {100 * right / len(table):.1f} %"
        )


def print_diagrams(model: CLIP, seen: tuple[Tensor, Tensor]) -> None:
    with torch.inference_mode():
        image = F.normalize(model.visual.embed(*seen), dim=-1)
    for template in TEMPLATES:
        labels = DIAGRAM_LABELS if template == "{}" else [x[2:] for x in DIAGRAM_LABELS]
        text = say(model, [template.replace("{}", label) for label in labels])
        shares = (model.logit_scale.detach().exp() * image @ text.T).softmax(1)
        right = int((shares.argmax(1) == 0).sum())
        print(f"graphviz, {template!r}: {right} of {len(shares)}, mean {shares[:, 0].mean():.2f}")


def print_photographs(file: str) -> None:
    """gradio's own photographs and a drawn diagram, asked as the page asks."""
    classifier = ZeroShotClassifier(file)
    spec = find_spec("gradio")
    folder = Path(spec.origin).parent / "media_assets/images" if spec and spec.origin else None
    questions: list[tuple[str, Image.Image, list[str]]] = [
        ("drawn diagram", drawn_diagram(), DIAGRAM_LABELS)
    ]
    if folder:
        questions += [
            (name, Image.open(folder / name), labels.split("|"))
            for name, labels in GRADIO_LABELS.items()
        ]
    for template in ("{}", "a photo of {}."):
        for name, picture, labels in questions:
            scores = classifier.classify(picture, labels, [template])
            best = int(scores.probabilities.argmax())
            verdict = "right" if best == 0 else "WRONG"
            share = scores.probabilities[best]
            print(f"{name}, {template!r}: {labels[best]} {share:.2f}, {verdict}")


def print_basic_pictures(file: str, pictures: dict[str, list[Picture]], wordnet: WordNet) -> None:
    """The basic words again, through pictures: held-out ones whose label is under one of them."""
    classifier = ZeroShotClassifier(file)
    for key, some in pictures.items():
        right = asked = 0
        for picture in some:
            senses = [
                offset
                for offset in wordnet.senses.get(picture.label.lower(), [])
                if wordnet.synsets[offset].category in VISIBLE
            ]
            word = basic_word(wordnet, senses[0]) if senses else None
            if word is not None:
                image = Image.open(picture.path)
                scores = classifier.classify(image, BASIC_WORDS, ["a photo of a {}."])
                right += BASIC_WORDS[int(scores.probabilities.argmax())] == word
                asked += 1
        print(f"basic words on pictures, {key}: {right} of {asked} = {100 * right / asked:.1f} %")


def drawn_diagram() -> Image.Image:
    """Three boxes and two arrows, as a person might draw them."""
    image = Image.new("RGB", (600, 300), "white")
    draw = ImageDraw.Draw(image)
    for i, word in enumerate(("image", "text", "match")):
        left = 30 + 190 * i
        draw.rectangle((left, 100, left + 140, 190), outline="black", width=3)
        draw.text((left + 40, 140), word, fill="black")
        if i < 2:
            draw.line((left + 140, 145, left + 190, 145), fill="black", width=3)
            tip = left + 190
            draw.polygon([(tip, 145), (tip - 12, 138), (tip - 12, 152)], fill="black")
    return image


if __name__ == "__main__":
    main()
