"""The locked versions beside what is known to be vulnerable, by pip-audit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from .lock import LOCKED, Package, read

SERVICES = ("pypi", "osv")  # whose advisories pip-audit can ask for
# Exit statuses
NOTHING_KNOWN = 0
VULNERABLE = 1
NOT_ALL_CHECKED = 2


def audit(path: Path = LOCKED, service: str = "pypi") -> tuple[str, int]:
    """What is known today of each locked package, and the exit status."""
    today = datetime.now(timezone.utc).date().isoformat()
    if importlib.util.find_spec("pip_audit") is None:
        return f"{today}: nothing was checked: pip-audit is not installed.", NOT_ALL_CHECKED
    packages = read(path)
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--require-hashes"]
    command += ["--disable-pip", "--vulnerability-service", service]  # the lock needs no resolving
    command += ["--format", "json", "--desc", "off", "--aliases", "on", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        # it leaves with 1 for a vulnerability and for a service out of reach alike
        reason = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        return f"{today}: nothing was checked: {reason}", NOT_ALL_CHECKED
    text, status = judge(answers, packages)
    return f"{today}: {text}", status


def judge(answers: list[dict[str, Any]], packages: list[Package]) -> tuple[str, int]:
    """pip-audit's answers in words, and the exit status.

    A package that it left out, or skipped because the service didn't know it, is not checked.
    """
    checked = {
        (canonicalize_name(answer["name"]), answer["version"])
        for answer in answers
        if "skip_reason" not in answer
    }
    unchecked = [package for package in packages if (package.name, package.version) not in checked]
    if len(unchecked) == len(packages):
        return (
            "nothing was checked: the service answered for none of the packages.",
            NOT_ALL_CHECKED,
        )
    found = [(answer, known) for answer in answers for known in answer.get("vulns", [])]
    words = f"{len(packages) - len(unchecked)} of {len(packages)} packages checked, "
    words += f"known vulnerabilities in those: {len(found)}"
    for answer, known in found:
        names = ", ".join([known["id"], *known["aliases"]])
        fixed = ", ".join(known["fix_versions"]) or "no version yet"
        words += f"\n{answer['name']} {answer['version']}: {names}; fixed in {fixed}"
    if unchecked:
        names = ", ".join(f"{package.name} {package.version}" for package in unchecked)
        words += f"\nNot checked: {names}"
    if found:
        return words, VULNERABLE
    return words, NOT_ALL_CHECKED if unchecked else NOTHING_KNOWN
