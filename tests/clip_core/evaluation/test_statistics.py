"""Statistics against values worked out by hand or by another way, and on simulated pictures."""

from __future__ import annotations

import html.parser
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from clip_core.evaluation.plots import draw_calibration, draw_confusion
from clip_core.evaluation.report import METHODS, draw_variants, write_report
from clip_core.evaluation.statistics import (
    BINS,
    Comparison,
    Variant,
    calibrate,
    compare,
    holm,
    mcnemar,
    wilson_interval,
)
from training.measures import calibration_error

LABELS = ("cat", "dog", "<b>$x_1$", "猫\nline")


def way(name: str, answers: list[int], labels: int = 4, sure: float = 3.0) -> Variant:
    logits = np.zeros((len(answers), labels), dtype=np.float32)
    logits[np.arange(len(answers)), answers] = sure
    return Variant(name, logits)


def named(count: int) -> list[str]:
    return [f"{i}.jpg" for i in range(count)]


def simulate(skill: list[float], count: int, seed: int) -> Comparison:
    """Ways that are right about a picture with these chances, each by itself."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, count)
    ways = []
    for i, chance in enumerate(skill):
        wrong = (truth + random.integers(1, 4, count)) % 4
        ways.append(way(f"way {i}", np.where(random.random(count) < chance, truth, wrong).tolist()))
    return compare(ways, LABELS, truth.tolist(), named(count))


def test_a_small_case_worked_by_hand() -> None:
    truth = [0] * 4 + [1] * 4 + [2] * 2
    found = compare([way("a", [0, 0, 0, 1, 1, 1, 1, 1, 2, 0])], LABELS, truth, named(10))
    (result,) = found.results
    assert result.right == 8
    assert (result.low, result.high) == pytest.approx((0.4902, 0.9433), abs=5e-5)  # Wilson, 8 of 10
    assert result.macro_recall == pytest.approx((3 / 4 + 4 / 4 + 1 / 2) / 3)
    assert result.confusion.tolist() == [[3, 1, 0, 0], [0, 4, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    table = found.by_label().set_index("label")
    assert table.loc["dog", "precision"] == pytest.approx(4 / 5)
    assert table.loc["cat", "recall"] == pytest.approx(3 / 4)
    assert np.isnan(table.loc[LABELS[3], "recall"])
    assert found.sentence == ("“a” has 8 of 10 pictures right, 80 % (95 % interval 49 % to 94 %).")
    assert found.warnings == [
        "3 of 4 labels have fewer than 5 pictures: what is said of such a label alone means "
        "little.",
        "1 labels have no pictures: they can only be wrong answers.",
    ]


def test_mcnemar_is_the_binomial_test_of_those_that_one_alone_has_right() -> None:
    truth = [0] * 20
    found = compare(
        [way("a", [0] * 10 + [1] * 10), way("b", [0] * 9 + [1] + [0] * 7 + [1] * 3)],
        LABELS,
        truth,
        named(20),
    )
    (difference,) = found.differences
    assert (difference.only_first, difference.only_other) == (1, 7)
    assert difference.p == pytest.approx(binomtest(1, 8).pvalue)
    assert difference.p == difference.p_adjusted
    assert difference.difference == pytest.approx(6 / 20)
    assert difference.low < 0.3 < difference.high
    frame = found.to_frame()
    assert frame["way"].tolist() == ["a", "b"]
    assert np.isnan(frame["p"][0])
    assert frame["p_holm"][1] == pytest.approx(binomtest(1, 8).pvalue)


def test_holm_by_hand() -> None:
    found = simulate([0.5, 0.6, 0.7, 0.8], 150, seed=1)
    raw = np.array([difference.p for difference in found.differences])
    expected = np.empty(3)
    running = 0.0
    for place, row in enumerate(np.argsort(raw)):
        running = max(running, min(1.0, (3 - place) * raw[row]))
        expected[row] = running
    assert [d.p_adjusted for d in found.differences] == pytest.approx(expected)


def test_the_figures_are_those_of_statsmodels() -> None:
    """Precomputed by statsmodels 0.15: mcnemar (exact), proportion_confint, multipletests."""
    for discordant, p in (
        ((0, 0), 1.0),
        ((0, 1), 1.0),
        ((1, 7), 0.0703125),
        ((3, 3), 1.0),
        ((12, 30), 0.007915897334896727),
        ((100, 131), 0.048163053440744306),
        ((0, 40), 1.8189894035458565e-12),
    ):
        assert mcnemar(*discordant) == pytest.approx(p, rel=0, abs=1e-15)
    for counts, interval in (
        ((0, 1), (0.0, 0.7934506856227627)),
        ((8, 10), (0.49016247153664183, 0.9433178485456247)),
        ((10, 10), (0.7224672001371106, 1.0)),
        ((0, 7), (0.0, 0.3543304350666875)),
        ((61, 80), (0.6585922106615943, 0.8423532713322538)),
        ((911, 1000), (0.8917426484378812, 0.9271117560869926)),
    ):
        assert wilson_interval(*counts) == pytest.approx(interval, rel=0, abs=1e-15)
    for raw, adjusted in (
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.2, 0.001, 0.9, 0.02, 0.02], [0.4, 0.005, 0.9, 0.08, 0.08]),
        ([0.5], [0.5]),
        ([0.6, 0.7], [1.0, 1.0]),
    ):
        assert holm(np.array(raw)) == pytest.approx(adjusted, rel=0, abs=1e-15)


@pytest.mark.slow
def test_ways_that_are_alike_are_seldom_told_apart() -> None:
    told = [any(d.is_real for d in simulate([0.7] * 3, 80, s).differences) for s in range(200)]
    assert np.mean(told) <= 0.05


def test_a_large_difference_is_told() -> None:
    found = simulate([0.65, 0.85, 0.66], 200, seed=3)
    assert [d.is_real for d in found.differences] == [True, False]
    assert found.sentence.startswith("“way 1” is better than “way 0” by ")
    assert "Holm-corrected for 2 comparisons" in found.sentence
    worse = simulate([0.85, 0.6], 200, seed=3)
    assert worse.sentence.startswith("“way 1” is worse than “way 0” by ")
    assert "p < 0.001" in worse.sentence


def test_too_few_pictures_are_said_to_be_so() -> None:
    found = simulate([0.7, 0.75], 40, seed=5)
    assert found.sentence.startswith("No difference that 40 pictures can show: ")


@pytest.mark.parametrize("answers", [[0], [0] * 4])
def test_pictures_that_all_tell_the_same_have_no_interval(answers: list[int]) -> None:
    truth = [0] * len(answers)
    found = compare([way("a", answers), way("b", answers)], LABELS, truth, named(len(answers)))
    (difference,) = found.differences
    assert np.isnan([difference.low, difference.high]).all()
    assert not difference.is_real
    assert '<td class="number">+0.0 (–)</td>' in draw_variants(found)
    assert np.isnan(found.to_frame()["difference_low"][1])
    assert "p decides" in METHODS


def test_a_difference_on_every_picture() -> None:
    found = compare([way("a", [1] * 8), way("b", [0] * 8)], LABELS, [0] * 8, named(8))
    assert np.isnan(found.differences[0].low)
    assert found.sentence == (
        "“b” is better than “a” by 100.0 points: more than chance (p = 0.008)."
    )


def test_calibration_is_that_of_training() -> None:
    random = torch.Generator().manual_seed(0)
    confidence = torch.rand(500, generator=random)
    right = torch.rand(500, generator=random) < confidence
    bins, ece = calibrate(confidence.double().numpy(), right.numpy())
    assert ece == pytest.approx(calibration_error(confidence, right), abs=1e-6)
    assert bins["pictures"].sum() == 500
    assert len(bins) == BINS


def test_disagreements_are_those_and_no_others() -> None:
    found = compare(
        [way("a", [0, 1, 2, 3]), way("b", [0, 1, 1, 0]), way("c", [0, 1, 2, 1])],
        LABELS,
        [0, 1, 2, 3],
        named(4),
    )
    assert found.disagreements().tolist() == [3, 2]
    answers = found.answers()
    assert answers["b"].tolist() == ["cat", "dog", "dog", "cat"]
    assert answers["picture"].tolist() == named(4)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"variants": []}, "one way of asking or more"),
        ({"variants": [way("a", [0, 1]), way("a", [0, 1])]}, "another name"),
        ({"labels": ["cat"]}, "two labels"),
        ({"truth": [0, 4]}, "one of the labels"),
        ({"truth": [0]}, "one of the labels"),
        ({"variants": [way("a", [0, 1, 1])]}, "a finite score"),
        ({"variants": [Variant("a", np.full((2, 4), np.nan, dtype=np.float32))]}, "a finite score"),
    ],
)
def test_what_can_not_be_compared(change: dict[str, object], problem: str) -> None:
    asked = {
        "variants": [way("a", [0, 1])],
        "labels": LABELS,
        "truth": [0, 1],
        "pictures": named(2),
    }
    with pytest.raises(ValueError, match=problem):
        compare(**(asked | change))  # type: ignore[arg-type]


class Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_file_that_holds_all(tmp_path: Path) -> None:
    found = simulate([0.6, 0.9, 0.7], 60, seed=2)
    picture = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(picture, "JPEG")
    path = tmp_path / "deep/report.html"
    seen = {found.pictures[number]: picture.getvalue() for number in found.disagreements()[:1]}
    write_report(found, path, "<i>Which?", [("Model", "<script>alert(1)</script>")], seen)
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert "script" not in reader.tags
    assert all(source.startswith("data:image/") for source in reader.sources)
    assert len(reader.sources) == 3 + 1 + 1  # a matrix each, calibration, one thumbnail
    assert found.sentence in reader.text
    assert "<script>alert(1)</script>" in reader.text
    assert "<b>$x_1$" in reader.text
    assert reader.tags.count("table") == 2 + 3
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match="can't be written"):
        write_report(found, path / "below", "x", [], {})


def test_plots_take_any_label() -> None:
    found = simulate([0.6, 0.9], 60, seed=2)
    many = [f"label {i} " + "x" * 30 for i in range(60)]
    wide = compare([way("$a$", list(range(60)), labels=60)], many, [0] * 60, named(60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [
            draw_confusion(found.results[0], LABELS),
            draw_confusion(wide.results[0], many),
            draw_calibration([*found.results, *wide.results]),
        ]
    for png in drawn:
        with Image.open(io.BytesIO(png)) as opened:
            assert opened.format == "PNG"
            assert min(opened.size) > 200
            assert len(opened.convert("RGB").getcolors(1 << 24) or []) > 10


def test_frames_are_tables(tmp_path: Path) -> None:
    found = simulate([0.6, 0.9], 60, seed=2)
    for frame in (found.to_frame(), found.by_label(), found.answers()):
        path = tmp_path / "table.csv"
        frame.to_csv(path, index=False)
        assert len(pd.read_csv(path)) == len(frame)
