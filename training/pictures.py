"""Openly licensed pictures with names: clip art and emoji, laid on grounds of several colours."""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .diagrams import WHITE, Colour
from .listed import listed

# Folders of the collection whose own name says what every picture in them is.
TELLING = frozenset(
    listed(
        """
        animals|food|plants|people|tools|transportation|office|buildings|containers|recreation
        |electronics
        """
    )
)
# Folders of small symbols that look alike; a quarter of each is enough.
CROWDED = frozenset(["computer", "special", "logos", "buttons", "shapes", "unsorted"])
NOT_NAMES = frozenset(
    listed(
        """
        simple|party|ornamental|sm|white|bordered|africa|europe|asia|america|oceania|unsorted
        |misc|special|theme|icons
        """
    )
)
MOST_PER_NAME = 40
LARGEST = 2000  # pixels a side: some clip-art files are posters that take seconds to decode
EMOJI_BLOCKS = (range(0x2600, 0x27C0), range(0x2B00, 0x2B60), range(0x1F300, 0x1FAFF))
EMOJI_SIZE = 109  # the only size that Noto's bitmaps come in


def clip_art(folder: Path, known: set[str], r: random.Random) -> list[tuple[Path, list[str]]]:
    """The collection's pictures and what each may be called, read from its path.

    known: lower-case words that a name may be made of; most of a name's words must be.
    """
    found, per_folder = [], Counter[Path]()
    root = next(folder.rglob("openclipart/png"))
    paths = sorted(root.rglob("*.png"))
    r.shuffle(paths)
    for path in paths:
        parts = path.relative_to(root).parts
        limit = 50 if parts[0] in CROWDED else 150
        per_folder[path.parent] += 1
        if per_folder[path.parent] > limit:
            continue
        names = [name_of(path.stem, known)]
        if parts[0] in TELLING and len(parts) > 2:
            names.append(parts[-2].replace("_", " ").lower())
        names = [name for name in dict.fromkeys(names) if name and name not in NOT_NAMES]
        if names:
            found.append((path, names))
    times = Counter(names[0] for _, names in found)
    return [(path, names) for path, names in found if times[names[0]] <= MOST_PER_NAME]


def name_of(stem: str, known: set[str]) -> str:
    """A file's name as words: digits, short words and the artist at its end are left out.

    Empty when fewer than three in five of the words are known.
    """
    words = [word for word in re.split(r"[_\-\s.+\d]+", stem.lower()) if len(word) > 2]
    words = [word for word in words if word not in ("aiga", "gnome")]  # whose symbols they are
    while words and not _is_known(words[-1], known):  # artists sign at the end
        words.pop()
    share = sum(_is_known(word, known) for word in words) / max(len(words), 1)
    name = " ".join(words)
    return name if share >= 0.6 and len(name) < 45 else ""


def _is_known(word: str, known: set[str]) -> bool:
    return word in known or (word.endswith("s") and word[:-1] in known)


def emoji(folder: Path) -> list[tuple[Image.Image, str]]:
    """Every single-character emoji that the font draws, cut to its edges, and its name."""
    path = next(folder.rglob("NotoColorEmoji.ttf"))
    font = ImageFont.truetype(str(path), EMOJI_SIZE)
    found = []
    for code in (code for block in EMOJI_BLOCKS for code in block):
        name = emoji_name(chr(code))
        if not name:
            continue
        image = Image.new("RGBA", (136, 128))
        ImageDraw.Draw(image).text((0, 0), chr(code), font=font, embedded_color=True)
        box = image.getchannel("A").getbbox()
        if box and box[2] - box[0] >= 40:  # not a dingbat that the font has no colours for
            found.append((image.crop(box), name))
    return found


def emoji_name(character: str) -> str:
    """Unicode's name of a character as a person would say it; empty for what is no picture."""
    name = unicodedata.name(character, "").lower()
    if re.search("regional|modifier|squared|variation|dentistry", name):
        return ""
    name = re.sub(r"^(black|white|heavy) ", "", name)
    return re.sub(r"(?<=\w) (face|symbol|sign)$", "", name)


def views(
    image: Image.Image, count: int, r: random.Random, margin: tuple[float, float] = (1.0, 1.35)
) -> Iterator[Image.Image]:
    """`count` RGB squares of a picture: the first on white, others on other grounds or mirrored."""
    image = image.convert("RGBA")
    image.thumbnail((400, 400))
    for i in range(count):
        shown = image
        if i and r.random() < 0.5:
            shown = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        side = int(max(image.size) * r.uniform(*margin))
        ground: Colour = WHITE
        if i and r.random() < 0.6:
            ground = (r.randint(90, 255), r.randint(90, 255), r.randint(90, 255))
        square = Image.new("RGB", (side, side), ground)
        place = ((side - shown.size[0]) // 2, (side - shown.size[1]) // 2)
        square.paste(shown, place, shown)
        yield square
