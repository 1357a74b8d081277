"""The files that a Hugging Face Space reads: keys and values as the Hub's documentation has them.

Keys and values: the configuration reference and the ZeroGPU page of the Hub's documentation, as of
August 2026.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
HARDWARE = (
    "cpu-basic cpu-upgrade t4-small t4-medium l4x1 l4x4 l40sx1 l40sx4 l40sx8 a10g-small a10g-large "
    "a10g-largex2 a10g-largex4 a100-large a100x4 a100x8"
)
REQUIRED = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file"}
OPTIONAL = (
    "python_version base_path fullWidth header short_description thumbnail pinned tags models "
    "datasets license suggested_hardware startup_duration_timeout disable_embedding custom_headers "
    "hf_oauth hf_oauth_scopes hf_oauth_expiration_minutes hf_oauth_authorized_org "
    "preload_from_hub"
)
ALLOWED = REQUIRED | set(OPTIONAL.split())
BOOLEANS = {"fullWidth", "pinned", "disable_embedding", "hf_oauth"}
LISTS = {"tags", "models", "datasets", "preload_from_hub"}
ZEROGPU_PYTHON = {"3.10.13", "3.12.12"}
ZEROGPU_TORCH = {"2.8.0": "0.23.0", "2.9.1": "0.24.1", "2.10.0": "0.25.0", "2.11.0": "0.26.0"}
SHORT_DESCRIPTION = 60  # characters; the Hub refuses an upload with more
PRELOADS = 10
REPOSITORY = r"[\w.-]+/[\w.-]+"
PRELOAD = re.compile(rf"{REPOSITORY}( [^\s,]+(,[^\s,]+)*( [0-9a-f]{{40}})?)?")


def front_matter(readme: str) -> dict[str, Any]:
    """The block between the first two lines of three dashes."""
    start, block, _ = re.split(r"^---\n", readme, maxsplit=2, flags=re.MULTILINE)
    assert start == "", "the block must be the first thing in the file"
    return yaml.safe_load(block)


def requirements(name: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {requirement.name: requirement for requirement in found}


def is_emoji(text: Any) -> bool:
    marks = [c for c in str(text) if c not in "\ufe0f\u200d"]
    return len(marks) == 1 and unicodedata.category(marks[0]) == "So"


def problems(found: dict[str, Any]) -> list[str]:
    """The keys that are unknown, missing, or have a value that the Hub does not take."""
    wrong = [key for key in found if key not in ALLOWED] + sorted(REQUIRED - set(found))
    rules = {
        "emoji": is_emoji,
        "colorFrom": COLOURS.__contains__,
        "colorTo": COLOURS.__contains__,
        "sdk": "gradio".__eq__,
        "sdk_version": lambda value: value in requirements("requirements.txt")["gradio"].specifier,
        # unquoted, YAML reads 3.10 as the number 3.1
        "python_version": lambda value: isinstance(value, str) and value in ZEROGPU_PYTHON,
        "app_file": lambda value: (ROOT / value).is_file(),
        "header": {"mini", "default"}.__contains__,
        "short_description": lambda value: 0 < len(value) <= SHORT_DESCRIPTION,
        "suggested_hardware": HARDWARE.split().__contains__,
        "startup_duration_timeout": lambda value: re.fullmatch(r"\d+ ?[smh]?", str(value)),
        "preload_from_hub": lambda value: (
            len(value) <= PRELOADS and all(PRELOAD.fullmatch(entry) for entry in value)
        ),
        "models": lambda value: all(re.fullmatch(REPOSITORY, entry) for entry in value),
        **dict.fromkeys(BOOLEANS, lambda value: isinstance(value, bool)),
    }
    for key in set(found) & set(rules):
        suits = key not in LISTS or isinstance(found[key], list)
        if not suits or not rules[key](found[key]):
            wrong.append(key)
    return wrong


@pytest.fixture
def real() -> dict[str, Any]:
    return front_matter((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_readme_is_a_valid_space(real: dict[str, Any]) -> None:
    assert problems(real) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("color_from", "red"),
        ("suggested_storage", "small"),
        ("emoji", "search"),
        ("emoji", "🔎🔎"),
        ("colorFrom", "grey"),
        ("colorTo", "#0000ff"),
        ("sdk", "streamlit"),
        ("sdk_version", "5.49.1"),
        ("sdk_version", "7.0.0"),
        ("python_version", "3.11"),
        ("python_version", "3.12.1"),
        ("python_version", 3.12),
        ("app_file", "main.py"),
        ("header", "tiny"),
        ("short_description", "a" * 61),
        ("short_description", ""),
        ("suggested_hardware", "zero-a10g"),
        ("startup_duration_timeout", "soon"),
        ("pinned", "no"),
        ("models", "timm/vit_base_patch32_clip_224.openai"),
        ("models", ["vit_base_patch32_clip_224.openai"]),
        ("preload_from_hub", ["a/b"] * 11),
        ("preload_from_hub", ["a/b one.safetensors, two.safetensors"]),
        ("preload_from_hub", ["a/b one.safetensors main"]),
        ("preload_from_hub", "a/b"),
    ],
)
def test_a_broken_block_is_noticed(key: str, value: Any, real: dict[str, Any]) -> None:
    assert problems(real | {key: value}) == [key]


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_missing_key_is_noticed(key: str, real: dict[str, Any]) -> None:
    assert problems({k: v for k, v in real.items() if k != key}) == [key]


@pytest.mark.parametrize(
    "entry",
    ["a/b", "a/b one.bin", "a/b one.bin,two/three.json", f"a/b one.bin {'0123456789' * 4}"],
)
def test_what_may_be_preloaded(entry: str, real: dict[str, Any]) -> None:
    assert problems(real | {"preload_from_hub": [entry]}) == []


def test_what_is_preloaded_is_named_among_the_models(real: dict[str, Any]) -> None:
    assert {entry.split()[0] for entry in real["preload_from_hub"]} == set(real["models"])


def test_torch_is_one_that_zerogpu_offers() -> None:
    pinned = requirements("pre-requirements.txt")
    versions = {name: str(requirement.specifier) for name, requirement in pinned.items()}
    assert versions in [
        {"torch": f"=={torch}", "torchvision": f"=={vision}"}
        for torch, vision in ZEROGPU_TORCH.items()
    ]


def test_what_is_installed_first_stays_when_the_rest_is() -> None:
    wanted = requirements("requirements.txt")
    for name, pinned in requirements("pre-requirements.txt").items():
        (version,) = pinned.specifier
        assert Version(version.version) in wanted[name].specifier
