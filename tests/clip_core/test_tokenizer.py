"""Tokens against open_clip's tokenizer, which keeps the published rule, and the edges around it.

transformers' tokenizer is no oracle here: it neither mends text nor resolves entities.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from clip_core.errors import TextTooLongError
from clip_core.tokenizer import clean, count_tokens, tokenize, tokenizer

START, END = 49406, 49407
PIECES = [
    *("a photo of a dog.", "The QUICK brown fox's", "don't we'll I'd they've you're I'm"),
    *("'S 'T",),
    *("\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f"),
    *("\U0001f1fa\U0001f1f8",),
    *("\u72ac\u306e\u5199\u771f", "\ud55c\uad6d\uc5b4"),
    *("\u0631\u062c\u0644 \u0648\u0643\u0644\u0628", "\u05e9\u05dc\u05d5\u05dd"),
    *("\u0915\u094d\u0937\u093f", "\u0e01\u0e33"),
    *("e\u0301\u0301\u0301", "Z\u0351\u036b\u0343a\u0322lgo", "\u0130stanbul", "\u1e9e\u00df"),
    *("\u01c5", "\ufb03", "\u03a3\u03c2\u03c3"),
    *("&amp;", "&amp;amp;lt;b&amp;gt;", "&lt;br&gt;", "&#128054;", "&#x1F436;", "&nbsp;"),
    *("&amp;eacute;",),
    *("\x00", "\x07\x1b[31m", "\x1c\x1d\x1e\x1f", "\x85", "\u2028\u2029", "\u200b\ufeff"),
    *("\u202e", "\t\r\n\x0b\x0c"),
    *("x" * 300, "\u00e9" * 300, "&#x1c;", "</w>", "\u0120", "_under_score_"),
    *("``''\u201cquoted\u201d",),
    *("l\u00c3\u00a9", "\u00e2\u20ac\u2122s", "\u00f0\u0178\u02dc\u20ac"),
    *("don\u00e2\u0080\u0099t", "\u951f\u65a4\u62f7"),
    *("\ud800", "\udfff lone", "1234567890", "3.14159", "\u00bd \u00b2 \u2167", "\u0663\u0664"),
    *("100%", "C++ #1 @you"),
    *("\uff26\uff35\uff2c\uff2c", "\ufffd", "\U0010ffff", "\ue000", "\u00ad", "\u3000", "--"),
    *("...", "!?!", "\\n", "{}", "%s"),
]


def awkward_lines(count: int) -> list[str]:
    chance = random.Random(0)
    lines = list(PIECES)
    while len(lines) < count:
        kind = chance.random()
        if kind < 0.75:
            pieces = chance.choices(PIECES, k=chance.randint(1, 6))
            lines.append(chance.choice(["", " ", "  "]).join(pieces))
        elif kind < 0.85:
            pieces = [piece[: chance.randint(1, 4)] for piece in chance.choices(PIECES, k=5)]
            lines.append("".join(pieces).title())
        else:
            points = (chance.choice([0x250, 0x3000, 0xD000, 0x20000]) for _ in range(12))
            lines.append("".join(chr(chance.randrange(limit)) for limit in points))
    return lines


@pytest.fixture(scope="module")
def oracle() -> Any:
    return pytest.importorskip("open_clip.tokenizer").SimpleTokenizer(clean="lower")


def test_awkward_lines_give_open_clips_tokens(
    oracle: Any,
) -> None:
    lines = awkward_lines(3000)
    assert len(set(lines)) > 2500
    for line in lines:
        tokens = tokenizer().encode(line)
        assert tokens == oracle.encode(line), ascii(line)
        assert tokenizer().decode(tokens) == oracle.decode(tokens), ascii(line)


@pytest.mark.parametrize(
    "line", ["{} a dog {}", "{}", "a{}dog", "A CAT {} and {} ", "{}{}", "{} &amp;amp; caf\u00e9 {}"]
)
def test_special_tokens_written_in_a_text_are_one_token(oracle: Any, line: str) -> None:
    ours = line.replace("{}", "<|startoftext|>", 1).replace("{}", "<|ENDOFTEXT|>")
    # open_clip spells the two otherwise than openai/CLIP does.
    theirs = line.replace("{}", "<start_of_text>", 1).replace("{}", "<END_OF_TEXT>")
    assert tokenizer().encode(ours) == oracle.encode(theirs)
    assert START in tokenizer().encode(ours)


def test_rows_are_open_clips(oracle: Any) -> None:
    lines = [line for line in awkward_lines(400) if count_tokens(line) <= 77]
    assert len(lines) > 100
    assert torch.equal(tokenize(lines).long(), oracle(lines).long())


def test_a_known_sentence() -> None:
    row = tokenize("a diagram")[0].tolist()
    assert row[:4] == [START, 320, 22697, END]
    assert row[4:] == [0] * 73


def test_one_text_is_one_row() -> None:
    assert torch.equal(tokenize("a dog"), tokenize(["a dog"]))
    assert tokenize("a dog").shape == (1, 77)
    assert tokenize(["a dog", "a cat", "a"]).shape == (3, 77)
    assert tokenize("a dog").dtype == torch.int32
    assert tokenize("a dog", context_length=5).shape == (1, 5)


def test_no_texts_are_no_rows() -> None:
    assert tokenize([]).shape == (0, 77)


@pytest.mark.parametrize("text", ["", "   ", "\u3000\n\t"])
def test_an_empty_text_is_start_and_end(text: str) -> None:
    assert tokenize(text)[0, :3].tolist() == [START, END, 0]
    assert count_tokens(text) == 2


def test_decode_gives_the_text_back() -> None:
    text = "a Photo of  two DOGS &amp; caf\u00e9 \U0001f600"
    assert tokenizer().decode(tokenizer().encode(text)) == clean(text) + " "
    assert clean(text) == "a photo of two dogs & caf\u00e9 \U0001f600"


def test_75_tokens_fit_and_76_do_not() -> None:
    assert tokenize("dog " * 75)[0, 76] == END
    with pytest.raises(TextTooLongError):
        tokenize("dog " * 76)


def test_a_text_too_long_is_named_with_its_count() -> None:
    text = "a very " * 50 + "long text"
    with pytest.raises(RuntimeError, match=r"'a very a very .* 77: it has 104 tokens") as caught:
        tokenize(["short", text])
    error = caught.value
    assert isinstance(error, TextTooLongError)
    assert (error.text, error.tokens, error.context_length) == (text, 104, 77)
    assert len(str(error)) < 500


def test_truncating_keeps_the_end_token() -> None:
    text = " ".join(str(i % 10) for i in range(100))
    row = tokenize(text, truncate=True)[0].tolist()
    assert row[0] == START
    assert row[1:76] == tokenizer().encode(text)[:75]
    assert row[76] == END
    assert tokenize(text, context_length=4, truncate=True)[0].tolist() == [*row[:3], END]
    assert torch.equal(tokenize("a dog", truncate=True), tokenize("a dog"))
