from __future__ import annotations

import time

import pytest

from ui.service.labels import MAX_LABEL_CHARACTERS, LabelsError, parse_labels
from ui.service.limits import LIMITS


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog", ("cat", "dog")),
        ("cat\r\ndog\rfox", ("cat", "dog", "fox")),
        ("cat, dog,fox", ("cat", "dog", "fox")),
        ("cat; dog;fox", ("cat", "dog", "fox")),
        # a semicolon is the stronger separator, a line the strongest
        ("a cat, asleep; a dog", ("a cat, asleep", "a dog")),
        ("a cat, asleep\na dog; awake", ("a cat, asleep", "a dog; awake")),
        ("猫，狗，鸟", ("猫", "狗", "鸟")),
        ("猫、狗", ("猫", "狗")),
        ("猫；狗，鸟", ("猫", "狗，鸟")),
        # blank lines and parts; a single line among blank ones is still split
        ("\n\n  cat \n\n\tdog  \n", ("cat", "dog")),
        ("\n cat, dog \n\n", ("cat", "dog")),
        (",cat,, ,dog,", ("cat", "dog")),
        ("cat", ("cat",)),
        (" \n ,;\n", (",",)),
        (",, ,", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_how_a_text_is_split(text: str | None, labels: tuple[str, ...]) -> None:
    assert parse_labels(text).labels == labels


def test_a_list_is_taken_item_by_item() -> None:
    parsed = parse_labels(["a cat, asleep", " a;b ", "", "two\nlines", "two lines"])
    assert parsed.labels == ("a cat, asleep", "a;b", "two lines")
    assert parsed.repeated == 1


def test_repeats_by_case_and_space_keep_the_first_spelling() -> None:
    parsed = parse_labels("New  York\ncat\nnew york\nCAT\nNEW\tYORK\nstraße\nSTRASSE")
    assert parsed.labels == ("New York", "cat", "straße")
    assert parsed.repeated == 4


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "No labels yet: type at least two."),
        ("cat, dog", "2 labels."),
        ("cat, Cat, dog", "2 labels; 1 repeated left out."),
        (
            "cat",
            "1 label. One label alone always gets 100 %: add another to compare it with.",
        ),
        ("\n".join(f"label {i}" for i in range(1000)), "1,000 labels."),
    ],
)
def test_note_says_what_was_understood(text: str, note: str) -> None:
    assert parse_labels(text).note() == note


def test_a_thousand_labels_and_no_more() -> None:
    assert LIMITS.labels == 1000
    thousand = "\n".join(f"label {i}" for i in range(1000))
    assert len(parse_labels(thousand).labels) == 1000
    # repetitions don't count against the limit
    assert len(parse_labels(f"{thousand}\nLABEL 1").labels) == 1000
    with pytest.raises(LabelsError, match=r"^These are 1,001 labels; at most 1,000 can be "):
        parse_labels(f"{thousand}\none more")


def test_a_label_far_too_long_is_named_by_its_beginning() -> None:
    assert parse_labels(["x" * MAX_LABEL_CHARACTERS, "cat"]).labels[1] == "cat"
    with pytest.raises(LabelsError) as caught:
        parse_labels(["cat", "dog " * 501])
    message = str(caught.value)
    assert message.startswith("The label “dog dog ")
    assert "2,003 characters" in message
    assert len(message) < 150


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "{} {a} {0} %s",
        "'; DROP TABLE labels",
        "=HYPERLINK(1)",
        "👩\u200d🚀",
        "<|endoftext|>",
        "a cat\u200f",
    ],
)
def test_hostile_text_stays_literal(text: str) -> None:
    assert parse_labels([text, "cat"]).labels == (text, "cat")


def test_a_huge_paste_is_refused_quickly() -> None:
    started = time.process_time()
    with pytest.raises(LabelsError):
        parse_labels("a," * 2_000_000 + "b" * 1_000_000)
    assert time.process_time() - started < 10
