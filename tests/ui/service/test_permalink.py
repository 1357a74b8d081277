"""A link says all that was asked, and nothing that no page could have written."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from ui.service.permalink import LONGEST_LINK, Restored, from_permalink, to_permalink
from ui.service.question import Question

MODELS, TABS = ["bundled", "RN50"], ["answer", "prompts"]


def question(template: str = "a photo of {a} {}.", framing: str | None = "pad") -> Question:
    labels = ("cat & dog", "50 % #1", "狗, 猫")
    return Question("/secret/x.jpg", "my x.jpg", labels, template, [["x"]], "RN50", framing)


def read(link: str) -> Restored:
    return from_permalink(dict(parse_qsl(urlsplit(link).query)), MODELS, TABS)


def test_there_and_back() -> None:
    link = to_permalink("https://example.org/clip", question(), "prompts", "cat.jpg")
    assert link.startswith("https://example.org/clip/?")
    assert read(link) == Restored(
        "cat & dog\n50 % #1\n狗, 猫", "custom", "a photo of {a} {}.", "RN50", "pad", "cat.jpg",
        "prompts",
    )  # fmt: skip
    plain = read(to_permalink("http://x", question("imagenet-7", None), "answer"))
    assert plain[1:6] == ("imagenet-7", None, "RN50", None, None)


def test_an_uploaded_picture_is_never_in_it() -> None:
    link = to_permalink("http://x", question(), "answer")
    assert "secret" not in link
    assert "x.jpg" not in link


def test_what_no_page_wrote_is_left_out() -> None:
    odd = {
        "labels": "", "template": "", "model": "/etc/passwd", "framing": "round",
        "example": "../../app.py", "tab": "admin", "else": "1",
    }  # fmt: skip
    assert from_permalink(odd, MODELS, TABS) == Restored(*[None] * 7)
    assert len(from_permalink({"labels": "x" * 10**6}, MODELS, TABS).labels or "") == LONGEST_LINK


def test_too_many_labels_for_a_link() -> None:
    many = Question("x", "x", tuple(f"label {i}" for i in range(1000)), "{}", [], "bundled")
    with pytest.raises(ValueError, match="too many labels for a link"):
        to_permalink("http://x", many, "answer")
