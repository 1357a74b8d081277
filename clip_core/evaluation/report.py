"""A comparison as one HTML file that needs nothing beside it: no script, no other host."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from clip_core.batch.inputs import InputItem
from clip_core.batch.loader import read_members, read_whole
from clip_core.batch.tables import write_text
from clip_core.errors import ImageError
from clip_core.images.decode import open_image

from .plots import draw_calibration, draw_confusion
from .statistics import Comparison

DISAGREEMENTS = 60  # pictures that are shown
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
WRONG = ' class="wrong"'
STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --bar: #3b6fd4; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { font-size: 1.1rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; opacity: .75; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.real td, tr.real th { font-weight: 700; }
img { max-width: 100%; height: auto; background: white; }
img.thumbnail { width: 5rem; height: 5rem; object-fit: contain; background: var(--soft); }
summary { cursor: pointer; padding: .3rem 0; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem; overflow-wrap: anywhere; }
.wrong { color: light-dark(#a3330a, #ffb08a); }
@media print { details::details-content { content-visibility: visible; } }
"""


def write_report(
    comparison: Comparison,
    path: Path,
    title: str,
    notes: Sequence[tuple[str, str]],
    thumbnails: Mapping[str, bytes],
) -> None:
    """Writes a comparison as HTML, whole or not at all.

    notes: terms and what there is to say of each, such as the model. thumbnails: JPEG files by the
    pictures' names; some may lack. Raises ValueError where the file can't be written.
    """
    write_text(path, draw_report(comparison, title, notes, thumbnails))


def draw_report(
    comparison: Comparison,
    title: str,
    notes: Sequence[tuple[str, str]],
    thumbnails: Mapping[str, bytes],
) -> str:
    """The report as text; see `write_report`."""
    warned = "".join(f"<p>{escape(warning)}</p>" for warning in comparison.warnings)
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(said)}</dd>" for term, said in notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        f'<p class="verdict">{escape(comparison.sentence)}</p>{warned}'
        f"<h2>Ways of asking</h2>{draw_ways(comparison)}"
        f"<h2>Where they disagree</h2>{draw_disagreements(comparison, thumbnails)}"
        f"<h2>Which labels are taken for which</h2>{_draw_confusions(comparison)}"
        "<h2>Do the probabilities mean what they say?</h2>"
        + _image(draw_calibration(comparison.results), "Accuracy against probability, by way")
        + f"<h2>How it was measured</h2><p>{escape(METHODS)}</p><dl>{terms}</dl></body></html>"
    )


def draw_ways(comparison: Comparison) -> str:
    """HTML: a row for each way, with its accuracy and how it differs from the first."""
    heads = ["accuracy", "95 % interval", "macro recall", "ECE", "difference", "p", "p (Holm)"]
    rows = []
    for result, other in zip(comparison.results, [None, *comparison.differences], strict=True):
        cells = [
            f"{_percent(result.accuracy)} ({result.right:,})",
            f"{_percent(result.low)} to {_percent(result.high)}",
            _percent(result.macro_recall),
            _percent(result.ece),
        ]
        if other is None:
            cells += ["", "", ""]
        else:
            interval = "–"
            if not math.isnan(other.low):
                interval = f"{100 * other.low:+.1f} to {100 * other.high:+.1f}"
            cells.append(f"{100 * other.difference:+.1f} ({interval})")
            cells += [f"{other.p:.3g}", f"{other.p_adjusted:.3g}"]
        kind = ' class="real"' if other is not None and other.is_real else ""
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        name = f'<th scope="row" translate="no">{escape(result.name)}</th>'
        rows.append(f"<tr{kind}>{name}{numbers}</tr>")
    head = "".join(f'<th scope="col" class="number">{head}</th>' for head in heads)
    count = len(comparison.pictures)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Ways of asking"><table>'
        f"<caption>{count:,} pictures, {len(comparison.labels):,} labels. Differences are to the "
        "first, in points; bold where they are more than chance.</caption>"
        f'<thead><tr><th scope="col">way</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def draw_disagreements(comparison: Comparison, thumbnails: Mapping[str, bytes]) -> str:
    """HTML: the pictures that the ways answer differently, with each one's answer."""
    if len(comparison.results) < 2:
        return "<p>There is one way alone.</p>"
    found = comparison.disagreements()
    if not len(found):
        return "<p>Nowhere: all ways give the same answers.</p>"
    heads = "".join(
        f'<th scope="col" translate="no">{escape(result.name)}</th>'
        for result in comparison.results
    )
    rows = []
    for number in found[:DISAGREEMENTS].tolist():
        name = comparison.pictures[number]
        data = thumbnails.get(name)
        seen = _image(data, name, "jpeg", "thumbnail") if data else ""
        truth = comparison.truth[number]
        cells = "".join(
            f"<td{'' if result.answers[number] == truth else WRONG}>"
            f"{escape(comparison.labels[result.answers[number]])} "
            f"{_percent(result.confidence[number])}</td>"
            for result in comparison.results
        )
        rows.append(
            f'<tr translate="no"><td>{seen}</td><th scope="row">{escape(name)}</th>'
            f"<td>{escape(comparison.labels[truth])}</td>{cells}</tr>"
        )
    left = len(found) - len(rows)
    more = f"<p>{left:,} more.</p>" if left > 0 else ""
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Where they disagree"><table>'
        f"<caption>{len(found):,} pictures; wrong answers are coloured.</caption>"
        '<thead><tr><th scope="col">picture</th><th scope="col">name</th>'
        f'<th scope="col">right</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f"</div>{more}"
    )


