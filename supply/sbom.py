"""A bill of materials of the locked packages, in CycloneDX's JSON."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import tomlkit
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from .licences import stated
from .lock import ROOT, Package

SCHEMA = SchemaVersion.V1_6
FACTORY = LicenseFactory()


def sbom(packages: list[Package], project: Path = ROOT / "pyproject.toml") -> str:
    """The JSON. A package that is not installed here has no licences in it."""
    about = tomlkit.parse(project.read_text(encoding="utf-8")).unwrap()["project"]
    application = Component(
        name=about["name"],
        version=about["version"],
        type=ComponentType.APPLICATION,
        licenses=[FACTORY.make_from_string(about["license"])],
        bom_ref=about["name"],
    )
    components = [_component(package) for package in packages]
    bom = Bom(components=components)
    bom.metadata.component = application
    bom.metadata.tools.components.add(this_component())
    bom.register_dependency(application, components)  # those of its dependencies, too
    return str(make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=1)) + "\n"


def _component(package: Package) -> Component:
    try:
        licences = stated(package)
    except PackageNotFoundError:
        licences = []
    url = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        purl=url,
        bom_ref=url.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.sha256)],
        licenses=[FACTORY.make_from_string(licence) for licence in licences],
    )
