from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from clip_core import NoneOfThese, Scores
from ui.service.export import TABLE_HEADERS, to_table
from ui.widgets.chart import draw_chart, format_share, say

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><b onclick="alert(1)">',
    "&lt;b&gt; & ' \"",
]


class Elements(HTMLParser):
    """The elements of a piece of HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.styles += [value or "" for name, value in attrs if name == "style"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0, "0 %"),
        (1e-9, "< 0.0001 %"),
        (1e-6, "0.00010 %"),
        (0.00004, "0.0040 %"),
        (0.0004, "0.040 %"),
        (0.004, "0.40 %"),
        (0.0099, "0.99 %"),
        (0.00999, "1.00 %"),
        (0.01, "1.0 %"),
        (0.1234, "12.3 %"),
        (0.9994, "99.9 %"),
        (0.9996, "> 99.9 %"),
        (1 - 1e-9, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(probability: float, shown: str) -> None:
    assert format_share(probability) == shown


def test_shares_grow_with_the_probability() -> None:
    """What reads as a number never goes down while the probability goes up."""
    probabilities = [1.03**-exponent for exponent in range(450)]
    numbers = [
        float(format_share(p).rstrip(" %")) for p in probabilities if format_share(p)[0] not in "<>"
    ]
    assert len(numbers) > 400
    assert numbers == sorted(numbers, reverse=True)


def test_bars_best_first_and_as_wide_as_the_share(make_scores: Callable[..., Scores]) -> None:
    chart = Elements(draw_chart(make_scores(["cat", "dog", "fox"], [0.25, 0.7, 0.05]), False))
    assert chart.texts[:6] == ["dog", "70.0 %", "cat", "25.0 %", "fox", "5.0 %"]
    assert chart.styles == ["width:70.00%", "width:25.00%", "width:5.00%"]
    assert "not the chance that a label is true" in chart.texts[-1]
    assert "more in the table" not in chart.texts[-1]


def test_ten_bars_at_most_and_the_others_counted(make_scores: Callable[..., Scores]) -> None:
    def draw(count: int) -> Elements:
        return Elements(
            draw_chart(
                make_scores([f"label {i}" for i in range(count)], [1 / count] * count), False
            )
        )

    assert len(draw(10).styles) == 10
    assert "in the table" not in draw(10).texts[-1]
    assert len(draw(11).styles) == 10
    assert "1 more in the table." in draw(11).texts[-1]
    assert "990 more in the table." in draw(1000).texts[-1]


def test_one_label_says_that_it_says_nothing(make_scores: Callable[..., Scores]) -> None:
    chart = Elements(draw_chart(make_scores(["cat"], [1]), with_none=False))
    assert chart.texts == [
        "cat",
        "100 %",
        "One label alone always gets 100 %, so this says nothing: add another.",
    ]


def test_labels_are_text_and_never_elements(make_scores: Callable[..., Scores]) -> None:
    plain = Elements(draw_chart(make_scores(["a", "b", "c", "d"], [0.4, 0.3, 0.2, 0.1])))
    chart = Elements(draw_chart(make_scores(HOSTILE, [0.4, 0.3, 0.2, 0.1])))
    assert chart.tags == plain.tags
    assert chart.attributes == plain.attributes
    assert chart.texts[:8:2] == HOSTILE


@pytest.mark.parametrize("sentence", HOSTILE)
def test_a_sentence_is_text_and_never_an_element(sentence: str) -> None:
    said = Elements(say(sentence, problem=True))
    assert said.tags == ["div", "div"]
    assert said.texts == [sentence]


def test_a_problem_is_announced_as_one() -> None:
    assert 'role="alert"' in say("Too many labels.", problem=True)
    assert 'role="status"' in say("No labels yet.")


def test_table_holds_every_label_best_first(make_scores: Callable[..., Scores]) -> None:
    labels = [f"label {i}" for i in range(30)]
    shares = [i / 435 for i in range(30)]
    table = to_table(make_scores(labels, shares))
    assert list(table.columns) == TABLE_HEADERS
    assert list(table["label"]) == labels[::-1]
    assert list(table["rank"]) == list(range(1, 31))
    assert table["score"].sum() == pytest.approx(1, abs=0.001)
    assert table["prompt"][0] == "a photo of a label 29."


def test_table_keeps_small_scores(make_scores: Callable[..., Scores]) -> None:
    table = to_table(make_scores(["cat", "dog"], [1 - 1.23456e-7, 1.23456e-7]))
    assert table["score"][1] == 1.235e-7


@pytest.mark.parametrize(
    ("score", "name"), [(0.2, "None of these"), (0.0, "Perhaps none of these")]
)
def test_none_of_these_has_a_row_of_its_own(
    make_scores: Callable[..., Scores], score: float, name: str
) -> None:
    none = NoneOfThese(score, threshold=0.1, chance=0.25)
    scores = replace(make_scores(["cat", "dog"], [0.7, 0.3]), none_of_these=none)
    chart = Elements(draw_chart(scores))
    assert chart.styles == ["width:70.00%", "width:30.00%", "width:25.00%"]
    assert chart.texts[5:7] == [name, "25.0 %"]
    assert "not a share" in chart.texts[-1]
    assert name not in Elements(draw_chart(scores, with_none=False)).texts
    # What leads is set off: the best label, or that it may be wrong
    assert ('class="row best"' in draw_chart(scores)) == (score > 0.1)


def test_a_model_without_a_threshold_says_so(make_scores: Callable[..., Scores]) -> None:
    assert "no threshold was fitted" in draw_chart(make_scores(["cat", "dog"], [0.7, 0.3]))
