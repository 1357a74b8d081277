from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from clip_core import Scores
from clip_core.classifier import Cached


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
