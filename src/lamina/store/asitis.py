"""Blobs that lie in packs as they are: what is kept verbatim can be given away by the kernel, without a look at it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from lamina.content import Run
from lamina.errors import StorageError
from lamina.storage.problems import storage_errors

if TYPE_CHECKING:
    from lamina.storage import ReadHandle
    from lamina.store.packs import Packs


Places: TypeAlias = npt.NDArray[np.int64]  # rows of (number, offset, length), as `assemble.Place`


def cut(places: Places, start: int, stop: int) -> Places:
    """The bytes from `start` to `stop` (not included) of what lies at these places; no copy where that is all of them."""
    ends = np.cumsum(places[:, 2])
    begins = ends - places[:, 2]
    first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(begins, stop, "left"))
    if start >= stop or first >= last:
        return places[:0]
    skip, over = max(0, start - int(begins[first])), max(0, int(ends[last - 1]) - stop)
    found = places[first:last]
    if skip or over:
        found = found.copy()
        found[0, 1:] += (skip, -skip)
        found[-1, 2] -= over
    return found


class _Runs(Sequence[Run]):
    """Made when asked for, best by slices: of a layer of 4 GB there are 60,000, and it may be on its way to many."""

    def __init__(self, places: Places, files: Mapping[int, int]) -> None:
        self._places, self._files = places, files

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int, /) -> Run: ...

    @overload
    def __getitem__(self, at: slice, /) -> list[Run]: ...

    def __getitem__(self, at: int | slice, /) -> Run | list[Run]:
        if not isinstance(at, slice):
            at = range(len(self))[at]  # IndexError, and from the end
            return self[at : at + 1][0]
        return [Run(self._files[number], offset, length) for number, offset, length in self._places[at].tolist()]


class AsItIs:
    """The bytes at these places: a `Reader`, and `FileRuns`.  Nothing is checked: that they are right is the caller's to know.

    `StoreDamaged` if a pack is not there.
    """

    def __init__(self, packs: Packs, places: Places) -> None:
        self._handles: dict[int, ReadHandle] = {number: packs.handle(number) for number in set(places[:, 0].tolist())}
        self._runs: Sequence[Run] = _Runs(places, {number: handle.fileno() for number, handle in self._handles.items()})
        self._size = int(places[:, 2].sum())
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
