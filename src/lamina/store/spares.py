"""Buffers that a session leaves to the next one of the same process.

Fresh pages are the dearest thing on a virtual machine (2 CPU seconds a GB), and a server makes a session for each blob: a layer
of 100 MB touched 40 MB of new buffers, a tenth of its CPU time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

MOST: Final = 32 << 20  # bytes: of one lane, and some frames


class Spares:
    """Usable from several threads.  What is given is used by nobody any more."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._lock = threading.Lock()
        self._free: dict[int, list[U8]] = {}  # by size
        self._held = 0
        self._touched = 0.0

    def take(self, size: int) -> U8 | None:
        """One of exactly that size, if there is one; what is in it is anything."""
        with self._lock:
            self._touched = self._clock()
            fitting = self._free.get(size)
            if not fitting:
                return None
            self._held -= size
            return fitting.pop()

    def give(self, buffers: Iterable[U8]) -> None:
        """Keep as many of them as there is room for."""
        with self._lock:
            self._touched = self._clock()
            for each in buffers:
                if self._held + len(each) <= self._most:
                    self._free.setdefault(len(each), []).append(each)
                    self._held += len(each)

    def tend(self, seconds: float) -> None:
        """Let go of all if none was asked for in so long."""
        with self._lock:
            if self._clock() - self._touched > seconds:
                self._free.clear()
                self._held = 0


SPARES: Final = Spares()
