from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_core import Scores
from clip_core.classifier import Cached
from ui.service.model_pool import ModelPool


@pytest.fixture(autouse=True)
def uploads_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes in its folder counts as uploaded."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


@pytest.fixture
def make_scores() -> Callable[..., Scores]:
    """Scores as a model would give them, from shares chosen by the test."""

    def make(
        labels: Sequence[str],
        shares: Sequence[float],
        prompts: Sequence[Sequence[str]] | None = None,
        model: str = "tiny.safetensors",
    ) -> Scores:
        probabilities = np.array(shares, dtype=np.float32)
        logits = np.log(np.maximum(probabilities, 1e-30))
        return Scores(
            labels=tuple(labels),
            prompts=tuple(map(tuple, prompts or [[f"a photo of a {name}."] for name in labels])),
            probabilities=probabilities,
            logits=logits,
            cosine_similarities=logits / 100,
            model=model,
            device="cpu",
            framing="crop",
            cached=Cached(False, 0),
            seconds=0.1,
        )

    return make


@pytest.fixture(scope="module")
def models(tiny_model: Path) -> ModelPool:
    models = ModelPool([str(tiny_model)], "cpu", offer_published=False)
    with models.use(models.default):  # waits until it is loaded
        pass
    return models


@pytest.fixture
def photo(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "photo.jpg"
    Image.linear_gradient("L").convert("RGB").resize((90, 60)).save(path)
    return {"path": str(path), "orig_name": "photo.jpg"}
