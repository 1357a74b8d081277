"""Report on a comparison: one HTML file that needs no script, no other file and no other host."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from clip_core.batch.inputs import InputItem
from clip_core.batch.loader import read_members, read_whole
from clip_core.batch.tables import write_text
from clip_core.errors import ImageError
from clip_core.images.decode import open_image
from clip_core.images.thumbnail import data_uri, thumbnail_jpeg

from .plots import draw_calibration, draw_confusion
from .statistics import Comparison

DISAGREEMENTS = 60  # images that are shown
THUMBNAIL = 160  # pixels of the long side
METHODS = (
    "Accuracy: the part of the pictures whose best label is the right one, with Wilson’s 95 % "
    "interval. Difference: that of the accuracies on the same pictures, with the interval of a "
    "paired bootstrap over pictures (5,000 resamples, percentile). p: McNemar’s exact test on the "
    "pictures that one of the two alone has right; Holm: corrected for the number of comparisons. "
    "Whether a difference is more than chance, p decides, and not the interval of the difference, "
    "which is too narrow where pictures are few, and a dash where all of them tell the same. "
    "Macro recall: the mean over labels of the part of a label’s pictures that is right. ECE: "
    "expected calibration error of the answer’s probability, 15 bins (Guo et al., 2017)."
)


def write_report(
    comparison: Comparison,
    path: Path,
    title: str,
    notes: Sequence[tuple[str, str]],
    thumbnails: Mapping[str, bytes],
) -> None:
    """Writes a comparison as HTML, whole or not at all.

    notes: terms with their descriptions, such as the models and the date. thumbnails: JPEG files by
    the images' names; some may be missing. Raises InputError where the file can't be written.
    """
    write_text(path, draw_report(comparison, title, notes, thumbnails))


def draw_report(
    comparison: Comparison,
    title: str,
    notes: Sequence[tuple[str, str]],
    thumbnails: Mapping[str, bytes],
) -> str:
    """The report as text; see `write_report`."""
    return _environment.get_template("report.html").render(
        comparison=comparison,
        title=title,
        notes=notes,
        thumbnails=thumbnails,
        methods=METHODS,
        shown=comparison.disagreements()[:DISAGREEMENTS].tolist(),
        by_label=list(comparison.by_label().itertuples()),
        confusions=[draw_confusion(result, comparison.labels) for result in comparison.results],
        calibration=draw_calibration(comparison.results),
    )


def draw_variants(comparison: Comparison) -> str:
    """HTML: a table with each variant's accuracy and its difference from the first."""
    macros: Any = _environment.get_template("variants.html").module
    return str(macros.variants(comparison))


def make_thumbnails(comparison: Comparison, items: Sequence[InputItem]) -> dict[str, bytes]:
    """Small JPEGs of the images that variants disagree on, by name, of those that can be read."""
    thumbnails = {}
    for row in comparison.disagreements()[:DISAGREEMENTS].tolist():
        item = items[row]
        try:
            if item.member is None:
                data: bytes | None = read_whole(item.path)[0]
            else:
                data = next(read_members(item.path, [item.member]))[0]
            if data is not None:
                thumbnails[item.name] = thumbnail_jpeg(open_image(data), THUMBNAIL)
        except ImageError:
            continue
    return thumbnails


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "percent": _percent,
    "points": lambda share: f"{100 * share:+.1f}",
    "data_uri": data_uri,
}
