"""Whatever is typed: labels, templates and names that can be shown, sent and written to files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clip_core import tokenize
from clip_core.batch.tables import disarm
from prompts import TemplateError, fill, validate
from tests.hostile.texts import LONG, ODD
from tests.hostile.trials import made_up, try_question
from tests.hostile.verdicts import ERROR, RIGHT, ROOT, judge
from ui.service.errors import QuestionError
from ui.service.export import write_files
from ui.service.labels import MAX_CHARACTERS, LabelsError, parse_labels, strip_control_characters
from ui.service.question import Question
from ui.tabs.many.find import search_album

ANYTHING = st.text(st.characters())  # lone surrogates too
ODD_TEXTS = st.sampled_from([text for texts in ODD.values() for text in texts])
TYPED = st.lists(ANYTHING | ODD_TEXTS, max_size=5).map("\n".join)
TEMPLATES = st.lists(
    st.sampled_from(["{}", "{a}", "{", "}", " ", "a photo of ", "{0.__class__}"]) | ANYTHING,
    max_size=5,
).map("".join)
UNSEEN = "\0\x07\x1b\x7f\x9b\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.fixture(scope="module")
def picture() -> Path:
    """One that the page takes without an upload."""
    return ROOT / "ui/examples/horse.png"


@given(TYPED)
@example("\ud800")
@example("\x00nul, \u202egnp.tac")
def test_labels_can_be_shown_and_written(text: str) -> None:
    labels = parse_labels(text).labels
    for label in labels:
        assert label.encode()
        assert label.split()
        assert not set(label) & set(UNSEEN)
    assert parse_labels(labels).labels == labels


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_what_is_seen_is_kept(text: str) -> None:
    assert strip_control_characters(text) == text


@given(TEMPLATES, ANYTHING)
@example("{" + "0" * 290 + "} {}", "cat")
@example("{} \u202e", "cat")
def test_a_template_is_filled_literally_or_refused_in_a_sentence(template: str, label: str) -> None:
    problem = None
    try:
        validate(template)
    except TemplateError as error:
        problem = str(error)
    if problem is not None:
        assert judge(problem).kind == ERROR
        return
    before, _, after = template.partition("{}")
    filled = fill(template, label)
    assert filled.endswith(label + after)
    if "{a}" not in before:
        assert filled == before + label + after


@given(ANYTHING | ODD_TEXTS)
def test_every_text_has_tokens(text: str) -> None:
    assert tokenize(text, truncate=True).shape == (1, 77)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TYPED, TEMPLATES | st.just("{}"), ANYTHING)
def test_every_question_ends_in_an_answer_or_a_sentence(
    picture: Path, tmp_path: Path, typed: str, template: str, name: str
) -> None:
    verdict = try_question(typed, template, name, picture, tmp_path)
    assert verdict.kind in (RIGHT, ERROR), verdict.words


def test_half_a_surrogate_pair_reaches_no_file(picture: Path, tmp_path: Path) -> None:
    asked = Question.parse(
        {"path": str(picture), "orig_name": "\udc80.png"}, "\ud800, cat", "{}", "tiny"
    )
    assert asked.labels == ("\ufffd", "cat")
    assert asked.picture == "\ufffd.png"
    for path in write_files(made_up(asked), asked, tmp_path):
        assert "\ufffd" in Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("\ufeffcat, dog", ("cat", "dog")),  # a file that an editor began with a mark
        ("a\u202egnp.tac, dog", ("agnp.tac", "dog")),
        ("c\0at, cat", ("cat",)),
        ("\u202e, \u2066", ()),
        ("אבג\u200f, 👩\u200d🚀", ("אבג\u200f", "👩\u200d🚀")),  # these are needed to write words
    ],
)
def test_what_nobody_sees_is_no_part_of_a_label(text: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(text).labels == labels


def test_so_many_long_labels_would_fill_memory() -> None:
    long = [f"{i} ".ljust(1900, "😀") for i in range(1000)]
    with pytest.raises(LabelsError, match=r"have 1,900,000 characters together; at most 200,000 "):
        parse_labels(long)
    assert len(parse_labels(long[: MAX_CHARACTERS // 1900]).labels) == MAX_CHARACTERS // 1900


@pytest.mark.parametrize("unit", LONG)
def test_a_long_label_is_refused_soon(unit: str, picture: Path, tmp_path: Path) -> None:
    started = time.process_time()
    label = (unit * 2000)[:2000]
    assert try_question([label, "cat"], "{}", "x", picture, tmp_path).kind in (RIGHT, ERROR)
    assert time.process_time() - started < 3


@pytest.mark.parametrize("formula", ["＝1+2", "＋1", "－1", "＠x", "\n=1"])
def test_formulas_of_other_keyboards_are_made_harmless(formula: str) -> None:
    assert disarm(formula) == f"'{formula}"


@pytest.mark.parametrize(("phrase", "minus"), [("x" * 1_000_000, ""), ("cat", "y" * 301)])
def test_a_phrase_longer_than_its_field_is_refused(phrase: str, minus: str) -> None:
    nothing: Any = None
    with pytest.raises(QuestionError, match=r"^The phrase “.* characters: shorten it\.$"):
        search_album(nothing, nothing, nothing, phrase, minus, None)
