"""Which way of asking is best, and whether the pictures at hand can tell.

Each way (a template, a wording, a model) answers the same labelled pictures. Accuracies have
Wilson's intervals; each way is compared with the first, picture by picture, by McNemar's exact
test, corrected after Holm where there are several. Statistics are statsmodels' and scipy's,
imported where they are used: they take a second, which the page's start would wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.05  # a difference is told from chance below it; intervals hold at 95 %
BINS = 15  # of the calibration, as in Guo et al., arXiv 1706.04599
RESAMPLES = 5000  # of the paired bootstrap
FEW = 5  # a label with fewer pictures tells little


@dataclass(frozen=True)
class Variant:
    """One way of asking. logits: float32 [pictures, labels], scaled cosine similarities."""

    name: str
    logits: np.ndarray


@dataclass(frozen=True)
class Result:
    """How one way did.

    answers: int [pictures], numbers of labels; confidence: float [pictures], the probability of the
    answer. confusion: int [labels, labels], right ones in rows, answers in columns. calibration:
    a row for each bin that holds pictures: pictures, confidence, accuracy.
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
    """A way beside the first: their accuracies' difference, and whether it is more than chance.

    difference, low, high: its accuracy less the first's, and the 95 % interval of a paired
    bootstrap; NaN where all pictures tell the same, of which it can make nothing else. only_first,
    only_other: pictures that one alone has right. p, p_adjusted: of McNemar's exact test, before
    and after Holm's correction.
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
        """Whether it is more than chance, at `LEVEL`."""
        return self.p_adjusted < LEVEL


@dataclass(frozen=True)
class Comparison:
    """Several ways on the same pictures. truth: int [pictures], the number of the right label."""

    labels: tuple[str, ...]
    pictures: tuple[str, ...]
    truth: np.ndarray
    results: tuple[Result, ...]
    differences: tuple[Difference, ...]  # of each way after the first

    @property
    def sentence(self) -> str:
        """What can be said, for somebody who knows no statistics."""
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
        """What makes the figures weak."""
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
        """A row for each way; the columns on differences are empty for the first."""
        rows = []
        for result, other in zip(self.results, [None, *self.differences], strict=True):
            rows.append(
                {
                    "way": result.name,
                    "pictures": len(self.pictures),
                    "right": result.right,
                    "accuracy": result.accuracy,
                    "accuracy_low": result.low,
                    "accuracy_high": result.high,
                    "macro_recall": result.macro_recall,
                    "ece": result.ece,
                    "difference": other and other.difference,
                    "difference_low": other and other.low,
                    "difference_high": other and other.high,
                    "only_first": other and other.only_first,
                    "only_other": other and other.only_other,
                    "p": other and other.p,
                    "p_holm": other and other.p_adjusted,
                }
            )
        frame = pd.DataFrame(rows)
        return frame.astype(dict.fromkeys(frame.columns[8:], "float64"))

    def by_label(self) -> pd.DataFrame:
        """A row for each way and label: pictures, right, recall with its interval, precision."""
        rows = []
        for result in self.results:
            for i, label in enumerate(self.labels):
                count, right = int(result.confusion[i].sum()), int(result.confusion[i, i])
                answered = int(result.confusion[:, i].sum())
                low, high = _wilson(right, count)
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
        """A row for each picture: what is right, and each way's answer and its probability."""
        columns: dict[str, object] = {
            "picture": self.pictures,
            "label": [self.labels[i] for i in self.truth],
        }
        for result in self.results:
            columns[result.name] = [self.labels[i] for i in result.answers]
            columns[f"{result.name} probability"] = result.confidence
        return pd.DataFrame(columns)

    def disagreements(self) -> np.ndarray:
        """Numbers of the pictures that the ways answer differently: the most different first."""
        answers = np.stack([result.answers for result in self.results], axis=1)
        kinds = np.array([len(set(row)) for row in answers])
        confidence = np.stack([result.confidence for result in self.results]).mean(axis=0)
        order = np.lexsort((-confidence, -kinds))
        return order[kinds[order] > 1]


def compare(
    ways: Sequence[Variant], labels: Sequence[str], truth: Sequence[int], pictures: Sequence[str]
) -> Comparison:
    """Compares ways of asking, each with the first.

    truth: the number of each picture's right label. pictures: their names. Raises ValueError, with
    one sentence, for what can't be compared.
    """
    right = np.asarray(truth, dtype=np.int64)
    names = [way.name for way in ways]
    if not ways or len(set(names)) < len(names):
        raise ValueError("There must be one way of asking or more, each with another name.")
    if len(labels) < 2 or not len(pictures):
        raise ValueError("At least two labels are needed, and one picture.")
    if right.shape != (len(pictures),) or right.min() < 0 or right.max() >= len(labels):
        raise ValueError("Each picture needs one of the labels.")
    for way in ways:
        if way.logits.shape != (len(pictures), len(labels)) or not np.isfinite(way.logits).all():
            raise ValueError(f"“{way.name}” needs a finite score for each picture and label.")
    results = tuple(_result(way, right, len(labels)) for way in ways)
    return Comparison(tuple(labels), tuple(pictures), right, results, _differences(results, right))


def calibrate(confidence: np.ndarray, is_right: np.ndarray) -> tuple[pd.DataFrame, float]:
    """Whether probabilities mean what they say: bins with pictures in them, and the ECE.

    confidence: float [N], of the answers given; is_right: bool [N]. The expected calibration error
    is the mean gap between confidence and accuracy over `BINS` equal bins, weighted by their sizes.
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


def _result(way: Variant, truth: np.ndarray, labels: int) -> Result:
    from scipy.special import softmax  # noqa: PLC0415

    answers = way.logits.argmax(axis=1)
    confidence = softmax(way.logits.astype(np.float64), axis=1).max(axis=1)
    confusion = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    counts = confusion.sum(axis=1)
    right = int(np.trace(confusion))
    low, high = _wilson(right, len(truth))
    calibration, ece = calibrate(confidence, answers == truth)
    return Result(
        name=way.name,
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
    from statsmodels.stats.contingency_tables import mcnemar  # noqa: PLC0415
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415

    if len(results) < 2:
        return ()
    first = results[0].answers == truth
    found = []
    for result in results[1:]:
        other = result.answers == truth
        only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
        both, neither = int((first & other).sum()), int((~first & ~other).sum())
        test = mcnemar([[both, only_first], [only_other, neither]], exact=True)
        low, high = _interval(other.astype(float) - first)
        found.append((result.name, only_first, only_other, low, high, float(test.pvalue)))
    _, adjusted, _, _ = multipletests([row[-1] for row in found], method="holm")
    return tuple(
        Difference(name, (b - a) / len(truth), low, high, a, b, p, float(corrected))
        for (name, a, b, low, high, p), corrected in zip(found, adjusted, strict=True)
    )


def _interval(gains: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean of paired differences: percentile bootstrap over pictures.

    NaN where all are the same: it would have no width, as if nothing else could have come out.
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


def _wilson(right: int, count: int) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint  # noqa: PLC0415

    if not count:
        return float("nan"), float("nan")
    low, high = proportion_confint(right, count, alpha=LEVEL, method="wilson")
    return float(low), float(high)


def _of(right: int, count: int) -> str:
    return f"{right:,} of {_pictures(count)} right, {_percent(right / count)}"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
