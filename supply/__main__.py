"""The locked packages: made, checked and listed: python -m supply lock|audit|licences|sbom."""

from __future__ import annotations

import argparse
import sys

from .audit import SERVICES, audit
from .licences import listing
from .lock import LOCKED, LOOSE, LockError, as_text, read, resolve
from .sbom import sbom


def main(arguments: list[str] | None = None) -> int:
    """Runs one of the commands; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m supply",
        description="What a deployment installs. Needs requirements-dev.txt.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lock", help=f"resolve {LOOSE.name} anew and write {LOCKED.name}")
    check = commands.add_parser(
        "audit",
        help="ask for known vulnerabilities of the locked versions; exit status 0: none, 1: some, "
        "2: not every package could be checked",
    )
    check.add_argument("--service", choices=SERVICES, default="pypi", help="whom (default pypi)")
    commands.add_parser(
        "licences",
        help="print what licences the locked packages state; they must be installed",
    )
    commands.add_parser("sbom", help="print a bill of materials, in CycloneDX's JSON")
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except LockError as error:
        print(f"supply: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    if options.command == "lock":
        LOCKED.write_text(as_text(resolve(LOOSE)), encoding="utf-8")
        return 0
    if options.command == "audit":
        text, status = audit(service=options.service)
        print(text)
        return status
    if options.command == "sbom":
        print(sbom(read()), end="")
        return 0
    text, missing = listing(read())
    print(text, end="")
    for package in missing:
        print(f"supply: {package.name} {package.version} is not installed here", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
