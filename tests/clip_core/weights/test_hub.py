"""Repositories of the Hub, from a loopback server, in processes that see its variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_core import load
from clip_core.weights.hub import repository_of
from clip_core.weights.registry import HUB_FILE, PUBLISHED
from tests.hub_server import Hub, serve_hub

ROOT = Path(__file__).parents[3]
DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens

# Loads each name; prints for each the activation and the first weight, or what was wrong.
LOAD = """
import json, sys
import clip_core
from clip_core.weights.resolve import find_weights
found = []
for name in sys.argv[1:]:
    try:
        model, _ = clip_core.load(name, device="cpu")
        block = model.transformer.resblocks[0]
        path = str(find_weights(name)[0])
        found.append([type(block.mlp.gelu).__name__, model.logit_scale.item(), path])
    except RuntimeError as error:
        found.append(str(error))
print(json.dumps(found))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serve_hub(tmp_path / "repositories") as served:
        yield served


@pytest.fixture
def repository(hub: Hub, tiny_model: Path) -> Path:
    """owner/tiny in open_clip's layout, with exact GELU."""
    folder = hub.root / "owner" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(tiny_model, folder / "open_clip_model.safetensors")
    config = {
        "model_cfg": {
            "embed_dim": 64,
            "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
            "text_cfg": {"vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def loaded(
    home: Path, *names: str, hub: Hub | None = None, code: str = LOAD, **environment: str
) -> list[Any]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "CLIP_"))
    }
    settings = {
        "HF_ENDPOINT": hub.address if hub else DEAD,
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_ETAG_TIMEOUT": "2",
        "CLIP_MIRROR": DEAD,
        "CLIP_CACHE": str(home / "clip"),
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        [sys.executable, "-c", code, *names],
        env=inherited | settings | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("owner/name", ("owner/name", None)),
        ("hf-hub:owner/name", ("owner/name", None)),
        ("hf-hub:owner/na-me.x@v1", ("owner/na-me.x", "v1")),
        ("ViT-L/14@336px", ("ViT-L/14", "336px")),  # a published name stands before
        ("name", None),
        ("a/b/c", None),
        ("/owner/name", None),
        ("../name/x", None),
    ],
)
def test_names_of_repositories(name: str, found: tuple[str, str | None] | None) -> None:
    assert repository_of(name) == found


@pytest.mark.slow
def test_repository_cache_and_offline_mode(hub: Hub, repository: Path, tmp_path: Path) -> None:
    (first,) = loaded(tmp_path, "hf-hub:owner/tiny", hub=hub)
    assert first[0] == "GELU"
    assert first[2].startswith(str(tmp_path / "huggingface"))
    # from its cache: with nobody asked, and with offline mode on
    hub.asked.clear()
    again = loaded(tmp_path, "owner/tiny", hub=hub)
    assert hub.asked == []
    offline = loaded(tmp_path, "owner/tiny", "owner/other", HF_HUB_OFFLINE="1")
    assert again[0][:2] == offline[0][:2] == first[:2]
    assert "offline mode is on: unset HF_HUB_OFFLINE" in offline[1]


@pytest.mark.slow
def test_published_name_from_the_hub_where_its_host_fails(
    hub: Hub, tiny_model: Path, tmp_path: Path
) -> None:
    folder = hub.root / PUBLISHED["ViT-B/32"].repository
    folder.mkdir(parents=True)
    shutil.copy(tiny_model, folder / HUB_FILE)
    (found,) = loaded(tmp_path, "ViT-B/32", hub=hub)
    assert found[0] == "QuickGELU"
    assert not list((tmp_path / "clip").glob("*.pt"))
    hub.asked.clear()
    assert loaded(tmp_path, "ViT-B/32", hub=hub) == [found]  # from the Hub's cache
    assert hub.asked == []


@pytest.mark.slow
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, repository: Path, tmp_path: Path) -> None:
    empty = hub.root / "owner" / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("nothing")
    names = ["owner/none", "owner/empty", "owner/tiny@missing"]
    none, nothing, revision = loaded(tmp_path, *names, hub=hub)
    assert none.startswith("Model owner/none not found")
    assert "or it is private" in none
    assert "holds no CLIP that can be read" in nothing
    assert "no such revision" in revision
    hub.gated = True
    (gated,) = loaded(tmp_path, "hf-hub:owner/tiny", hub=hub)
    assert "accept its terms" in gated
    hub.gated, hub.token = False, "secret"
    (private,) = loaded(tmp_path / "1", "hf-hub:owner/tiny", hub=hub)
    assert "set HF_TOKEN" in private
    (with_token,) = loaded(tmp_path / "2", "hf-hub:owner/tiny", hub=hub, HF_TOKEN="secret")
    assert with_token[0] == "GELU"
    for sentence in (none, nothing, revision, gated, private):
        assert "\n" not in sentence


@pytest.mark.slow
def test_no_network_at_all(tmp_path: Path) -> None:
    # huggingface_hub itself tries again and again, for most of a minute
    at_once = f"import time\ntime.sleep = lambda seconds: None\n{LOAD}"
    repository, published = loaded(tmp_path, "hf-hub:owner/tiny", "ViT-B/32", code=at_once)
    assert "could not be fetched: there may be no network" in repository
    assert published.startswith("ViT-B/32 could not be downloaded. ")
    assert "From the Hugging Face Hub: " in published


def test_the_pictures_of_a_repository_are_its_own(repository: Path) -> None:
    _, preprocess = load(repository, device="cpu")
    assert tuple(preprocess.transforms[-1].mean) == (0.5, 0.5, 0.5)
