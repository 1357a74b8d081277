"""Statistics of variants (templates, wordings, models) on the same labelled images.

Accuracies have Wilson intervals. Each variant is compared with the first, image by image, by
McNemar's exact test with Holm's correction. scipy is imported where it is used: it takes half a
second, which the page's start would wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clip_core.errors import InputError

LEVEL = 0.05  # significance level; intervals hold at 95 %
BINS = 15  # of the calibration, as in Guo et al., arXiv 1706.04599
RESAMPLES = 5000  # of the paired bootstrap
FEW = 5  # a label with fewer images tells little
FIGURES = (
    *("way", "pictures", "right", "accuracy", "accuracy_low", "accuracy_high"),
    *("macro_recall", "ece"),
)
DIFFERENCES = (
    *("difference", "difference_low", "difference_high", "only_first", "only_other"),
    *("p", "p_holm"),
)


@dataclass(frozen=True)
class Variant:
    """One way of asking. logits: float32 [images, labels], scaled cosine similarities."""

    name: str
    logits: np.ndarray


@dataclass(frozen=True)
class Result:
    """Figures of one variant.

    answers: int [images], numbers of labels. confidence: float [images], the probability of the
    answer. low, high: the interval of the accuracy. confusion: int [labels, labels], true labels in
    rows, answers in columns. calibration: columns pictures, confidence and accuracy, a row for each
    bin that is not empty. ece: expected calibration error.
    """

    name: str
    answers: np.ndarray
    confidence: np.ndarray
    right: int
    accuracy: float
    low: float
    high: float
    macro_recall: float
    confusion: np.ndarray
    calibration: pd.DataFrame
    ece: float


@dataclass(frozen=True)
class Difference:
    """A variant compared with the first.

    difference, low, high: its accuracy minus the first's, and the 95 % interval of a paired
    bootstrap; the interval is NaN where all images agree. only_first, only_other: images that only
    one of the two has right. p, p_adjusted: McNemar's exact test, before and after Holm.
    """

    name: str
    difference: float
    low: float
    high: float
    only_first: int
    only_other: int
    p: float
    p_adjusted: float

    @property
    def is_real(self) -> bool:
        """Whether it is significant at `LEVEL`."""
        return self.p_adjusted < LEVEL


@dataclass(frozen=True)
class Comparison:
    """Several variants on the same images.

    pictures: the images' names. truth: int [images], numbers of the true labels. differences: of
    each variant after the first.
    """

    labels: tuple[str, ...]
    pictures: tuple[str, ...]
    truth: np.ndarray
    results: tuple[Result, ...]
    differences: tuple[Difference, ...]

    @property
    def sentence(self) -> str:
        """The conclusion, for readers who know no statistics."""
        first = self.results[0]
        if not self.differences:
            return (
                f"“{first.name}” has {_of(first.right, len(self.pictures))} (95 % "
                f"interval {_percent(first.low)} to {_percent(first.high)})."
            )
        real = [difference for difference in self.differences if difference.is_real]
        if not real:
            best = max(self.results, key=lambda result: result.right)
            said = (
                f"No difference that {_pictures(len(self.pictures))} can show: “{first.name}” has "
                f"{_percent(first.accuracy)} right"
            )
            if best is first:
                return f"{said}, and none of the others more."
            return f"{said}, “{best.name}”, the best, {_percent(best.accuracy)}."
        top = max(real, key=lambda difference: difference.difference)
        others = len(self.differences)
        corrected = f", Holm-corrected for {others} comparisons" if others > 1 else ""
        size = abs(100 * top.difference)
        low, high = sorted((abs(100 * top.low), abs(100 * top.high)))
        interval = "" if np.isnan(low) else f" (95 % interval {low:.1f} to {high:.1f})"
        said = (
            f"“{top.name}” is {'better' if top.difference > 0 else 'worse'} than “{first.name}” by "
            f"{size:.1f} points{interval}: more than chance ({_p(top.p_adjusted)}{corrected})."
        )
        if len(real) > 1:
            more = len(real) - 1
            other = "other differs" if more == 1 else "others differ"
            said += f" {more} {other} from “{first.name}” too."
        return said

    @property
    def warnings(self) -> list[str]:
        """Reasons to distrust the figures."""
        counts = np.bincount(self.truth, minlength=len(self.labels))
        few = [label for label, count in zip(self.labels, counts, strict=True) if 0 < count < FEW]
        none = int((counts == 0).sum())
        said = []
        if few:
            said.append(
                f"{len(few)} of {len(self.labels)} labels have fewer than {FEW} pictures: what is "
                "said of such a label alone means little."
            )
        if none:
            said.append(f"{none} labels have no pictures: they can only be wrong answers.")
        return said

    def to_frame(self) -> pd.DataFrame:
        """A row for each variant; the columns on differences are empty for the first."""
        figures = [
            (r.name, len(self.pictures), r.right, r.accuracy, r.low, r.high, r.macro_recall, r.ece)
            for r in self.results
        ]
        differences = [
            (d.difference, d.low, d.high, d.only_first, d.only_other, d.p, d.p_adjusted)
            for d in self.differences
        ]
        return pd.concat(
            [
                pd.DataFrame(figures, columns=FIGURES),
                # Numbered from 1: the first variant has no difference
                pd.DataFrame(
                    differences,
                    columns=DIFFERENCES,
                    index=range(1, len(figures)),
                    dtype="float64",
                ),
            ],
            axis=1,
        )

    def by_label(self) -> pd.DataFrame:
        """A row for each variant and label: counts, recall with its interval, precision."""
        rows = []
        for result in self.results:
            for i, label in enumerate(self.labels):
                count, right = int(result.confusion[i].sum()), int(result.confusion[i, i])
                answered = int(result.confusion[:, i].sum())
                low, high = wilson_interval(right, count)
                rows.append(
                    {
                        "way": result.name,
                        "label": label,
                        "pictures": count,
                        "right": right,
                        "recall": right / count if count else float("nan"),
                        "recall_low": low,
                        "recall_high": high,
                        "precision": right / answered if answered else float("nan"),
                    }
                )
        return pd.DataFrame(rows)

    def answers(self) -> pd.DataFrame:
        """A row for each image: the true label, each variant's answer and its probability."""
        columns: dict[str, object] = {
            "picture": self.pictures,
            "label": [self.labels[i] for i in self.truth],
        }
        for result in self.results:
            columns[result.name] = [self.labels[i] for i in result.answers]
            columns[f"{result.name} probability"] = result.confidence
        return pd.DataFrame(columns)

    def disagreements(self) -> np.ndarray:
        """Numbers of the images that variants answer differently, most answers first."""
        answers = np.stack([result.answers for result in self.results], axis=1)
        distinct = np.array([len(set(row)) for row in answers])
        confidence = np.stack([result.confidence for result in self.results]).mean(axis=0)
        order = np.lexsort((-confidence, -distinct))
        return order[distinct[order] > 1]


