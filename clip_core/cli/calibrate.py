"""Command `calibrate`: fits "none of these" to a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clip_core.batch.inputs import PICTURE_SUFFIXES
from clip_core.cli.options import add_model_options, make_classifier, templates_for
from clip_core.evaluation.calibrate import calibrate, encode_pictures, find_pictures, half_of
from clip_core.open_set import csls_score, own_background, write_fit
from clip_core.weights.resolve import weights_folder
from prompts import fill_all, find_label_set


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core calibrate",
        description='Fits "none of these" to a model, on pictures in subfolders that are named by '
        "their labels. What is fitted is kept beside downloaded weights, for the page to find when "
        "it starts.",
    )
    parser.add_argument("folder", type=Path, help="a folder of subfolders of pictures")
    add_model_options(parser)
    options = parser.parse_args(arguments)
    classifier = make_classifier(options)
    templates = templates_for(options.template, classifier)
    found = find_pictures(options.folder, PICTURE_SUFFIXES)
    print(f"{len(found)} pictures ...", file=sys.stderr)
    images, named = encode_pictures(classifier, found)
    labels = sorted(set(named))
    background = own_background(classifier.model.visual)
    if background is None:  # then the nouns of a large vocabulary stand for what there is to see
        nouns = find_label_set("imagenet").labels
        background = classifier.label_features(fill_all(templates, nouns))
    texts = classifier.label_features(fill_all(templates, labels))
    fitted, report = calibrate(
        csls_score(images, texts, background),
        [labels.index(label) for label in named],
        [half_of(label) for label in named],
        background,
    )
    path = write_fit(classifier.name, fitted, weights_folder())
    print("On the half of the labels that nothing was fitted to:")
    print("labels  AUROC  told so, none fits  told so, one fits")
    for row in report:
        print(f"{row.size:>6}  {row.auroc:.3f}  {row.true_rate:>18.0%}  {row.false_rate:>17.0%}")
    print(f"{path}: threshold {fitted.threshold:.4f}", file=sys.stderr)
    return 0
