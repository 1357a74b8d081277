"""Command `heat-map`: draws where in an image a label is."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_core.cli.options import add_model_options, make_classifier, templates_for
from clip_core.errors import InputError
from clip_core.explain.heatmap import draw_heat_map, heat_maps
from prompts import fill_all


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clip_core heat-map",
        description="Draws which parts of a picture speak for its first label, more than for the "
        "others.",
    )
    parser.add_argument("picture", help="a picture's file")
    parser.add_argument("label", nargs="+", help="the label to look for, and others")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--opacity", type=float, default=0.6, help="of the map, 0 to 1")
    add_model_options(parser)
    options = parser.parse_args(arguments)
    if not 0 <= options.opacity <= 1:
        raise InputError("--opacity must be from 0 to 1.")
    if options.output.suffix.lower() != ".png":
        raise InputError("--output must end in .png.")
    classifier = make_classifier(options)
    labels = list(dict.fromkeys(options.label))
    prompts = fill_all(templates_for(options.template, classifier), labels)
    maps = heat_maps(classifier, options.picture, labels, prompts)
    crops = classifier.squares(options.picture)
    try:
        draw_heat_map(crops[len(crops) // 2], maps[0], options.opacity).save(options.output)
    except OSError as error:
        raise InputError(f"{options.output} can't be written: {error.strerror}.") from error
    return 0
