"""Texts made to do harm where labels, a template or a file's name are read."""

from __future__ import annotations

import random
from collections.abc import Iterator

ODD = {
    "control characters": [
        "\0",
        "\x07",
        "\x1b[31m",
        "\b",
        "\x7f",
        "\x85",
        "\x9b",
        "a\0b",
        "\r",
        "\v",
    ],
    "turned direction": [
        "\u202egnp.tac",
        "\u2066cat",
        "cat\u2069\u202e",
        "\u202dcat\u202c",
        "אבג\u200f",
    ],
    "lone surrogates": ["\ud800", "cat\udfff", "\udc80\ud800", "\ud83d x \ude00"],
    "marks and joiners": [
        "\ufeffcat",
        "c\u200bat",
        "👩\u200d🚀",
        "e\u0301" * 30,
        "Z" + "\u0315" * 300,
    ],
    "HTML": [
        *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</span></div><h1>cat"),
        *(
            '" onmouseover="alert(1)',
            "&lt;b&gt;",
            "&#0;",
            "&#xd800;",
            "<!--",
            "javascript:alert(1)",
        ),
    ],
    "format strings": [
        *("{0.__class__}", "{}", "{{}}", "{a}", "{a} {}", "%s%n", "%(x)s", "${7*7}", "{{7*7}}"),
        *("{0.__init__.__globals__}", "f'{1}'", "{:>9999999999}", "{!r}", "{" * 40, "}" * 40),
    ],
    "formulas": [
        *("=1+2", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")', "＝1+2", "'=1"),
        *("=cmd|' /C calc'!A0", "a\n=1", '",=1', ";=1"),
    ],
    "queries and paths": [
        "'; DROP TABLE x",
        "../../etc/passwd",
        "file:///etc/passwd",
        "C:\\nul",
        "$(id)",
    ],
    "special tokens": [
        "<|endoftext|>",
        "<|startoftext|><|endoftext|>",
        "Ġ",
        "</w>",
        "<|endoftext|>" * 90,
    ],
    "numbers": ["1e999", "NaN", "-0", "٣", "½", "8" * 1900, "1,000," * 200, "Ⅷ"],
}
LONG = (
    "x",
    "字",
    "𝔘",
    "é",
    "ab ",
    "&amp;",
    "{a}",
    "1",
    "\u0301",
    "<b>",
    "Exif",
    "=",
    "😀",
    "ﷺ",
    "\ud800",
)
MEGABYTE = 1 << 20


def texts(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """So many texts, the same for the same seed: what they hold, and the text."""
    for number in range(count):
        yield text(seed, number)


def text(seed: int, number: int) -> tuple[str, str]:
    """One of `texts`, by its number. The description's part before the colon is its kind."""
    rng = random.Random(f"text {seed} {number}")
    chance = rng.random()
    if chance < 0.03:
        return "megabyte lines", _long(rng, MEGABYTE)
    if chance < 0.08:
        return "long labels", _long(rng, rng.choice((300, 1999, 2000, 2001)))
    if chance < 0.11:
        return "many labels", _many(rng)
    if chance < 0.18:
        return "any characters", _any(rng)
    kind = rng.choice(list(ODD))
    labels = [_joined(rng, rng.choice(ODD[kind])) for _ in range(rng.randint(1, 6))]
    return kind, rng.choice("\n,;、\u2028").join([*labels, "a cat"])


def _joined(rng: random.Random, odd: str) -> str:
    """Odd text, alone, in words, or in what may be a template."""
    return rng.choice((odd, odd, f"a {odd} dog", f"{odd} {{}}", f"a photo of {{a}} {{}}{odd}"))


def _long(rng: random.Random, length: int) -> str:
    unit = rng.choice((*LONG, "".join(_character(rng) for _ in range(rng.choice((50, 2000))))))
    return (unit * (length // len(unit) + 1))[:length]


def _many(rng: random.Random) -> str:
    count, length = rng.choice(((999, 5), (1001, 5), (1000, 300), (60_000, 3), (150, 1990)))
    # Different ones, so that none folds away
    return "\n".join(f"{i} {rng.choice(LONG)}".ljust(length, "w") for i in range(count))


def _any(rng: random.Random) -> str:
    return "".join(_character(rng) for _ in range(rng.randrange(1, 200)))


def _character(rng: random.Random) -> str:
    return chr(rng.randrange(rng.choice((0x80, 0x300, 0x3000, 0x10000, 0x110000))))
