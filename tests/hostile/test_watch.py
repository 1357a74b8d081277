"""The watcher sees what goes wrong, and a few hundred of the inputs go right."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import pytest

from clip_core.images.decode import NO_MEMORY
from tests.hostile.__main__ import table
from tests.hostile.misbehave import misbehave
from tests.hostile.pictures import pictures, sound_files
from tests.hostile.texts import texts
from tests.hostile.verdicts import (
    ERROR,
    FAILURE,
    RIGHT,
    ROOT,
    Verdict,
    in_silence,
    judge,
    try_picture,
)
from tests.hostile.watch import PICTURES, TEXTS, Outcome, watch


def test_what_hangs_and_what_crashes_is_named_and_the_rest_goes_on() -> None:
    hung, crashed, right = watch(PICTURES, 0, 3, wait=3, target=misbehave)
    assert (hung.verdict, hung.words) == (FAILURE, "took too long")
    assert (crashed.verdict, crashed.words) == (FAILURE, "ended the process with 3")
    assert right == Outcome(2, "kind: 2", "right", "", 0.5, 7.0)
    assert table([hung, crashed, right]).splitlines()[-1] == "| kind | 3 | 1 | 0 | 2 | 3.0 | 7 |"


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "No end",
        "Two\nlines.",
        "x" * 500 + ".",
        f"No file {ROOT}/a.",
        "No /up/x.png.",
        NO_MEMORY,
    ],
)
def test_what_is_no_sentence_for_a_person_is_a_failure(sentence: str) -> None:
    assert judge(sentence, ["/up/x.png"]).kind == FAILURE
    assert judge("This file is empty.").kind == ERROR


@pytest.mark.parametrize("say", [warnings.warn, logging.getLogger("PIL.Odd").critical])
def test_what_speaks_in_the_log_is_a_failure(say: Callable[[str], object]) -> None:
    def trial(words: str) -> Verdict:
        say(words)
        return Verdict(RIGHT)

    assert in_silence(trial, "odd") == Verdict(FAILURE, "in the log: odd")
    assert in_silence(Verdict, RIGHT) == Verdict(RIGHT)


def test_a_seed_gives_the_same_inputs() -> None:
    assert list(pictures(5, 40)) == list(pictures(5, 40)) != list(pictures(6, 40))
    assert list(texts(5, 40)) == list(texts(5, 40)) != list(texts(6, 40))


def test_what_is_changed_was_sound() -> None:
    assert {name: try_picture(data).kind for name, data in sound_files()} == {
        name: "right" for name, _ in sound_files()
    }


@pytest.mark.parametrize(("what", "count"), [(PICTURES, 200), (TEXTS, 100)])
def test_hostile_inputs_end_in_an_answer_or_a_sentence(
    what: str, count: int, request: pytest.FixtureRequest
) -> None:
    every_test = request.config.getoption("all")
    outcomes = list(watch(what, 1, count if every_test else count // 10))
    assert [outcome for outcome in outcomes if outcome.verdict == FAILURE] == []
    if every_test:  # few inputs may all be right
        assert {outcome.verdict for outcome in outcomes} == {"right", "error"}
