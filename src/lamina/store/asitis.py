"""Blobs that lie in packs as they are: what is kept verbatim can be given away by the kernel, without a look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lamina.content import Run
from lamina.errors import StorageError
from lamina.storage.problems import storage_errors

if TYPE_CHECKING:
    from lamina.storage import ReadHandle
    from lamina.store.assemble import Place
    from lamina.store.packs import Packs


def cut(places: Sequence[Place], start: int, stop: int) -> Iterator[Place]:
    """The bytes from `start` to `stop` (not included) of what lies at these places."""
    for place in places:
        size = place.length
        first, last = max(start, 0), min(stop, size)
        if first < last:
            yield place._replace(offset=place.offset + first, length=last - first)
        start, stop = start - size, stop - size


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