def _draw_confusions(comparison: Comparison) -> str:
    table = comparison.by_label()
    parts = []
    for place, result in enumerate(comparison.results):
        drawn = _image(
            draw_confusion(result, comparison.labels), f"Confusion matrix of {result.name}"
        )
        own = table[table["way"] == result.name]
        parts.append(
            f'<details{"" if place else " open"}><summary translate="no">{escape(result.name)}'
            f"</summary>{drawn}{_draw_labels(own, result.name)}</details>"
        )
    return "".join(parts)


def _draw_labels(table: pd.DataFrame, name: str) -> str:
    rows = "".join(
        f'<tr><th scope="row" translate="no">{escape(str(row.label))}</th>'
        f'<td class="number">{row.pictures}</td><td class="number">{_percent(row.recall)}</td>'
        f'<td class="number">{_percent(row.recall_low)} to {_percent(row.recall_high)}</td>'
        f'<td class="number">{_percent(row.precision)}</td></tr>'
        for row in table.itertuples()
    )
    heads = "".join(
        f'<th scope="col" class="number">{head}</th>'
        for head in ("pictures", "recall", "95 % interval", "precision")
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Labels, {escape(name)}">'
        f'<table><caption>By label</caption><thead><tr><th scope="col">label</th>{heads}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _image(data: bytes, alt: str, kind: str = "png", name: str = "plot") -> str:
    coded = base64.b64encode(data).decode()
    return f'<img class="{name}" alt="{escape(alt)}" src="data:image/{kind};base64,{coded}">'


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def thumbnails(comparison: Comparison, sources: Sequence[InputItem]) -> dict[str, bytes]:
    """Small JPEGs of the pictures that ways disagree on, by name; those that can't be read lack."""
    if len(comparison.results) < 2:
        return {}
    made = {}
    for number in comparison.disagreements()[:DISAGREEMENTS].tolist():
        source = sources[number]
        try:
            data = _bytes_of(source)
            if data is not None:
                made[source.name] = shrink(data)
        except ImageError:
            continue
    return made


def shrink(data: bytes) -> bytes:
    """A picture's file -> a small JPEG. Raises ImageError."""
    opened = open_image(data)
    opened.thumbnail((THUMBNAIL, THUMBNAIL))
    written = io.BytesIO()
    opened.save(written, "JPEG", quality=80)
    return written.getvalue()


def _bytes_of(source: InputItem) -> bytes | None:
    if source.member is None:
        return read_whole(source.path)[0]
    members: Iterable[tuple[bytes | None, bytes | None, str | None]]
    members = read_members(source.path, [source.member])
    return next(iter(members))[0]
