"""The bill of materials is one, by CycloneDX's own schema, and has what the lock has."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from supply.__main__ import main
from supply.lock import Package, read
from supply.sbom import SCHEMA, sbom

HERE = Package("pytest", version("pytest"), "0" * 64)
AWAY = Package("no-such-thing", "1.0", "1" * 64)


def test_a_package_with_its_version_hash_address_and_licence() -> None:
    document = json.loads(sbom([AWAY, HERE]))
    away, here = document["components"]
    assert here == {
        "bom-ref": f"pkg:pypi/pytest@{HERE.version}",
        "hashes": [{"alg": "SHA-256", "content": HERE.sha256}],
        "licenses": [{"license": {"id": "MIT"}}],
        "name": "pytest",
        "purl": f"pkg:pypi/pytest@{HERE.version}",
        "type": "library",
        "version": HERE.version,
    }
    assert away["name"] == "no-such-thing"
    assert "licenses" not in away


def test_the_whole_lock_is_valid_by_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom"]) == 0
    printed = capsys.readouterr().out
    assert JsonStrictValidator(SCHEMA).validate_str(printed) is None
    document = json.loads(printed)
    assert document["metadata"]["component"]["name"] == "clip-zero-shot-demo"
    found = {(each["name"], each["version"]) for each in document["components"]}
    assert found == {(package.name, package.version) for package in read()}
    used = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert len(used["clip-zero-shot-demo"]) == len(found)


def test_what_is_no_bill_is_noticed() -> None:
    document = json.loads(sbom([HERE]))
    del document["components"][0]["name"]
    assert JsonStrictValidator(SCHEMA).validate_str(json.dumps(document)) is not None