def compare(
    variants: Sequence[Variant],
    labels: Sequence[str],
    truth: Sequence[int],
    pictures: Sequence[str],
) -> Comparison:
    """Compares variants, each with the first.

    truth: the number of each image's true label. pictures: the images' names. Raises InputError,
    with one sentence, for what can't be compared.
    """
    right = np.asarray(truth, dtype=np.int64)
    names = [variant.name for variant in variants]
    if not variants or len(set(names)) < len(names):
        raise InputError("There must be one way of asking or more, each with another name.")
    if len(labels) < 2 or not len(pictures):
        raise InputError("At least two labels are needed, and one picture.")
    if right.shape != (len(pictures),) or right.min() < 0 or right.max() >= len(labels):
        raise InputError("Each picture needs one of the labels.")
    for name, logits in ((variant.name, variant.logits) for variant in variants):
        if logits.shape != (len(pictures), len(labels)) or not np.isfinite(logits).all():
            raise InputError(f"“{name}” needs a finite score for each picture and label.")
    results = tuple(_result(variant, right) for variant in variants)
    return Comparison(tuple(labels), tuple(pictures), right, results, _differences(results, right))


def calibrate(confidence: np.ndarray, is_right: np.ndarray) -> tuple[pd.DataFrame, float]:
    """Calibration: the bins that are not empty, and the expected calibration error.

    confidence: float [N], of the answers; is_right: bool [N]. The error is the mean gap between
    confidence and accuracy over `BINS` equal bins, weighted by their sizes.
    """
    bins = np.clip(np.ceil(confidence * BINS), 1, BINS).astype(int)
    frame = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": is_right * 1.0})
    grouped = frame.groupby("bin").agg(
        pictures=("accuracy", "size"),
        confidence=("confidence", "mean"),
        accuracy=("accuracy", "mean"),
    )
    gaps = (grouped["confidence"] - grouped["accuracy"]).abs()
    return grouped, float((gaps * grouped["pictures"]).sum() / len(frame))


def _result(variant: Variant, truth: np.ndarray) -> Result:
    from scipy.special import softmax  # noqa: PLC0415

    labels = variant.logits.shape[1]
    answers = variant.logits.argmax(axis=1)
    confidence = softmax(variant.logits.astype(np.float64), axis=1).max(axis=1)
    confusion = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    counts = confusion.sum(axis=1)
    right = int(np.trace(confusion))
    low, high = wilson_interval(right, len(truth))
    calibration, ece = calibrate(confidence, answers == truth)
    return Result(
        name=variant.name,
        answers=answers,
        confidence=confidence,
        right=right,
        accuracy=right / len(truth),
        low=low,
        high=high,
        macro_recall=float((np.diag(confusion)[counts > 0] / counts[counts > 0]).mean()),
        confusion=confusion,
        calibration=calibration,
        ece=ece,
    )


def _differences(results: Sequence[Result], truth: np.ndarray) -> tuple[Difference, ...]:
    first = results[0].answers == truth
    found = []
    for result in results[1:]:
        other = result.answers == truth
        only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
        low, high = _bootstrap_interval(other.astype(float) - first)
        found.append((low, high, only_first, only_other, mcnemar(only_first, only_other)))
    adjusted = holm(np.array([row[-1] for row in found]))
    return tuple(
        Difference(result.name, (b - a) / len(truth), low, high, a, b, p, float(corrected))
        for result, (low, high, a, b, p), corrected in zip(
            results[1:], found, adjusted, strict=True
        )
    )


def mcnemar(only_first: int, only_other: int) -> float:
    """p of McNemar's exact test: a binomial test of the images that only one has right."""
    from scipy.stats import binomtest  # noqa: PLC0415

    discordant = only_first + only_other
    return float(binomtest(min(only_first, only_other), discordant).pvalue) if discordant else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """p values [n] after Holm's step-down correction for n comparisons."""
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson; NaN without a count."""
    from scipy.stats import binomtest  # noqa: PLC0415

    if not count:
        return float("nan"), float("nan")
    interval = binomtest(right, count).proportion_ci(1 - LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def _bootstrap_interval(gains: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean of paired differences: percentile bootstrap over images.

    NaN where all are equal: the interval would have no width, which would claim certainty.
    """
    from scipy.stats import bootstrap  # noqa: PLC0415

    if np.ptp(gains) == 0:
        return float("nan"), float("nan")
    found = bootstrap(
        (gains,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=1 - LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=500,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _of(right: int, count: int) -> str:
    return f"{right:,} of {_pictures(count)} right, {_percent(right / count)}"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
