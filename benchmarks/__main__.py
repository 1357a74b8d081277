"""Ours beside its peers, in one run: python -m benchmarks [--quick]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clip_core.inference.malloc import keep_freed_memory

from .curves import curves
from .page import sentences
from .report import Results, read, write
from .towers import rows

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures this project beside the reference, open_clip, transformers and ONNX "
        "Runtime, as far as they are installed (benchmarks/requirements.txt). Answers must agree "
        "before anything is timed.",
    )
    parser.add_argument("--quick", action="store_true", help="under 3 minutes: fewer rounds, less")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="the Markdown; JSON and a plot go beside it"
    )
    parser.add_argument(
        "--curves", action="store_true", help="only the curves, put with the results that are there"
    )
    options = parser.parse_args()
    keep_freed_memory()  # as the page and the commands do; here the peers have it too
    if options.curves:
        results = read(options.out)
        results.curves, results.curves_apart = [], True
        measure_curves(results, options.out)
        return
    results = Results(options.quick)
    for row in rows(options.quick):
        results.rows.append(row)
        write(results, options.out)  # what is there stays if the rest is interrupted
    for sentence in sentences(options.quick):
        print(sentence, file=sys.stderr, flush=True)
        results.said.append(sentence)
        write(results, options.out)
    measure_curves(results, options.out)


def measure_curves(results: Results, out: Path) -> None:
    """Adds how things grow to the results, and writes them."""
    for curve in curves(results.quick):
        results.curves.append(curve)
        write(results, out)


if __name__ == "__main__":
    main()
