"""A bounded cache for features, which forgets what was asked longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from torch import Tensor


class FeatureCache:
    """At most `max_entries` features, least recently used out first; safe to share by threads.

    Keys must mean content (a digest of a picture's pixels, the text of a prompt), never an object's
    identity, which a later object may be given again.
    """

    def __init__(self, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError(f"A cache needs room for one entry at least, not {max_entries}.")
        self.max_entries = max_entries
        self._entries: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Tensor | None:
        """The features kept under `key`, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: Hashable, features: Tensor) -> None:
        """Keeps features, and drops the least recently used ones beyond the bound."""
        with self._lock:
            self._entries[key] = features
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
