"""Diagrams drawn by the script, of three unlike sorts: flows, networks and trees."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Colour = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif-Bold.ttf",
)


class Sketchbook:
    """What every drawing needs: a source of chance, words to write and fonts to write them in."""

    def __init__(self, r: random.Random, words: list[str], fonts: Path) -> None:
        self.r, self.words = r, words
        self._folder = next(fonts.rglob(FONTS[0])).parent

    def font(self, size: int, name: str | None = None) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(str(self._folder / (name or self.r.choice(FONTS))), size)

    def word(self, longest: int = 10) -> str:
        return self.r.choice(self.words)[:longest]

    def colour(self, low: int = 0, high: int = 255) -> Colour:
        return self.r.randint(low, high), self.r.randint(low, high), self.r.randint(low, high)

    def page(self, sizes: list[tuple[int, int]], plain: float = 0.75) -> Image.Image:
        ground = WHITE if self.r.random() < plain else self.colour(205, 255)
        return Image.new("RGB", self.r.choice(sizes), ground)


def flow_chart(book: Sketchbook) -> Image.Image:
    """Boxes in rows, each with an arrow to the next."""
    r = book.r
    image = book.page([(400, 300), (300, 400), (360, 360), (480, 270), (600, 300)])
    draw = ImageDraw.Draw(image)
    (width, height), count, columns = image.size, r.randint(3, 8), r.choice([1, 2, 3])
    rows = math.ceil(count / columns)
    ink = BLACK if r.random() < 0.6 else book.colour(0, 120)
    line, fill = r.randint(1, 4), None if r.random() < 0.4 else book.colour(170, 255)
    half_w = min(width / columns * 0.62, 140) / 2
    half_h = min(height / rows * 0.5, 70) / 2
    middles = [
        ((i % columns + 0.5) * width / columns, (i // columns + 0.5) * height / rows)
        for i in range(count)
    ]
    for i in range(count - 1):
        to = middles[i + 1] if r.random() < 0.8 else r.choice(middles)
        _arrow(draw, middles[i], to, (half_w, half_h), ink, line, head=r.random() < 0.9)
    size = r.randint(10, 18)
    for middle in middles:
        _node(draw, r.choice("bbbeod"), middle, (half_w, half_h), fill, ink, line)
        if r.random() < 0.85:
            draw.text(middle, book.word(), fill=ink, font=book.font(size), anchor="mm")
    return image


def network(book: Sketchbook) -> Image.Image:
    """Nodes strewn over the page or set on a ring, joined by straight or bent lines."""
    r = book.r
    image = book.page([(320, 320), (420, 320), (300, 380), (500, 400)], plain=0.85)
    draw = ImageDraw.Draw(image)
    (width, height), count = image.size, r.randint(4, 10)
    if r.random() < 0.4:
        turns = [2 * math.pi * i / count for i in range(count)]
        places = [
            (width * (0.5 + 0.38 * math.cos(t)), height * (0.5 + 0.38 * math.sin(t))) for t in turns
        ]
    else:
        places = _strewn(r, count, width, height)
    kind = r.choice("eeeb")
    half_w, half_h = r.randint(14, 38), r.randint(11, 20)
    if r.random() < 0.35:
        half_w = half_h = r.randint(10, 20)
    ink = BLACK if r.random() < 0.75 else book.colour(0, 110)
    line, directed = r.choice([1, 1, 2, 3]), r.random() < 0.55
    ties = [(r.randrange(i), i) for i in range(1, count)]
    ties += [(r.randrange(count), r.randrange(count)) for _ in range(r.randint(0, count // 2))]
    bend = r.choice([0.0, 0.0, 0.15, 0.25])
    for a, b in ties:
        if a != b:
            reach = (half_w, half_h)
            _arrow(draw, places[a], places[b], reach, ink, line, directed, bend)
    fill = None if r.random() < 0.5 else book.colour(150, 255)
    font, lettered = book.font(r.randint(9, 14)), r.random()
    for i, place in enumerate(places):
        _node(draw, kind, place, (half_w, half_h), fill, ink, line)
        text = str(i + 1) if lettered < 0.25 else chr(65 + i) if lettered < 0.4 else book.word(8)
        draw.text(place, text, fill=ink, font=font, anchor="mm")
    return image


def tree(book: Sketchbook) -> Image.Image:
    """A root and its branches, in levels from above or from the left, as an organisation chart."""
    r = book.r
    levels = [1]
    for _ in range(r.randint(1, 3)):
        levels.append(min(levels[-1] + r.randint(1, 3), 6))
    sideways = r.random() < 0.35
    image = book.page([(420, 300), (360, 360), (520, 300), (280, 400)], plain=0.85)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    along, across = (width, height) if sideways else (height, width)
    places: list[list[Point]] = []
    for level, count in enumerate(levels):
        depth = (level + 0.5) * along / len(levels)
        spots = [(i + 0.5) * across / count for i in range(count)]
        places.append([(depth, spot) if sideways else (spot, depth) for spot in spots])
    reach = (min(across / max(levels) * 0.42, 50.0), min(along / len(levels) * 0.25, 20.0))
    if sideways:
        reach = (min(along / len(levels) * 0.36, 50.0), min(across / max(levels) * 0.35, 18.0))
    ink, line = BLACK if r.random() < 0.75 else book.colour(0, 110), r.choice([1, 1, 2])
    fill = None if r.random() < 0.5 else book.colour(160, 255)
    kind, cornered, head = r.choice("bboe"), r.random() < 0.4, r.random() < 0.4
    for above, below in pairwise(places):
        for i, place in enumerate(below):
            start = above[i * len(above) // len(below)]
            if cornered and not sideways:
                middle = (start[1] + place[1]) / 2
                corners = [start, (start[0], middle), (place[0], middle), place]
                draw.line(corners, fill=ink, width=line)
            else:
                _arrow(draw, start, place, reach, ink, line, head)
    font = book.font(r.randint(9, 13))
    for place in (place for level in places for place in level):
        _node(draw, kind, place, reach, fill or image.getpixel((0, 0)), ink, line)
        draw.text(place, book.word(int(reach[0] / 3.5)), fill=ink, font=font, anchor="mm")
    return image


def _strewn(r: random.Random, count: int, width: int, height: int) -> list[Point]:
    """Places that keep their distance: each the best of a dozen tries."""
    places: list[Point] = []
    for _ in range(count):
        tries = [(r.uniform(45, width - 45), r.uniform(25, height - 25)) for _ in range(12)]
        places.append(max(tries, key=lambda p: min((math.dist(p, q) for q in places), default=0)))
    return places


def _node(
    draw: ImageDraw.ImageDraw,
    kind: str,
    middle: Point,
    reach: tuple[float, float],
    fill: Colour | float | tuple[int, ...] | None,
    ink: Colour,
    line: int,
) -> None:
    (x, y), (w, h) = middle, reach
    box = (x - w, y - h, x + w, y + h)
    shape: dict = {"fill": fill or WHITE, "outline": ink, "width": line}
    if kind == "b":
        draw.rectangle(box, **shape)
    elif kind == "o":
        draw.rounded_rectangle(box, 8, **shape)
    elif kind == "e":
        draw.ellipse(box, **shape)
    else:
        draw.polygon([(x, y - h), (x + w, y), (x, y + h), (x - w, y)], **shape)


def _arrow(
    draw: ImageDraw.ImageDraw,
    start: Point,
    end: Point,
    reach: tuple[float, float],
    ink: Colour,
    line: int,
    head: bool,
    bend: float = 0.0,
) -> None:
    """A line between two nodes, from edge to edge; `bend` is how far it bulges for its length."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    # where the line leaves the node's box
    inside = min(reach[0] / (abs(dx) + 1e-9), reach[1] / (abs(dy) + 1e-9))
    if inside > 0.48:
        return
    points = []
    for i in range(13):
        t = inside + (1 - 2 * inside) * i / 12
        bulge = 4 * bend * (i / 12) * (1 - i / 12)
        points.append((start[0] + dx * t - dy * bulge, start[1] + dy * t + dx * bulge))
    draw.line(points, fill=ink, width=line)
    if head and length:
        tip, before = points[-1], points[-3]
        turn = math.atan2(tip[1] - before[1], tip[0] - before[0])
        size = 6 + 2 * line
        wings = [
            (tip[0] - size * math.cos(turn + side), tip[1] - size * math.sin(turn + side))
            for side in (-0.45, 0.45)
        ]
        draw.polygon([tip, *wings], fill=ink)
