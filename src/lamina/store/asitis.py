"""Blobs that lie in packs as they are: what is kept verbatim can be given away by the kernel, without a look at it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina.content import Run
from lamina.errors import StorageError
from lamina.storage.problems import storage_errors
from lamina.store.assemble import Place

if TYPE_CHECKING:
    from lamina.storage import ReadHandle
    from lamina.store.packs import Packs


def cut(places: npt.NDArray[np.int64], start: int, stop: int) -> list[Place]:
    """The bytes from `start` to `stop` (not included) of what lies at these places: rows of (number, offset, length)."""
    ends = np.cumsum(places[:, 2])
    begins = ends - places[:, 2]
    first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(begins, stop, "left"))
    if start >= stop or first >= last:
        return []
    found = places[first:last].copy()
    skip = max(0, start - int(begins[first]))
    found[0, 1:] += (skip, -skip)
    found[-1, 2] -= max(0, int(ends[last - 1]) - stop)
    return [Place(*row) for row in found.tolist()]


class AsItIs:
    """The bytes at these places: a `Reader`, and `FileRuns`.  Nothing is checked: that they are right is the caller's to know.

    `StoreDamaged` if a pack is not there.
    """

    def __init__(self, packs: Packs, places: Sequence[Place]) -> None:
        self._handles: dict[int, ReadHandle] = {number: packs.handle(number) for number in {each.number for each in places}}
        self._runs = [Run(self._handles[number].fileno(), offset, length) for number, offset, length in places]
        self._size = sum(run.length for run in self._runs)
        self._at = self._done = 0  # runs that are through, bytes of the next one

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._size

    def runs(self) -> Sequence[Run]:
        """Where they are; the files stay open until it is closed."""
        return self._runs

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes; 0 only at the end."""
        if self._at == len(self._runs):
            return 0
        fd, offset, length = self._runs[self._at]
        with storage_errors("read", "a pack"):
            count = os.preadv(fd, [buffer[: length - self._done]], offset + self._done)
        if not count and len(buffer):
            raise StorageError("a pack has become shorter", offset, "run lamina verify")
        self._done += count
        if self._done == length:
            self._at, self._done = self._at + 1, 0
        return count

    def close(self) -> None:
        """Let go of the files."""
        self._runs, self._at = [], 0
        self._handles.clear()
