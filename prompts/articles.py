"""The English indefinite article: "a" or "an", by the sound that the next word starts with."""

from __future__ import annotations

import re
import unicodedata

# Letters whose names start with a vowel sound: an F, an X-ray, an MP3.
_VOWEL_SOUNDING_LETTERS = frozenset("aefhilmnorsx")

# Spelled out letter by letter although they could be read as words.
_INITIALISM = re.compile(
    r"(?:fbi|hdmi|hiv|led|mba|mit|mri|nba|nyc|raf|sos|suv|uae|uhf|uk|un|usa|usb|uv)$"
)

# Abbreviations without a vowel that are read as the whole word: a St Bernard.
_ABBREVIATIONS = frozenset(["dr", "ft", "jr", "mr", "mrs", "ms", "mt", "sr", "st"])

# A vowel letter with a consonant sound: European, unicorn (but uninhabited), ukulele, one-piece.
_CONSONANT_SOUND = re.compile(
    r"eu|ewe|on(?:e|es|ce|eself)$|oui|oaxaca|ua|unesco|unanim|ufo"
    r"|uni(?!n|mp|mm|dent|ss|r|ll)|u[bcgjkqrst][aeiou]|ukr|uv[ue]|ulysses"
)
# A consonant letter with a vowel sound: hour, honest, heir, nth, Xbox.
_VOWEL_SOUND = re.compile(r"hour|honou?r|honest|heir|hors$|nth$|xbox|uzi|udon|ukiyo")

# Numbers read as eight..., eleven... or eighteen...: 8, 80s, 11, 18th, 1800, 11,000.
_VOWEL_SOUND_NUMBER = re.compile(r"8|1[18](?:\d\d|(?:,?\d{3})*)(?!\d)")


def indefinite_article(following: str) -> str:
    """The article for the text that follows: an hour, a unicorn, an SUV, an 8-bit game.

    Quotation marks and other punctuation before the first word are passed over; a text without
    any letter or digit gets "a".
    """
    first = re.search(r"[^\W_]", following)
    if first is None:
        return "a"
    rest = following[first.start() :]
    if rest[0].isdigit():
        return "an" if _VOWEL_SOUND_NUMBER.match(rest) else "a"

    # Without the accents, so that "éclair" starts with an e.
    letters = unicodedata.normalize("NFKD", rest)
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    match = re.match(r"[^\W\d_]+", letters)
    word = match.group() if match else rest[0]
    if word[:-1].isupper() and word.endswith("s"):
        word = word[:-1]  # SUVs
    return "an" if _starts_with_vowel_sound(word.lower()) else "a"


def _starts_with_vowel_sound(word: str) -> bool:
    """`word` in lower case, letters alone."""
    if _VOWEL_SOUND.match(word):
        return True
    no_vowels = word.isascii() and not set(word) & set("aeiouy")
    spelled_out = len(word) == 1 or no_vowels or _INITIALISM.match(word)
    if spelled_out and word not in _ABBREVIATIONS:
        return word[0] in _VOWEL_SOUNDING_LETTERS
    return word[0] in "aeiou" and not _CONSONANT_SOUND.match(word)
