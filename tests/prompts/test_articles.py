from __future__ import annotations

import pytest

from prompts import indefinite_article

AN = """
apple; owl; éclair; "egg"; umbrella; urn; unusual bird; uninhabited island; unidentified object
hour; hourglass; honest face; heir; heirloom; honour
SUV; SUVs; MRI; X-ray; x-ray; MP3 player; LED; HDMI cable; F-16A/B; A4 page; M.D.; nth floor; Xbox
8-bit game; 80s car; 11; 18th; 1850 house; 11,000
"""
A = """
dog; horse; house; yacht; xylophone; sky; lynx; '“cat”'; HAT; DOG
unicorn; university; unit; one; one-way street; European roller; ukulele; user; utensil
ewe; ouija board
UFO; USB stick; U-turn; T-shirt; TV; St Bernard; NASA rocket; U.S. flag
707-320; 1; 180; 1,800
"""


def words(block: str) -> list[str]:
    return [word.strip() for line in block.strip().splitlines() for word in line.split(";")]


@pytest.mark.parametrize("text", words(AN))
def test_an(text: str) -> None:
    assert indefinite_article(text) == "an"


@pytest.mark.parametrize("text", words(A))
def test_a(text: str) -> None:
    assert indefinite_article(text) == "a"


@pytest.mark.parametrize("text", ["", " ", "?!", "\N{DOG FACE}", "犬", "_", "\u00bd", "\u037a"])
def test_text_without_latin_letters_gets_a(text: str) -> None:
    assert indefinite_article(text) == "a"
