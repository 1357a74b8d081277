"""Command `evaluate`: compares templates, wordings and models on labelled images."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from clip_core.batch.inputs import InputItem
from clip_core.batch.pipeline import Embedding
from clip_core.batch.tables import (
    check_outputs,
    errors_beside,
    to_csv,
    write_errors,
    write_text,
)
from clip_core.errors import InputError
from clip_core.evaluation.ask import check_variant_count, score_variants, variant_name
from clip_core.evaluation.dataset import IDENTITY, find_labelled, read_aliases
from clip_core.evaluation.report import make_thumbnails, write_report
from clip_core.evaluation.statistics import Comparison, Variant, compare
from prompts import fill_all

from .batch_run import add_input_options, label_features, open_run, stack_features
from .options import find_templates, make_classifier, templates_for

# The images that one model could read, and its variants: logits [those images, all labels]
Answers = tuple[Sequence[InputItem], Sequence[Variant]]


@dataclass
class _Run:
    """What the models did. errors: the images that some model could not read."""

    answers: list[Answers] = field(default_factory=list)
    errors: dict[InputItem, Embedding] = field(default_factory=dict)
    code: int = 0


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    errors = errors_beside(options.report or options.out)
    check_outputs(
        {
            **{"--report": options.report, "--out": options.out, "--answers": options.answers},
            "The table of pictures that can't be read": errors,
        },
        [*options.inputs, *options.wording],
    )
    label_of = dict(find_labelled(Path(options.inputs[0])))
    labels = sorted(set(label_of.values()))
    if len(labels) < 2:
        raise InputError(f"All pictures have the label {labels[0]!r}: at least two are needed.")
    done = _ask(options, list(label_of), labels, errors)
    common = set.intersection(*(set(items) for items, _ in done.answers))
    items = [item for item in label_of if item in common]
    comparison = compare_on(done.answers, label_of, items)
    _write(comparison, items, options)
    return done.code


def _ask(
    options: argparse.Namespace, items: list[InputItem], labels: list[str], errors: Path | None
) -> _Run:
    """Encodes the images with each model, and scores each template and wording."""
    wordings = [IDENTITY, *map(read_aliases, options.wording)]
    _check_each_once("--wording", [wording.name for wording in wordings])
    check_variant_count(len(options.model) * len(options.template) * len(wordings))
    for template in filter(None, options.template):
        find_templates(template)
    done = _Run()
    for model in options.model:
        one = argparse.Namespace(**(vars(options) | {"model": model}))
        classifier = make_classifier(one)
        shown = model if len(options.model) > 1 else None
        prompts = {}
        for wording in wordings:
            words = wording.of(labels)
            for template in options.template:
                name = template or classifier.default_template or "imagenet-7"
                filled = fill_all(templates_for(template, classifier), words)
                label_features(classifier, words, filled)
                prompts[variant_name(shown, name, wording.name)] = filled
        with open_run(one, classifier, items) as run:
            read = list(run)
        done.code = max(done.code, run.exit_code())
        done.errors |= {each.item: each for each in run.errors}
        write_errors(list(done.errors.values()), errors)
        features = stack_features(run, read)
        variants = list(score_variants(classifier, features, prompts.items()))
        done.answers.append(([each.item for each in read], variants))
    return done


def compare_on(
    answers: Sequence[Answers], label_of: Mapping[InputItem, str], items: Sequence[InputItem]
) -> Comparison:
    """Compares variants on those images that all models could read, and on their labels alone.

    The logits have a column for each of all labels, sorted. Raises InputError as `compare` does.
    """
    labels = sorted(set(label_of.values()))
    kept = sorted({label_of[item] for item in items})
    columns = [labels.index(label) for label in kept]
    variants = []
    for read, models_variants in answers:
        row_of = {item: row for row, item in enumerate(read)}
        cells = np.ix_([row_of[item] for item in items], columns)
        variants += [Variant(each.name, each.logits[cells]) for each in models_variants]
    truth = [kept.index(label_of[item]) for item in items]
    return compare(variants, kept, truth, [item.name for item in items])


def _write(comparison: Comparison, items: Sequence[InputItem], options: argparse.Namespace) -> None:
    if options.out is not None:
        write_text(options.out, to_csv(comparison.to_frame()))
    if options.answers is not None:
        write_text(options.answers, to_csv(comparison.answers()))
    if options.report:
        notes = [
            ("Pictures", str(options.inputs[0])),
            ("Models", ", ".join(options.model)),
            ("Date", date.today().isoformat()),
        ]
        thumbnails = make_thumbnails(comparison, items)
        write_report(comparison, options.report, "Which way of asking is best?", notes, thumbnails)
    print(comparison.to_frame().to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    for sentence in (comparison.sentence, *comparison.warnings):
        print(sentence)


def _check_each_once(option: str, given: Sequence[str | None]) -> None:
    for each, count in Counter(given).items():
        if count > 1:
            raise InputError(f"{option} has {each!r} twice: leave one out, or rename one.")


def _parse(arguments: list[str]) -> argparse.Namespace:
    """The options. Raises InputError for wrong ones that the parser can't detect."""
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
        raise InputError("Give one folder, archive or CSV of labelled pictures.")
    outputs = ((options.report, ".html"), (options.out, ".csv"), (options.answers, ".csv"))
    for path, suffix in outputs:
        if path is not None and path.suffix != suffix:
            raise InputError(f"{path.name!r} must end in {suffix}.")
    options.model, options.template = options.model or ["bundled"], options.template or [None]
    _check_each_once("--model", options.model)
    _check_each_once("--template", options.template)
    return options
