"""Runs a coroutine to its end, wherever it is asked.

Playwright's synchronous interface leaves a running event loop in the thread of the tests after
it, where `asyncio.run` refuses; a thread of its own has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, coroutine).result()
