"""No word of "nothing known" unless every package was asked for, and answered."""

from __future__ import annotations

import importlib.util
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from supply import __main__ as command
from supply.audit import audit, judge
from supply.lock import Package, as_text

PACKAGES = [Package("one", "1.0", "0" * 64), Package("two", "2.0", "1" * 64)]
ONE: dict[str, Any] = {"name": "one", "version": "1.0", "vulns": []}
TWO: dict[str, Any] = {"name": "Two", "version": "2.0", "vulns": []}
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.1", "3.0"]}
SKIPPED = {"name": "two", "skip_reason": "Dependency not found on PyPI"}
FAKE = """
import sys
print({stdout!r})
print({stderr!r}, file=sys.stderr)
sys.exit({status})
"""


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    path = tmp_path / "locked.txt"
    path.write_text(as_text(PACKAGES))
    return path


def test_all_checked_and_nothing_known() -> None:
    assert judge([ONE, TWO], PACKAGES) == (
        "2 of 2 packages checked, known vulnerabilities in those: 0",
        0,
    )


def test_a_vulnerability_is_named_with_its_cure() -> None:
    text, status = judge([ONE, TWO | {"vulns": [HOLE]}], PACKAGES)
    assert status == 1
    assert text.splitlines() == [
        "2 of 2 packages checked, known vulnerabilities in those: 1",
        "Two 2.0: PYSEC-1, CVE-2026-1; fixed in 2.1, 3.0",
    ]
    text, _ = judge([ONE, TWO | {"vulns": [HOLE | {"fix_versions": []}]}], PACKAGES)
    assert text.endswith("fixed in no version yet")


@pytest.mark.parametrize("answers", [[ONE], [ONE, SKIPPED], [ONE, TWO | {"version": "1.9"}]])
def test_a_package_left_out_or_skipped_is_not_checked(answers: list[dict[str, Any]]) -> None:
    text, status = judge(answers, PACKAGES)
    assert status == 2
    assert text.startswith("1 of 2 packages checked")
    assert text.endswith("\nNot checked: two 2.0")


@pytest.mark.parametrize("answers", [[], [SKIPPED]])
def test_where_nothing_was_checked_no_number_is_given(answers: list[dict[str, Any]]) -> None:
    text, status = judge(answers, PACKAGES)
    assert status == 2
    assert text == "nothing was checked: the service answered for none of the packages."


def test_a_vulnerability_counts_more_than_a_package_that_was_not_checked() -> None:
    text, status = judge([ONE | {"vulns": [HOLE]}, SKIPPED], PACKAGES)
    assert status == 1
    assert text.endswith("\nNot checked: two 2.0")


def pretend(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str, status: int
) -> None:
    """Puts a pip-audit in place that says this."""
    package = folder / "first" / "pip_audit"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    text = FAKE.format(stdout=stdout, stderr=stderr, status=status)
    (package / "__main__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.syspath_prepend(package.parent)


def test_the_date_and_what_pip_audit_says(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, monkeypatch, json.dumps({"dependencies": [ONE, TWO]}), "fine", 0)
    text, status = audit(locked)
    today = datetime.now(timezone.utc).date().isoformat()
    assert (text, status) == (
        f"{today}: 2 of 2 packages checked, known vulnerabilities in those: 0",
        0,
    )


@pytest.mark.parametrize(
    ("stdout", "stderr", "reason"),
    [
        ("", "Traceback\nConnectionError: refused", "ConnectionError: refused"),
        ("", "", "pip-audit said nothing"),
        ("{}", "odd", "odd"),
        ("No known vulnerabilities found", "odd", "odd"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_an_answer_that_is_none_is_no_good_news(
    stdout: str,
    stderr: str,
    reason: str,
    code: int,
    locked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(tmp_path, monkeypatch, stdout, stderr, code)
    text, status = audit(locked)
    assert status == 2
    assert text[10:] == f": nothing was checked: {reason}"


def test_the_real_pip_audit_where_its_service_is_out_of_reach(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))  # nor answers from earlier
    text, status = audit(locked)
    assert status == 2
    assert len(text.splitlines()) == 1
    assert ": nothing was checked: " in text
    assert "127.0.0.1" in text or "proxy" in text.lower()


def test_without_pip_audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command.main(["audit"]) == 2
    assert ": nothing was checked: pip-audit is not installed." in capsys.readouterr().out
