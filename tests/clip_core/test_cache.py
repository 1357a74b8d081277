from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from clip_core.cache import FeatureCache


def test_keeps_what_was_asked_last() -> None:
    cache = FeatureCache(max_entries=2)
    first, second, third = (torch.tensor([float(i)]) for i in range(3))
    cache.put("first", first)
    cache.put("second", second)
    assert cache.get("first") is first  # now "second" is the one asked longest ago
    cache.put("third", third)
    assert cache.get("second") is None
    assert cache.get("first") is first
    assert cache.get("third") is third
    assert len(cache) == 2


def test_a_key_put_again_takes_one_place() -> None:
    cache = FeatureCache(max_entries=2)
    for value in (1.0, 2.0):
        cache.put("same", torch.tensor(value))
    assert len(cache) == 1
    assert cache.get("same") == torch.tensor(2.0)


def test_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="one entry"):
        FeatureCache(0)


def test_threads_stay_within_the_bound() -> None:
    cache = FeatureCache(max_entries=10)

    def use(number: int) -> bool:
        cache.put(number % 30, torch.tensor(number % 30))
        kept = cache.get(number % 30)
        return kept is None or int(kept) == number % 30

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(3000)))
    assert len(cache) == 10
