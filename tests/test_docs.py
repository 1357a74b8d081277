"""What the documents show is run: every block of docs/api.md, against the real page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_app import RunningApp

ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:7860"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs/api.md").read_text("utf-8"), re.DOTALL)
# What the n-th block of its language must print
PRINTED = {
    ("python", 0): r"^cat$",
    ("python", 1): r"^True 0\.9\d+\n.*heat-map.*\.png 15 15$",
    ("python", 2): r"^2[46]\n\[\[0\.\d+, 0\.\d+\]\]\n.*a sketch of an owl\..*\n\d+$",
    ("python", 3): r"'label': 'cat', 'confidences'",
    ("shell", 0): r"event: complete\ndata: .*\"is_none\": false",
}


@pytest.fixture(scope="module")
def address(shared_app: RunningApp) -> str:
    return shared_app.address


def of_language(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def test_nothing_in_it_is_left_out() -> None:
    known = {kind for kind, _ in PRINTED} | {"json"}
    assert {kind for kind, _ in BLOCKS} == known
    assert sum(kind != "json" for kind, _ in BLOCKS) == len(PRINTED)


@pytest.mark.parametrize(("language", "number"), PRINTED, ids=str)
def test_it_runs_and_prints(address: str, tmp_path: Path, language: str, number: int) -> None:
    if language == "shell" and not shutil.which("curl"):
        pytest.skip("no curl here")
    shutil.copy(ROOT / "ui/examples/cat.jpg", tmp_path / "photo.jpg")
    program = [sys.executable, "-c"] if language == "python" else ["bash", "-c"]
    text = of_language(language)[number].replace(ADDRESS, address)
    done = subprocess.run(
        [*program, text], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = re.sub(r"Loaded as API: .*\n", "", done.stdout).strip()
    assert re.search(PRINTED[language, number], printed, re.DOTALL), printed


def test_the_assistants_settings_are_json() -> None:
    (text,) = of_language("json")
    assert json.loads(text)["mcpServers"]["clip"]["url"] == f"{ADDRESS}/gradio_api/mcp/"


def test_the_table_names_every_endpoint(address: str) -> None:
    from gradio_client import Client  # noqa: PLC0415  slow to import

    api = Client(address, verbose=False).view_api(return_format="dict", print_info=False)
    text = (ROOT / "docs/api.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in api["named_endpoints"])


DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", ".git", ".venv-peers", "build"} & set(path.relative_to(ROOT).parts)
)
# A file of another project
ELSEWHERE = {"data/prompts.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|mailto:)([^)#\s]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    named = re.findall(
        r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|txt|js|json|html|css|safetensors))`", text
    )
    lost = [name for name in named if not (ROOT / name).exists() and name not in ELSEWHERE]
    beside = (path.parent, ROOT / "clip_core")  # where a document says its paths begin
    assert [name for name in lost if not any((at / name).exists() for at in beside)] == []
