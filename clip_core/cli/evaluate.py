"""The command `evaluate`: which template, wording or model is best for labelled pictures."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from clip_core.batch.inputs import InputItem
from clip_core.batch.outputs import check_outputs, errors_beside, write_errors
from clip_core.batch.pipeline import Embedding
from clip_core.batch.tables import to_csv, write_text
from clip_core.evaluation.ask import check_variant_count, score_variants, variant_name
from clip_core.evaluation.dataset import IDENTITY, find_labelled, read_aliases
from clip_core.evaluation.report import thumbnails, write_report
from clip_core.evaluation.statistics import Comparison, Variant, compare
from prompts import fill_all

from .batch_run import add_input_options, label_features, open_run, stack_features
from .options import find_templates, make_classifier, templates_for


def run(arguments: list[str]) -> int:
    """Which way of asking is best; returns the exit code, as the other commands."""
    options = _parse(arguments)
    errors = errors_beside(options.report or options.out)
    check_outputs(
        {
            **{"--report": options.report, "--out": options.out, "--answers": options.answers},
            "The table of pictures that can't be read": errors,
        },
        [*options.inputs, *options.wording],
    )
    labelled = find_labelled(Path(options.inputs[0]))
    label_of = dict(labelled)
    labels = sorted(set(label_of.values()))
    if len(labels) < 2:
        raise ValueError(f"All pictures have the label {labels[0]!r}: at least two are needed.")
    wordings = [IDENTITY, *map(read_aliases, options.wording)]
    models, templates = options.model or ["bundled"], options.template or [None]
    _check_each_once("--model", models)
    _check_each_once("--template", templates)
    _check_each_once("--wording", [wording.name for wording in wordings])
    check_variant_count(len(models) * len(templates) * len(wordings))
    for template in filter(None, templates):
        find_templates(template)
    asked: list[tuple[list[InputItem], list[Variant]]] = []
    problems: dict[InputItem, Embedding] = {}
    code = 0
    for model in models:
        one = argparse.Namespace(**(vars(options) | {"model": model}))
        classifier = make_classifier(one)
        named = {
            (template or classifier.default_template or "imagenet-7"): templates_for(
                template, classifier
            )
            for template in templates
        }
        for wording in wordings:
            for texts in named.values():
                words = wording.of(labels)
                label_features(classifier, words, fill_all(texts, words))
        with open_run(one, classifier, list(label_of)) as run:
            read = list(run)
        code = max(code, run.exit_code())
        problems |= {each.item: each for each in run.problems}
        write_errors(list(problems.values()), errors)
        features = stack_features(run, read)
        several = model if len(models) > 1 else None
        filled = (
            (variant_name(several, name, wording.name), fill_all(texts, wording.of(labels)))
            for wording in wordings
            for name, texts in named.items()
        )
        ways = list(score_variants(classifier, features, filled))
        asked.append(([each.item for each in read], ways))
    common = set.intersection(*(set(read) for read, _ in asked))
    sources = [source for source in label_of if source in common]
    comparison = compare_on(asked, label_of, sources)
    for path, frame in (
        (options.out, comparison.to_frame()),
        (options.answers, comparison.answers()),
    ):
        if path is not None:
            write_text(path, to_csv(frame))
    if options.report:
        notes = [
            ("Pictures", str(options.inputs[0])),
            ("Models", ", ".join(models)),
            ("Date", date.today().isoformat()),
        ]
        seen = thumbnails(comparison, sources)
        write_report(comparison, options.report, "Which way of asking is best?", notes, seen)
    print(comparison.to_frame().to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    for said in (comparison.sentence, *comparison.warnings):
        print(said)
    return code


def compare_on(
    asked: Sequence[tuple[Sequence[InputItem], Sequence[Variant]]],
    label_of: Mapping[InputItem, str],
    sources: Sequence[InputItem],
) -> Comparison:
    """Compares ways on the pictures `sources`, among the labels that these have.

    asked: the pictures that each model could read, and its ways; their logits have a row for each
    of them, and a column for each of all labels, sorted. Raises ValueError as `compare` does.
    """
    labels = sorted(set(label_of.values()))
    kept = sorted({label_of[source] for source in sources})
    columns = [labels.index(label) for label in kept]
    ways = []
    for read, models_ways in asked:
        row_of = {source: row for row, source in enumerate(read)}
        rows = [row_of[source] for source in sources]
        ways += [Variant(way.name, way.logits[np.ix_(rows, columns)]) for way in models_ways]
    truth = [kept.index(label_of[source]) for source in sources]
    return compare(ways, kept, truth, [source.name for source in sources])


def _check_each_once(option: str, given: Sequence[str | None]) -> None:
    for each, count in Counter(given).items():
        if count > 1:
            raise ValueError(f"{option} has {each!r} twice: leave one out, or rename one.")


def _parse(arguments: list[str]) -> argparse.Namespace:
    """The options. Raises ValueError for those that the parser can't tell are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_core evaluate",
        description="Which template, wording or model is best for labelled pictures, and whether "
        "they can tell. Every template is tried with every wording and model; all are compared "
        "with the first.",
    )
    add_input_options(parser, several=True)
    parser.add_argument(
        "--wording",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="other words for the labels: lines as label = wording, or a CSV of both (may be "
        "repeated)",
    )
    parser.add_argument("--report", type=Path, help="the HTML file to write")
    parser.add_argument("--out", type=Path, help="a CSV of the ways and their figures")
    parser.add_argument("--answers", type=Path, help="a CSV of each picture's answers")
    options = parser.parse_args(arguments)
    if len(options.inputs) != 1:
        raise ValueError("Give one folder, archive or CSV of labelled pictures.")
    for path, suffix in (
        (options.report, ".html"),
        (options.out, ".csv"),
        (options.answers, ".csv"),
    ):
        if path is not None and path.suffix != suffix:
            raise ValueError(f"{path.name!r} must end in {suffix}.")
    return options
