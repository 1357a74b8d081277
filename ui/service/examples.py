"""The example images of the page, and labels for each."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


# Ours, or openly licensed: examples/CREDITS.md names each. None that classifies people. The first
# label is the right one.
EXAMPLE_LABELS = {
    "cat.jpg": "cat\ndog\nrabbit\nfox\nteddy bear",
    "coffee.jpg": "cup of coffee\nbowl of soup\nplate\nbottle\nvase",
    "temple.jpg": "pagoda\nbridge\nlighthouse\nwaterfall\nboat",
    "horse.png": "horse\ndog\ncat\nbird\ncar",
    "chart.png": "bar chart\npie chart\nmap\ndiagram\ntable",
    "diagram.png": "diagram\nbar chart\nmap\nphoto\npage of text",
}

# The captions of the similarity matrix
EXAMPLE_CAPTIONS = {
    "cat.jpg": "a photo of a tabby cat.",
    "coffee.jpg": "a cup of coffee on a red saucer.",
    "horse.png": "the silhouette of a horse.",
    "chart.png": "a bar chart.",
    "temple.jpg": "a pagoda on a hill.",
}
