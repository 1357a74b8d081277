"""Matrix products run in bfloat16 where that is quick, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from training.precision import autocast


@pytest.mark.parametrize(
    ("has_instructions", "dtype"), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_bfloat16_is_for_processors_that_have_it(
    has_instructions: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    with autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
