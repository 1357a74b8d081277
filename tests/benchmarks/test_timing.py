"""The race and its report: no time is taken of answers that don't agree."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks.curves import Curve
from benchmarks.peers import ORT, OURS, REFERENCE
from benchmarks.report import Results, read, to_markdown, write
from benchmarks.timing import Row, race

ANSWER = torch.eye(3)


def slow() -> torch.Tensor:
    time.sleep(0.02)
    return ANSWER


def test_the_faster_is_told_by_its_ratio() -> None:
    forgotten = []
    row = race(
        Row("work", REFERENCE, 2),
        {REFERENCE: slow, OURS: lambda: 2 * ANSWER},  # the same direction
        rounds=3,
        before={OURS: lambda: forgotten.append(1)},
    )
    assert len(row.seconds[OURS]) == len(row.seconds[REFERENCE]) == 3
    assert len(forgotten) == 4  # before the comparison and before each round
    assert row.ratio(REFERENCE) == 1
    assert row.ratio(OURS) > 2
    assert row.differences[OURS] == 0


def test_what_does_not_agree_is_not_timed() -> None:
    timed = []

    def other() -> torch.Tensor:
        timed.append(1)
        return ANSWER + 1e-3

    with pytest.raises(RuntimeError, match=r"work: ours differs from openai/CLIP by 0\.0"):
        race(Row("work", REFERENCE), {REFERENCE: slow, OURS: other}, rounds=5)
    assert len(timed) == 1
    with pytest.raises(RuntimeError, match="differs"):
        race(Row("work", REFERENCE), {REFERENCE: slow, OURS: lambda: ANSWER / 0}, rounds=1)


def test_the_report_has_every_contender(tmp_path: Path) -> None:
    taken = {REFERENCE: [0.2, 0.4, 0.3], OURS: [0.1, 0.1, 0.1], ORT: [0.09, 0.09, 0.09]}
    row = Row("work", REFERENCE, 12, taken)
    curve = Curve("Labels", "labels", "seconds", [(1, 0.1), (10, 0.4)], ["1 labels: 0.10 s"])
    results = Results(False, [row], ["memory: flat"], [curve])
    write(results, tmp_path / "RESULTS.md")
    said = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "**ours** | 100.0 | 100.0 to 100.0 | 3.00 | 12 |" in said
    assert "| work | 0.90 |  |" in said
    assert "- memory: flat" in said
    data = json.loads((tmp_path / "RESULTS.json").read_text(encoding="utf-8"))
    assert data["rows"][0]["seconds"][OURS] == [0.1, 0.1, 0.1]
    assert (tmp_path / "RESULTS.png").stat().st_size > 1000
    assert "- 1 labels: 0.10 s" in said
    assert data["curves"][0]["points"] == [[1, 0.1], [10, 0.4]]
    assert (tmp_path / "RESULTS-curves.png").stat().st_size > 1000
    without = to_markdown(results, data["machine"] | {"gpu": None}, "RESULTS")
    assert "Not measured: none was at hand." in without


def test_results_are_read_back(tmp_path: Path) -> None:
    row = Row("work", REFERENCE, 12, {REFERENCE: [0.2], OURS: [0.1]}, {OURS: 1e-7})
    curve = Curve("Labels", "labels", "seconds", [(1, 0.1)], ["1 labels: 0.10 s"])
    results = Results(True, [row], ["memory: flat"], [curve], curves_apart=True)
    write(results, tmp_path / "RESULTS.md")
    said = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    write(read(tmp_path / "RESULTS.md"), tmp_path / "again.md")
    again = (tmp_path / "again.md").read_text(encoding="utf-8")
    assert again == said.replace("RESULTS.png", "again.png").replace("RESULTS-c", "again-c")
    assert "in a run of their own" in said


def test_what_takes_minutes_is_timed_by_its_first_run() -> None:
    row = race(Row("work", REFERENCE), {REFERENCE: slow, OURS: lambda: ANSWER}, rounds=0)
    assert len(row.seconds[REFERENCE]) == len(row.seconds[OURS]) == 1
    assert row.ratio(OURS) > 1
