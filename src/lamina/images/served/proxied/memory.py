"""What is known for a while, of a bounded number of things."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

FRESH: Final = 60.0  # seconds in which a tag, or a list, is not asked for again

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The last `most` values that were put, each for `seconds`.  For several threads."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, if it is not over."""
        with self._lock:
            found = self._values.get(key)
            return found[1] if found is not None and self._clock() - found[0] < self._seconds else None

    def put(self, key: K, value: V) -> None:
        """Keep it, in place of the one before."""
        with self._lock:
            self._values[key] = self._clock(), value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget it."""
        with self._lock:
            self._values.pop(key, None)


class Alone:
    """One thread at a time for each key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, tuple[threading.Lock, int]] = {}

    @contextmanager
    def at(self, key: Hashable) -> Iterator[None]:
        """Wait for whoever has the key."""
        with self._lock:
            lock, count = self._waiting.get(key, (threading.Lock(), 0))
            self._waiting[key] = lock, count + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                count = self._waiting[key][1] - 1
                if count:
                    self._waiting[key] = lock, count
                else:
                    del self._waiting[key]
