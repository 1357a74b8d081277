"""The dots are the shares that each template gives by itself."""

from __future__ import annotations

import re
from collections.abc import Callable

from clip_core import Scores
from prompts.templates import single_templates
from ui.tabs.prompts import draw_dots


def test_dots_stand_at_the_shares(make_scores: Callable[..., Scores]) -> None:
    answers = [make_scores(["cat", "dog"], [0.9, 0.1]), make_scores(["cat", "dog"], [0.25, 0.75])]
    drawn = draw_dots(answers, ("a {}", "the {}"), "the {}")
    lefts = re.findall(r'<i class="dot( chosen)?" style="left:([\d.]+)%" title="([^"]+)"', drawn)
    assert lefts == [
        ("", "90.00", "a {}: 90.0 %"),
        (" chosen", "25.00", "the {}: 25.0 %"),
        ("", "10.00", "a {}: 10.0 %"),
        (" chosen", "75.00", "the {}: 75.0 %"),
    ]
    assert "“cat” wins with 1 of 2 templates, “dog” with 1" in drawn
    assert "25.0 % to 90.0 %" in drawn


def test_agreement_is_said(make_scores: Callable[..., Scores]) -> None:
    drawn = draw_dots([make_scores(["<cat>", "dog"], [0.9, 0.1])] * 3, ("{}", "a {}", "b {}"), "x")
    assert "All 3 templates agree on “&lt;cat&gt;”" in drawn
    assert "<cat>" not in drawn


def test_many_labels_are_cut(make_scores: Callable[..., Scores]) -> None:
    labels = [f"label {i}" for i in range(20)]
    drawn = draw_dots([make_scores(labels, [0.05] * 20)], ("{}",), "{}")
    assert drawn.count('class="row"') == 8
    assert "12 more labels in the table." in drawn
    assert drawn.count("<td") == 20


def test_single_templates_each_hold_the_label_once() -> None:
    assert len(single_templates()) > 5
    assert all(template.count("{}") == 1 for template in single_templates())
