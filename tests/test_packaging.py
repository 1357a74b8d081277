"""The package: what it needs, what is pinned, and a wheel installed away from this folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from clip_core.extras import EXTRAS
from tests.running_app import free_port

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it where Python doesn't
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
CAT = ROOT / "ui" / "examples" / "cat.jpg"
NAME = "clip-zero-shot"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OPTIONAL: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
DEVELOPMENT_PACKAGES = 14  # at most: each is one more to install and to keep up with
SECONDS_TO_START = 120  # importing torch and gradio on a busy machine


def merged(lines: Iterable[str]) -> set[str]:
    """Requirements by name, each with the extras and bounds of all lines that name it."""
    found: dict[str, Requirement] = {}
    for line in lines:
        wanted = Requirement(line)
        wanted.name = canonicalize_name(wanted.name)
        known = found.setdefault(wanted.name, wanted)
        known.extras |= wanted.extras
        known.specifier &= wanted.specifier
    return {str(each) for each in found.values()}


def of_file(name: str) -> list[str]:
    lines = (line.split(" #")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line and line[0] not in "#-"]


def of_extras(*extras: str) -> list[str]:
    """An extra may name others, as `clip-zero-shot[many]`."""
    found = []
    for line in [line for extra in extras for line in OPTIONAL[extra]]:
        wanted = Requirement(line)
        found += of_extras(*wanted.extras) if wanted.name == NAME else [line]
    return found


def test_a_space_installs_what_the_page_needs() -> None:
    needed = [*PROJECT["project"]["dependencies"], *of_extras("app", "many", "mcp")]
    assert merged(of_file("requirements.txt")) == merged(needed)


def test_the_development_files_name_what_the_groups_name() -> None:
    quick = [*GROUPS["lint"], *GROUPS["test"], *of_extras("metrics")]
    assert merged(of_file("requirements-dev.txt")) == merged(quick)
    assert merged(of_file("requirements-peers.txt")) == merged(
        [*GROUPS["peers"], *of_extras("onnx", "ray")]
    )


def test_there_are_few_development_packages() -> None:
    named = of_file("requirements-dev.txt") + of_file("requirements-peers.txt")
    assert len(merged(named)) <= DEVELOPMENT_PACKAGES


def test_the_oldest_set_is_the_lower_bounds() -> None:
    oldest = {each.name: each for each in map(Requirement, of_file("requirements-oldest.txt"))}
    for wanted in map(Requirement, of_file("requirements.txt")):
        (lower,) = (each.version for each in wanted.specifier if each.operator == ">=")
        (pinned,) = oldest[wanted.name].specifier
        assert Version(pinned.version) == Version(lower), wanted.name


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_sentence_about_an_extra_names_all_its_packages(extra: str) -> None:
    named = {Requirement(line).name for line in OPTIONAL[extra]} - {NAME}
    assert set(EXTRAS[extra]) == named


def locked() -> dict[str, tuple[Version, list[str]]]:
    """The lock's packages, each with its version and the SHA-256 of its files."""
    text = (ROOT / "requirements-locked.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        wanted, *hashes = line.split(" --hash=sha256:")
        name, _, pinned = wanted.strip().partition("==")
        found[name] = (Version(pinned), [each.strip() for each in hashes])
    return found


def test_the_lock_satisfies_the_loose_requirements() -> None:
    packages = locked()
    for wanted in map(Requirement, of_file("requirements.txt")):
        assert packages[canonicalize_name(wanted.name)][0] in wanted.specifier, wanted
    assert "mcp" in packages  # for gradio[mcp]


def test_each_locked_package_has_one_version_that_registries_have_and_hashes() -> None:
    packages = locked()
    assert list(packages) == sorted(packages)
    for name, (pinned, hashes) in packages.items():
        assert name == canonicalize_name(name)
        assert not pinned.local, name  # a build's own label, as in 2.11.0+cpu, is on no registry
        assert hashes, name
        assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in hashes), name


