"""`python -m tests.hostile`: thousands of hostile pictures and texts; a table of how it went."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict

from tests.hostile.verdicts import ERROR, FAILURE, RIGHT
from tests.hostile.watch import PICTURES, TEXTS, Outcome, watch

SHARE_OF_PICTURES = 0.7
REPORT_EVERY = 500


def main() -> int:
    """Runs, prints, and returns the exit status: 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="pictures and texts together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so many, all done or not")
    parser.add_argument("--only", choices=[PICTURES, TEXTS])
    chosen = parser.parse_args()
    counts = {PICTURES: round(chosen.count * SHARE_OF_PICTURES)}
    counts[TEXTS] = chosen.count - counts[PICTURES]
    if chosen.only:
        counts = {chosen.only: chosen.count}
    outcomes: list[Outcome] = []
    for what, count in counts.items():
        share = count / chosen.count
        minutes = None if chosen.minutes is None else chosen.minutes * share
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        for outcome in watch(what, chosen.seed, count, deadline):
            outcomes.append(outcome)
            if outcome.verdict == FAILURE:
                print(f"{what} {outcome.number}, {outcome.description}: {outcome.words!r}")
            if len(outcomes) % REPORT_EVERY == 0:
                print(f"{len(outcomes)} tried", file=sys.stderr, flush=True)
    print(table(outcomes))
    failed = sum(outcome.verdict == FAILURE for outcome in outcomes)
    print(f"\nSeed {chosen.seed}: {len(outcomes):,} inputs, {failed} failures.")
    return 1 if failed else 0


def table(outcomes: list[Outcome]) -> str:
    """Markdown: a row for each kind of input."""
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        kinds[outcome.kind].append(outcome)
    lines = [
        "| kind | inputs | right | one-sentence errors | failures | longest, s | most, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, found in sorted(kinds.items()):
        numbers = [sum(o.verdict == verdict for o in found) for verdict in (RIGHT, ERROR, FAILURE)]
        longest, most = max(o.seconds for o in found), max(o.megabytes for o in found)
        cells = [kind, len(found), *numbers, f"{longest:.1f}", f"{most:,.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
