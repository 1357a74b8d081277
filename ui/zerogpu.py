"""Hugging Face's ZeroGPU, where a Space has a GPU only while a marked function runs.

Import this before torch: the `spaces` package must come first to stand in for CUDA. Elsewhere
nothing here has an effect.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

ON_ZEROGPU = bool(os.environ.get("SPACES_ZERO_GPU"))
# A visitor with less quota left than a call asks for is refused; an answer takes about a second.
SECONDS_ASKED = 15

if ON_ZEROGPU:
    import spaces

Function = TypeVar("Function", bound=Callable[..., object])


def on_gpu(function: Function) -> Function:
    """Marks a function that needs the GPU; the function itself where there is no ZeroGPU."""
    return spaces.GPU(duration=SECONDS_ASKED)(function) if ON_ZEROGPU else function
