"""A store of what was computed, bounded in bytes: what was not used for longest goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Kept:
    """Values by key, shared by all users of the page; each is computed once, one after another.

    Args:
        most_bytes: Of all values together; the newest is kept whatever its size.
        size_of: Bytes of a value.
    """

    def __init__(self, most_bytes: int, size_of: Callable[[Any], int]) -> None:
        self.most_bytes, self._size_of = most_bytes, size_of
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._access = threading.Lock()
        self._computing = threading.RLock()  # what is computed may need something else that is kept

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value of a key; computed if it is not there, while other computations wait."""
        found, value = self._look_up(key)
        if found:
            return value
        with self._computing:
            found, value = self._look_up(key)  # another user may have asked for the same
            if not found:
                value = compute()
                self._keep(key, value)
        return value

    @property
    def num_bytes(self) -> int:
        """Of all values that are kept."""
        with self._access:
            return sum(size for _, size in self._values.values())

    def _look_up(self, key: Hashable) -> tuple[bool, Any]:
        with self._access:
            if key not in self._values:
                return False, None
            self._values.move_to_end(key)
            return True, self._values[key][0]

    def _keep(self, key: Hashable, value: Any) -> None:
        with self._access:
            self._values[key] = (value, self._size_of(value))
            while len(self._values) > 1 and sum(size for _, size in self._values.values()) > self.most_bytes:
                self._values.popitem(last=False)
