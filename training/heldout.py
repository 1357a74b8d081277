"""Pictures that training never sees: two collections of children's programs, named by their files.

Labels are read from file names (gcompris) and from the English line beside each stamp (tuxpaint).
Of each collection a fixed half is for choosing by and the other for reporting: see `half`.
"""

from __future__ import annotations

import io
import random
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from clip_core.evaluation.calibrate import half_of

from .listed import listed

GCOMPRIS_FOLDERS = (
    "erase/resource",
    "explore_farm_animals/resource/animals",
    "explore_world_animals/resource/animals",
    "categorization/resource/images/tools",
    "categorization/resource/images/renewable",
    "categorization/resource/images/others",
)
# File names that don't say what is seen, and what is; None where no one thing is.
GCOMPRIS_NAMES = {
    "teeth": None,
    "knife": "cutlery",
    "buffetset": "cup",
    "blackslate": "blackboard",
    "bulb": "light bulb",
    "erasers": "eraser",
    "weighingmachine": "weighing scale",
    "spoons": "spoon",
    "solar1": None,
    "solar2": None,
    "solar3": None,
    "geothermal": None,
    "sidecutter": "pliers",
    "cuttingtool": "pliers",
    "plier": "pliers",
    "solar": "solar panel",
    "windmill9": None,
    "windmill3": None,
    "measuringtape": "tape measure",
    "nailcutter": "nail clipper",
    "spray": "spray bottle",
    "tweezer": "tweezers",
    "pan": "frying pan",
    "chamaeleon": "chameleon",
    "camels": "camel",
    "meerkats": "meerkat",
    "spoonbills": "spoonbill",
    "swans": "swan",
    "long_nosed_monkey": "long-nosed monkey",
    "nubian_ibex": "ibex",
    "flying_fox": "bat",
    "dragon": "komodo dragon",
    "screwdriver3": None,
}
# Stamps that are drawings, flat symbols, or scenes with no one name.
STAMPS_LEFT_OUT = frozenset(
    ["symbols", "seasonal", "naturalforces", "space", "military", "town", "people"]
)


# Drawings of gcompris's vocabulary that show one thing, named as the thing is.
CARTOONS = listed(
    """
    apple|apricot|bear|bee|beetle|bird|bull|butterfly|camel|cat|chicken|coconut|cow|dog|dolphin
    |dragon|duck|fish|foot|fox|frog|giraffe|gorilla|hand|hedgehog|hippopotamus|horse|kangaroo|kiwi
    |lemon|lizard|mosquito|mouse|mouth|orange|owl|panda|pear|pig|plum|rabbit|raspberry|rhinoceros
    |shark|sheep|snail|snake|spider|strawberry|teeth|turkey|turtle|whale|wolf
    """
)


@dataclass(frozen=True)
class Picture:
    path: Path
    label: str


def unpack_gcompris(package: Path, folder: Path) -> Path:
    """The folder of gcompris's activities, its resource files' pictures written to `folder`."""
    if not folder.exists():
        for archive in sorted(package.rglob("*.rcc")):
            for name, data in read_rcc(archive.read_bytes()):
                if name.endswith(".webp"):
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
    return folder / "gcompris/src/activities"


def cartoons(root: Path) -> list[Picture]:
    """Drawings of animals, fruit and parts of the body; `root` as `unpack_gcompris` gives it."""
    folder = root / "lang/resource/words_sample"
    return [Picture(folder / f"{label}.webp", label) for label in CARTOONS]


def gcompris(root: Path) -> list[Picture]:
    """Photographs of animals and things; `root` as `unpack_gcompris` gives it."""
    found = []
    for folder in GCOMPRIS_FOLDERS:
        for path in sorted((root / folder).glob("*.webp")):
            stem = path.stem.lower()
            base = re.sub(r"\d+$", "", stem)
            known = GCOMPRIS_NAMES.get(stem, GCOMPRIS_NAMES.get(base, base.replace("_", " ")))
            if known:
                found.append(Picture(path, known))
    return found


def stamps(package: Path) -> list[Picture]:
    """Photographs cut out on transparent grounds, each with a line of text: "A samoyed."."""
    root = next(package.rglob("tuxpaint/stamps"))
    found = []
    for path in sorted(root.rglob("*.png")):
        relative, text = path.relative_to(root), path.with_suffix(".txt")
        if (
            "cartoon" in str(relative)
            or "_mirror" in path.name
            or relative.parts[0] in STAMPS_LEFT_OUT
            or not text.exists()
        ):
            continue
        line = text.read_text(encoding="utf-8").splitlines()[0].strip()
        match = re.fullmatch(r"(?:An?|Some|Two) ([A-Za-z \-“”]+)\.?", line)
        if match and len(match[1].split()) <= 4:
            label = re.sub("[“”]", "", match[1])
            label = re.sub(r"^(pair|bunch|head|string) of (closed |open )?", "", label)
            found.append(Picture(path, label))
    return found


def half(picture: Picture) -> str:
    """ "choose" or "report", by a checksum of the label: a label's pictures stay together."""
    return half_of(picture.label)


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in a Qt binary resource: path and content of each that is stored plain or deflated.

    Layout (Qt's rcc, format 1 to 3): a head of offsets, then a tree of fixed-size nodes, each a
    folder (first child and count) or a file (offset of its length and bytes); names are UTF-16.
    """
    if data[:4] != b"qres":
        raise ValueError("Not a Qt binary resource: it does not begin with 'qres'.")
    version, tree, contents, names = struct.unpack(">4I", data[4:20])
    size = 14 if version < 2 else 22

    def walk(node: int, path: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * size
        name_at, flags = struct.unpack(">IH", data[at : at + 6])
        if node:
            start = names + name_at
            (length,) = struct.unpack(">H", data[start : start + 2])
            name = data[start + 6 : start + 6 + 2 * length].decode("utf-16-be")
            path = f"{path}/{name}" if path else name
        if flags & 2:
            count, first = struct.unpack(">II", data[at + 6 : at + 14])
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & 4:  # 4: compressed with zstd, which no picture is
            (place,) = struct.unpack(">I", data[at + 10 : at + 14])
            start = contents + place
            (length,) = struct.unpack(">I", data[start : start + 4])
            raw = data[start + 4 : start + 4 + length]
            yield path, zlib.decompress(raw[4:]) if flags & 1 else raw

    yield from walk(0, "")


def graphviz_diagrams(words: list[str], count: int = 16, seed: int = 77) -> list[Image.Image]:
    """Diagrams drawn by graphviz, unknown to training. Raises FileNotFoundError without it."""
    r, found = random.Random(seed), []
    for _ in range(count):
        size = r.randint(4, 9)
        nodes, directed = r.sample(words, size), r.random() < 0.7
        shape = r.choice(["box", "ellipse", "circle", "record", "diamond"])
        style = ""
        if r.random() < 0.5:
            style = ",style=filled,fillcolor=" + r.choice(["lightblue", "lightyellow", "pink"])
        edges = "".join(
            f'"{nodes[r.randrange(i)]}"{"->" if directed else "--"}"{nodes[i]}";'
            for i in range(1, size)
        )
        source = (
            f"{'digraph' if directed else 'graph'} G {{rankdir={r.choice(['TB', 'LR'])};"
            f"node[shape={shape}{style}];{edges}}}"
        )
        engine = r.choice(["dot", "dot", "neato", "circo"])
        drawn = subprocess.run(
            [engine, "-Tpng"], input=source.encode(), capture_output=True, check=True
        )
        found.append(Image.open(io.BytesIO(drawn.stdout)).convert("RGB"))
    return found