def test_the_lock_was_made_by_the_command_that_is_documented() -> None:
    text = (ROOT / "requirements-locked.txt").read_text(encoding="utf-8")
    (command,) = re.findall(r"^#    (uv pip compile .*)$", text, re.MULTILINE)
    documented = (ROOT / "CONTRIBUTING.md").read_text("utf-8").replace("\\\n", " ")
    assert command in re.sub(" +", " ", documented)
    assert "://" not in text  # whoever installs it says from where
    assert not re.search(r"^\s*-(?!-hash=sha256:)", text, re.MULTILINE)


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({packages}))  # importing these fails as if they were not there
"""


def run_without(packages: Iterable[str], code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the checkout as if these packages were not installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(packages=list(packages)) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_library_and_its_first_command_need_no_extra() -> None:
    code = f"""
from clip_core.cli.main import main
import clip_core
classifier = clip_core.ZeroShotClassifier("bundled")
scores = classifier.classify({str(CAT)!r}, ["dog", "cat"], templates=["a photo of a {{}}."])
assert scores.to_frame()["label"][0] == "cat"
assert main([{str(CAT)!r}, "dog", "cat"]) == 0
print(main(["sort", {str(CAT)!r}, "--labels", "cat", "dog"]))
"""
    done = run_without([*EXTRAS["app"], *EXTRAS["many"], "mcp"], code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2"
    assert done.stderr.splitlines()[-1] == (
        "clip_core: This needs packages that are not here: pip install pyarrow scipy matplotlib"
    )


def test_the_page_says_what_it_needs() -> None:
    done = run_without(["gradio", "limits"], "import app")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "app.py: This needs packages that are not here: pip install gradio limits"
    )


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the installed programs, in an environment that knows nothing of the checkout.

    The packages it needs are those of the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"  # a build leaves files beside what it builds from
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CREDITS.md"):
        shutil.copy(ROOT / name, source)
    for name in ("clip_core", "prompts", "ui"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Where setuptools is too old, pip builds with one of its own, for which it needs a registry
    here = [] if Version(version("setuptools")) < Version("77") else ["--no-build-isolation"]
    run([*pip, "wheel", "--no-deps", *here, "--wheel-dir", str(folder), str(source)], folder)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(source)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    run([*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], folder)
    wheel.unlink()
    (packages,) = (folder / "venv").glob("**/site-packages")
    ours = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if path]
    (packages / "others.pth").write_text("\n".join(ours))
    yield python.parent
    shutil.rmtree(folder)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def test_the_installed_command_classifies_a_picture(scripts: Path, tmp_path: Path) -> None:
    shutil.copy(CAT, tmp_path / "photo.jpg")
    done = run([str(scripts / "clip-zero-shot"), "photo.jpg", "dog", "cat", "--json"], tmp_path)
    (rows,) = json.loads(done.stdout)["pictures"].values()
    assert rows[0]["label"] == "cat"


def test_the_installed_command_leaves_with_its_exit_code(scripts: Path) -> None:
    # Read, not run: starting a process takes seconds of imports
    assert "sys.exit(main())" in (scripts / "clip-zero-shot").read_text(encoding="utf-8")


def test_the_installed_page_starts(scripts: Path, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [str(scripts / "clip-zero-shot-app"), "--host", "127.0.0.1", "--port", port],
        cwd=tmp_path,
        env=inherited | {"GRADIO_TEMP_DIR": str(tmp_path / "uploads")},
    )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline and process.poll() is None:
            try:
                answer = httpx.get(f"{address}/healthz", timeout=60)
            except httpx.HTTPError:
                time.sleep(0.2)
                continue
            if answer.status_code == 200:
                break
            time.sleep(0.2)
        assert answer.json()["ready"] is True
        assert "typed-labels" in httpx.get(address, timeout=60).text  # the page's own fields
    finally:
        process.terminate()
        process.wait(timeout=60)
