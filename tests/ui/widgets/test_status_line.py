from __future__ import annotations

from collections.abc import Callable

from clip_core import Scores
from ui.service.hints import hints_on_words
from ui.widgets.status_line import describe_run, draw_hints


def test_a_run_is_told_in_one_line(make_scores: Callable[..., Scores]) -> None:
    scores = make_scores(["cat", "dog"], [0.7, 0.3])
    assert describe_run(scores) == (
        "Answered by the model “tiny.safetensors” on cpu in 100 ms. Picture computed; 0 of 2 "
        "labels from the cache."
    )


def test_what_was_typed_is_escaped() -> None:
    drawn = draw_hints(hints_on_words(["no <b>dog</b>", "собака"]))
    assert "<b>" not in drawn
    assert drawn.count("<li>") == 2
    assert draw_hints([]) == ""
