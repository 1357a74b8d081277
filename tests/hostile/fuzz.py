"""`python -m tests.hostile.fuzz --minutes 10`: looks for pictures that bring the opener down.

Atheris (`pip install atheris`) keeps those that reach new lines of Pillow and of `clip_core`, and
goes on from them. It ends with status 0 when nothing was found, else with the file that did it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "pillow_heif", "clip_core"]):
    from clip_core import preprocess
    from tests.hostile.crafted import CRAFTED, png_chunk
    from tests.hostile.pictures import picture, png_chunks, sound_files
    from tests.hostile.verdicts import FAILURE, in_silence, try_picture

LONGEST_CRAFTED = 20_000  # bytes of those that the search begins with
BEGINNINGS = 300
MOST_PIXELS = 250_000  # larger ones would take the time that thousands of small ones take


def try_one(data: bytes) -> None:
    """One input of the search."""
    verdict = in_silence(try_picture, data)
    if verdict.kind == FAILURE:
        raise AssertionError(verdict.words)


def change(data: bytes, longest: int, seed: int) -> bytes:
    """A changed input; the checksums of a PNG's chunks are right again, else few would be read."""
    data = atheris.Mutate(data, longest)
    parts = png_chunks(data)
    if seed % 4 == 0 or not parts:
        return data
    mended = [png_chunk(part[4:8], part[8:-4]) for part in parts[1:] if len(part) >= 12]
    return b"".join([parts[0], *mended])[:longest]


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    preprocess.MAX_PIXELS = MOST_PIXELS
    corpus = Path(tempfile.mkdtemp(prefix="hostile-pictures-"))
    made = (picture(chosen.seed, number) for number in range(BEGINNINGS))
    crafted = [each for each in made if each[0].partition(":")[0] in CRAFTED]
    for number, (_, data) in enumerate([*sound_files(), *crafted]):
        if len(data) <= LONGEST_CRAFTED:
            (corpus / f"{number}").write_bytes(data)
    settings = {
        "max_total_time": round(60 * chosen.minutes),
        "max_len": LONGEST_CRAFTED,
        "timeout": 10,  # seconds for one input
        "rss_limit_mb": 4096,
        "seed": chosen.seed,
        "artifact_prefix": f"{corpus}/found-",
    }
    flags = [f"-{name}={value}" for name, value in settings.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], try_one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
