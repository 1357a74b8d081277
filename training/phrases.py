"""The words that the corpus of texts is filled with, and the grammar that joins them."""

from __future__ import annotations

import re

from .listed import listed

# Templates that name a thing and say little else: a text of one of these is taught what the thing
# is, whatever the wording.
NAMING = listed(
    """
    {}|a {}|the {}|a photo of a {}.|a photo of the {}.|a picture of a {}|an image of a {}
    |this is a {}|a photograph of a {}|one {}|my {}|a good photo of a {}.
    |a close-up photo of a {}.|a nice {}|a cropped photo of a {}.|a bright photo of a {}.
    |a photo of one {}.
    """
)
# Templates that say how it looks or where it is.
DESCRIBING = listed(
    """
    a drawing of a {}|a sketch of a {}|a painting of a {}|a cartoon {}
    |a photo of a small {}.|a photo of a large {}.|a blurry photo of a {}.
    |a black and white photo of a {}.|a toy {}|an illustration of a {}|clip art of a {}
    |an icon of a {}|a {} on a white background|a rendering of a {}|a {} outdoors
    |a {} indoors|an emoji of a {}|a logo with a {}|a silhouette of a {}
    |a low resolution photo of a {}.|a sculpture of a {}|a person with a {}|a plastic {}
    |a {} in the wild
    """
)
PLURAL = ["a photo of many {}.", "two {}", "a group of {}", "{}", "some {}", "a photo of {}."]
ADJECTIVES = listed(
    """
    red|blue|green|yellow|black|white|brown|gray|pink|purple|orange|golden|silver|big|small
    |tiny|huge|old|new|wooden|metal|plastic|glass|broken|dirty|clean|young|baby|wild|fluffy
    |striped|spotted|round|square|long|short|tall|wet|dry|open|closed|empty|full|fresh|ripe
    |cooked|cute|angry|happy|sad|sleeping|running|flying|colorful|modern|ancient|furry|shiny
    |dark|electric|leather|paper|stone|brick|sliced|folded
    """
)
PLACES = listed(
    """
    on a table|in the grass|on the beach|in the snow|in the water|in a forest|on the street
    |in a kitchen|at night|in the city|in the sky|in a field|on a tree|on a plate|in a box
    |in a garden|in a room|on a road|by the sea|in a cage|on the floor|in a bowl|at sunset
    |on a wall|in a zoo|on a farm|in the mountains|near a river|on a sofa
    """
)
ACTIONS = listed(
    """
    running|sleeping|eating|sitting|standing|jumping|flying|swimming|walking|playing
    |looking at the camera|lying down|riding a bicycle|holding a cup|playing a guitar
    |reading a book|driving a car|cooking|dancing|playing football|smiling|wearing a hat
    |climbing|working on a computer|drinking water
    """
)
ACTORS = listed(
    """
    man|woman|boy|girl|child|baby|person|dog|cat|horse|bird|monkey|bear|elephant|cow|sheep
    |couple|kid|player|chef|soldier|dancer|fish|tiger|lion|rabbit|duck|puppy|kitten|family
    |old man|old woman|crowd|group of people
    """
)
PAIRINGS = [
    "a {} and a {}",
    "{} and {}",
    "a {} on a {}",
    "a {} in a {}",
    "a {} next to a {}",
    "a {} with a {}",
    "a photo of a {} and a {}.",
]
# Kinds of pictures, and scenes: what else a person asks of a picture.
PICTURES = listed(
    """
    diagram|flow chart|flowchart|bar chart|bar graph|pie chart|line graph|line chart
    |scatter plot|graph|chart|plot|table|spreadsheet|screenshot|screenshot of a web page
    |document|text|word|screenshot of a computer program|page of text|scanned document
    |letter|receipt|invoice|form|handwritten note|newspaper|book page|map|road map
    |technical drawing|blueprint|schematic|circuit diagram|network diagram
    |organization chart|mind map|tree diagram|venn diagram|histogram|infographic|poster|logo
    |icon|sign|source code|terminal window|dialog window|slide|presentation slide|equation
    |mathematical formula|sheet music|barcode|QR code|calendar|menu|certificate|comic
    |cartoon|drawing|sketch|painting|photo|illustration|clip art|emoji
    |graph with nodes and arrows|diagram with boxes and arrows|boxes connected by arrows
    |circles connected by lines|logo of a company|user interface|web page|chat window|email
    |architecture diagram|class diagram|sequence diagram|heat map|box plot|pattern|texture
    |abstract art|landscape|portrait|selfie|sunset|beach|mountain|city|street|forest|party
    |wedding|concert|meeting|sports event|food|animal|vehicle|building|nature|person|people
    |furniture|plant|flower|tool|toy|clothes|kitchen|living room|bedroom|bathroom|office
    |classroom|night sky|rain|snow|fire|water|sky|clouds|plain background|solid color|noise
    |random pixels|tower|bus|smiling face|cartoon character|state diagram|decision tree
    |data structure|network
    """
)


def article(text: str) -> str:
    """`text` with "an" where "a" stands before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)


def plural(noun: str) -> str:
    """The regular plural of a noun's last word."""
    if re.search(r"([sxz]|[cs]h)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


def without_article(text: str) -> str:
    """A label without the article at its head."""
    return re.sub(r"^(an?|the) ", "", text)
