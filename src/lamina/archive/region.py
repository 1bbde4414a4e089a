"""Regions of an open file as readers: what lies in a seekable archive is read where it lies."""

from __future__ import annotations

import os

from lamina.archive.direct import DirectReads
from lamina.errors import ArchiveError, StorageError


def read_at(fd: int, buffer: memoryview, offset: int, where: object) -> int:
    """`preadv`, its failure as `StorageError`."""
    try:
        return os.preadv(fd, [buffer], offset)
    except OSError as error:
        raise StorageError(f"cannot read: {error.strerror}", where) from error


class Region:
    """`size` bytes from `offset` of the file `fd`, a `FileRegion`; the file stays with whoever opened it."""

    def __init__(self, fd: int, offset: int, size: int, where: object) -> None:
        self.fd, self.offset = fd, offset
        self._size, self._done, self._where = size, 0, where
        self._direct = DirectReads(fd)

    @property
    def size(self) -> int:
        return self._size

    def readinto(self, buffer: memoryview, /) -> int:
        wanted = min(len(buffer), self._size - self._done)
        if not wanted:
            return 0
        place = self.offset + self._done
        count = min(self._direct.read(buffer, wanted, place), wanted) or read_at(self.fd, buffer[:wanted], place, self._where)
        if not count:
            raise ArchiveError("the file became shorter while it was read", self._where, "try again")
        self._done += count
        if self._done == self._size:
            self._direct.close()
        return count

    def close(self) -> None:
        self._done = self._size
        self._direct.close()


class OwnedRegion(Region):
    """A whole file of its own, closed with the reader."""

    def __init__(self, fd: int, where: object) -> None:
        super().__init__(fd, 0, os.fstat(fd).st_size, where)

    def check_unchanged(self) -> None:
        """`ArchiveError` if the file became longer or shorter since it was opened."""
        if os.fstat(self.fd).st_size != self._size:
            raise ArchiveError("the file changed its size while it was read", self._where, "try again")

    def close(self) -> None:
        super().close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
