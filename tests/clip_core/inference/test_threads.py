"""How many threads: what a person says, what the environment says, what the container allows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from clip_core.inference import cgroup, threads


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """64 cores, each with two places, and no limits."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_affinity", lambda: set(range(128)))
    monkeypatch.setattr(threads, "_physical_cores", lambda: 64)
    monkeypatch.setattr(cgroup, "CPU_FILES", ())
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["max 100000\n"], 128),
        (["250000 100000\n"], 2),
        (["50000 100000\n"], 1),
        (["99900000 100000\n"], 128),
        (["nonsense\n"], 128),
        (["-1\n", "100000\n"], 128),
        (["400000\n", "100000\n"], 4),
    ],
)
def test_a_containers_quota(
    texts: list[str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"file-{number}" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    monkeypatch.setattr(cgroup, "CPU_FILES", ((tmp_path / "missing",), tuple(paths)))
    assert threads.available_cores() == expected


@pytest.mark.parametrize(("quota", "physical", "expected"), [(1.5, 64, 1), (6, 64, 6), (99, 4, 4)])
def test_threads_are_the_physical_cores_within_the_quota(
    quota: float, physical: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
    monkeypatch.setattr(threads, "_physical_cores", lambda: physical)
    count, reason = threads.choose_threads()
    assert count == torch.get_num_threads() == expected
    assert reason.startswith(f"{int(quota)} core")


def test_many_cores_are_not_all_taken() -> None:
    assert threads.choose_threads() == (threads.MOST_THREADS, "128 cores are available")


def test_a_person_and_the_environment_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.choose_threads(3) == (3, "as was asked for")
    assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.choose_threads() == (3, "as OMP_NUM_THREADS says")
    with pytest.raises(ValueError, match="one thread or more"):
        threads.choose_threads(0)


def test_pytorch_reads_the_variable_itself() -> None:
    code = "from clip_core.inference.threads import choose_threads; print(choose_threads()[0])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"OMP_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "1\n"


def test_siblings_share_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for number in range(4):
        (tmp_path / str(number)).write_text(f"{number % 2},{number % 2 + 2}\n")
    monkeypatch.setattr(threads, "_affinity", lambda: set(range(4)))
    monkeypatch.setattr(threads, "SIBLINGS", str(tmp_path / "{}"))
    assert threads._physical_cores() == 2
    monkeypatch.setattr(threads, "SIBLINGS", str(tmp_path / "missing-{}"))
    assert threads._physical_cores() == 4
