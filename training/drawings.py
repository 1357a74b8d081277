"""Pictures drawn by the script: diagrams, charts, documents, screens, shapes and nothing much."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .diagrams import BLACK, WHITE, Sketchbook, flow_chart, network, tree
from .listed import listed

COLOURS = {
    "red": (220, 30, 30),
    "blue": (40, 60, 210),
    "green": (30, 150, 50),
    "yellow": (240, 220, 40),
    "black": (0, 0, 0),
    "orange": (245, 140, 20),
    "purple": (130, 40, 160),
}
SHAPES = ("circle", "square", "triangle", "star", "rectangle", "cross")
STYLES = ("default", "ggplot", "bmh", "seaborn-v0_8", "grayscale", "fivethirtyeight")
CODE = listed(
    """
    if|for|def|return|=|(|)|self.|import|:|{|}|int|x|y|while|class|;
    """
)


def drawings(
    seed: int, per_kind: int, words: list[str], fonts: Path
) -> Iterator[tuple[Image.Image, list[str]]]:
    """Pictures and what each may be called, best first; `per_kind` of each, more of diagrams."""
    book = Sketchbook(random.Random(seed), words, fonts)
    diagram = ["a diagram", "a diagram with boxes and arrows", "a chart with boxes and arrows"]
    kinds: list[tuple[Callable[[Sketchbook], Image.Image], list[str], float]] = [
        (flow_chart, [*diagram, "a flow chart", "a flowchart", "boxes connected by arrows"], 2.0),
        (network, ["a diagram", "a network diagram", "a graph with nodes and arrows"], 2.0),
        (tree, ["a diagram", "a tree diagram", "an organization chart"], 1.5),
        (page, ["a document", "a page of text", "text", "a printed page"], 1.5),
        (code, ["source code", "a screenshot of source code", "computer code"], 1.0),
        (word, ["text", "a word", "a text logo"], 0.7),
        (screen, ["a screenshot", "a user interface", "a web page", "a computer program"], 1.5),
        (table, ["a table of numbers", "a spreadsheet", "a table"], 0.8),
        (blank, ["a plain background", "a blank picture", "a solid color"], 0.5),
        (noise, ["noise", "random pixels", "an abstract pattern"], 0.5),
        (bar_chart, ["a bar chart", "a bar graph", "a chart"], 0.8),
        (pie_chart, ["a pie chart", "a chart"], 0.8),
        (line_graph, ["a line graph", "a line chart", "a plot", "a graph"], 0.8),
        (scatter_plot, ["a scatter plot", "a plot", "a graph"], 0.8),
        (histogram, ["a histogram", "a chart"], 0.8),
        (heat_map, ["a heat map", "a colored grid"], 0.8),
    ]
    for draw, names, share in kinds:
        for _ in range(int(per_kind * share)):
            yield draw(book), names
    for _ in range(int(per_kind * 1.2)):
        yield shape(book)


def page(book: Sketchbook) -> Image.Image:
    r = book.r
    image = book.page([(300, 400), (420, 560), (400, 300)])
    draw, (width, height) = ImageDraw.Draw(image), image.size
    size, margin, y = r.randint(9, 16), r.randint(12, 40), r.randint(10, 40)
    font = book.font(size)
    if r.random() < 0.7:
        heading = " ".join(book.word() for _ in range(3))
        draw.text((margin, y), heading, font=book.font(size + 8), fill=BLACK)
        y += size + 22
    while y < height - size - 10:
        line = ""
        while draw.textlength(line, font=font) < width - 2 * margin - size * 5:
            line += book.word() + " "
        if r.random() > 0.12:
            end = r.randint(len(line) // 2, len(line)) if r.random() < 0.2 else len(line)
            draw.text((margin, y), line[:end], font=font, fill=(20, 20, 20))
        y += int(size * 1.35)
    return image


def code(book: Sketchbook) -> Image.Image:
    r = book.r
    ground = r.choice([(30, 30, 30), WHITE, (40, 42, 54)])
    image = Image.new("RGB", r.choice([(300, 400), (420, 560), (400, 300)]), ground)
    draw, size = ImageDraw.Draw(image), r.randint(9, 16)
    font, y = book.font(size, "DejaVuSansMono.ttf"), r.randint(10, 30)
    dark, light = [(220, 120, 120), (120, 180, 220), (150, 200, 120)], [(0, 0, 180), (160, 0, 0)]
    while y < image.size[1] - size:
        x = 15 + r.choice([0, 1, 1, 2, 2, 3]) * size * 2.0
        for _ in range(r.randint(1, 4)):
            token = r.choice(CODE) + book.word(7).replace(" ", "_") + " "
            ink = r.choice(light if ground == WHITE else dark)
            draw.text((x, y), token, font=font, fill=ink)
            x += draw.textlength(token, font=font)
        y += int(size * 1.4)
    return image


def word(book: Sketchbook) -> Image.Image:
    image = book.page([(300, 200), (300, 300), (400, 150)], plain=0.3)
    width, height = image.size
    text = book.word(12)
    font, ink = book.font(min(60, int(1.5 * width / len(text)))), book.colour(0, 120)
    ImageDraw.Draw(image).text((width / 2, height / 2), text, font=font, fill=ink, anchor="mm")
    return image


def screen(book: Sketchbook) -> Image.Image:
    """A window with a title bar, perhaps a side bar, and rows of controls and text."""
    r, dark = book.r, book.r.random() < 0.3
    ground, ink = ((35, 35, 40), (220, 220, 220)) if dark else ((245, 245, 247), (30, 30, 30))
    image = Image.new("RGB", r.choice([(480, 300), (480, 360), (400, 300)]), ground)
    draw, (width, height) = ImageDraw.Draw(image), image.size
    draw.rectangle((0, 0, width, 22), fill=(60, 60, 70) if dark else (215, 215, 220))
    for i, colour in enumerate([(255, 95, 86), (255, 189, 46), (39, 201, 63)]):
        draw.ellipse((8 + i * 14, 7, 16 + i * 14, 15), fill=colour)
    draw.text((60, 5), book.word(), font=book.font(10), fill=ink)
    if r.random() < 0.6:
        draw.rectangle((0, 22, 90, height), fill=(50, 50, 58) if dark else (230, 232, 236))
        for y in range(34, height - 10, 20):
            draw.text((8, y), book.word(11), font=book.font(9), fill=ink)
    x, y = 100, 34
    while y < height - 20:
        chance = r.random()
        if chance < 0.2:
            draw.rounded_rectangle((x, y, x + 70, y + 18), 4, fill=book.colour(60, 200))
            draw.text((x + 6, y + 4), book.word(8), font=book.font(9), fill=WHITE)
            y += 26
        elif chance < 0.4:
            draw.rectangle((x, y, width - 20, y + 18), outline=(150, 150, 150))
            y += 26
        elif chance < 0.5:
            draw.rectangle((x, y, x + 80, y + 45), fill=book.colour(80, 220))
            y += 52
        else:
            draw.text((x, y), " ".join(book.word() for _ in range(5)), font=book.font(10), fill=ink)
            y += 16
    return image


def table(book: Sketchbook) -> Image.Image:
    r, image = book.r, Image.new("RGB", (400, 300), WHITE)
    draw, columns, rows, font = ImageDraw.Draw(image), r.randint(3, 6), r.randint(5, 12), None
    font, wide, high = book.font(10), 380 / columns, 280 / rows
    for i in range(rows + 1):
        draw.line((10, 10 + i * high, 390, 10 + i * high), fill=(120, 120, 120))
    for j in range(columns + 1):
        draw.line((10 + j * wide, 10, 10 + j * wide, 290), fill=(120, 120, 120))
    for i in range(rows):
        for j in range(columns):
            text = str(r.randint(0, 9999)) if i and j else book.word(8)
            draw.text((14 + j * wide, 14 + i * high), text, font=font, fill=BLACK)
    return image


def blank(book: Sketchbook) -> Image.Image:
    a, b = np.array(book.colour()), np.array(book.colour())
    if book.r.random() < 0.5:
        b = a
    ramp = np.linspace(0, 1, 260)[:, None, None]
    return Image.fromarray(np.broadcast_to(a + (b - a) * ramp, (260, 260, 3)).astype(np.uint8))


def noise(book: Sketchbook) -> Image.Image:
    size = book.r.choice([8, 32, 130, 260])
    pixels = np.frombuffer(book.r.randbytes(size * size * 3), np.uint8).reshape(size, size, 3)
    how = book.r.choice([Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
    return Image.fromarray(pixels).resize((260, 260), how)


def shape(book: Sketchbook) -> tuple[Image.Image, list[str]]:
    r, image = book.r, book.page([(260, 260)], plain=0.5)
    draw, (name, ink), kind = ImageDraw.Draw(image), r.choice(list(COLOURS.items())), ""
    kind, x, y, s = r.choice(SHAPES), r.randint(90, 170), r.randint(90, 170), r.randint(40, 85)
    if kind == "circle":
        draw.ellipse((x - s, y - s, x + s, y + s), fill=ink)
    elif kind in ("square", "rectangle"):
        h = s if kind == "square" else s // 2
        draw.rectangle((x - s, y - h, x + s, y + h), fill=ink)
    elif kind == "triangle":
        draw.polygon([(x, y - s), (x - s, y + s), (x + s, y + s)], fill=ink)
    elif kind == "cross":
        draw.rectangle((x - s, y - s // 4, x + s, y + s // 4), fill=ink)
        draw.rectangle((x - s // 4, y - s, x + s // 4, y + s), fill=ink)
    else:
        rays = [(s if i % 2 == 0 else 0.42 * s, i * math.pi / 5) for i in range(10)]
        draw.polygon([(x + d * math.sin(t), y - d * math.cos(t)) for d, t in rays], fill=ink)
    return image, [f"a {name} {kind}", f"a {kind}"]


def bar_chart(book: Sketchbook) -> Image.Image:
    return _plot(book, "bar")


def pie_chart(book: Sketchbook) -> Image.Image:
    return _plot(book, "pie")


def line_graph(book: Sketchbook) -> Image.Image:
    return _plot(book, "line")


def scatter_plot(book: Sketchbook) -> Image.Image:
    return _plot(book, "scatter")


def histogram(book: Sketchbook) -> Image.Image:
    return _plot(book, "histogram")


def heat_map(book: Sketchbook) -> Image.Image:
    return _plot(book, "heat map")


def _plot(book: Sketchbook, kind: str) -> Image.Image:
    import matplotlib as mpl  # noqa: PLC0415  slow to import
    import matplotlib.pyplot as plt  # noqa: PLC0415

    mpl.use("Agg")
    r, g = book.r, np.random.default_rng(book.r.randrange(2**32))
    with plt.style.context(r.choice(STYLES) if r.random() < 0.6 else "default"):
        figure, ax = plt.subplots(figsize=r.choice([(4, 3), (3.5, 3.5), (5, 3)]), dpi=80)
        count = int(g.integers(3, 9))
        if kind == "bar":
            colours = list(g.random((count, 3))) if r.random() < 0.5 else None
            draw = ax.bar if r.random() < 0.7 else ax.barh
            draw([f"{i} {book.word(7)}" for i in range(count)], g.random(count), color=colours)
        elif kind == "pie":
            labels = [book.word(8) for _ in range(count)] if r.random() < 0.7 else None
            ring = {"width": 0.4} if r.random() < 0.2 else None
            ax.pie(g.random(count) + 0.1, labels=labels, wedgeprops=ring)
        elif kind == "line":
            for _ in range(int(g.integers(1, 5))):
                ax.plot(g.normal(size=40).cumsum(), lw=g.uniform(1, 3), label=book.word(8))
            if r.random() < 0.5:
                ax.legend()
            ax.grid(r.random() < 0.5)
        elif kind == "scatter":
            shade = g.random(60) if r.random() < 0.5 else None
            ax.scatter(g.normal(size=60), g.normal(size=60), c=shade)
        elif kind == "histogram":
            ax.hist(g.normal(size=400), bins=int(g.integers(8, 30)))
        else:
            ax.imshow(g.random((8, 8)), cmap=r.choice(["viridis", "hot", "Blues", "coolwarm"]))
        if r.random() < 0.7:
            ax.set_title(f"{book.word()} {book.word()}")
            if kind != "pie":
                ax.set_xlabel(book.word())
                ax.set_ylabel(book.word())
        data = io.BytesIO()
        figure.savefig(data, format="png", bbox_inches="tight")
        plt.close(figure)
    return Image.open(data).convert("RGB")
