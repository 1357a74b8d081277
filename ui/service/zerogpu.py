"""Hugging Face's ZeroGPU, where a Space has a GPU only while a marked function runs.

Import this before torch: the `spaces` package must come first to stand in for CUDA. Elsewhere
nothing here has an effect.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

# The package's own rule
ON_ZEROGPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
# A visitor with less quota left than a call asks for is refused; an answer takes about a second.
SECONDS_ASKED = 15

if ON_ZEROGPU:
    import spaces

Function = TypeVar("Function", bound=Callable[..., object])


def on_gpu(function: Function) -> Function:
    """Marks a function that needs the GPU; the function itself where there is no ZeroGPU.

    It runs in another process there, from which errors come back without their words. Those for
    the person who asked, which are ValueErrors, are therefore carried back as answers.
    """
    if not ON_ZEROGPU:
        return function

    @spaces.GPU(duration=SECONDS_ASKED)
    @functools.wraps(function)
    def answer_or_error(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ValueError as error:
            return error

    @functools.wraps(function)
    def answer(*arguments: Any) -> Any:
        result = answer_or_error(*arguments)
        if isinstance(result, ValueError):
            raise result
        return result

    return cast(Function, answer)
