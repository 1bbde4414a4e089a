"""Reads past the page cache of what is not in it.

A file that nobody read lately would fill fresh pages, and those are dear on a virtual machine: 0.5-2.4 CPU seconds a GB, by
O_DIRECT 0.04.  See lamina/storage/IO.md.
"""

from __future__ import annotations

import ctypes
import os
from io import FileIO

from lamina.storage.mapping import mostly_cached

_LEAST = 128 << 10  # what is smaller is not worth the questions
_SECTOR = 512  # what tars align to; a disk of 4096 refuses what does not suit it, and is then read the plain way


class DirectReads:
    """Reads of the file `fd` by O_DIRECT, through a descriptor of its own that is opened when it is first of use.

    Nothing here fails: 0 says that the plain way is to be taken, whose errors are the ones to tell.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._file: FileIO | None = None
        self._usable = True

    def read(self, buffer: memoryview, wanted: int, offset: int) -> int:
        """Up to `wanted` bytes or a few more, if there is room in the buffer to fill whole sectors."""
        if not self._usable or wanted < _LEAST or (offset | _address(buffer)) % _SECTOR:
            return 0
        length = min(wanted + -wanted % _SECTOR, len(buffer) - len(buffer) % _SECTOR)
        if mostly_cached(self._fd, offset, length):
            return 0
        try:
            if self._file is None:
                self._file = _reopened(self._fd)
            return os.preadv(self._file.fileno(), [buffer[:length]], offset)
        except OSError:  # not on this file system, not for us, not so aligned, no descriptor left
            self.close()
            return 0

    def close(self) -> None:
        self._usable = False
        if self._file is not None:
            self._file.close()
            self._file = None


def _address(buffer: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _reopened(fd: int) -> FileIO:
    """The same file again, for O_DIRECT.  OSError."""
    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC | os.O_NONBLOCK)

    file = FileIO(f"/proc/self/fd/{fd}", opener=opener)
    if not os.path.samestat(os.fstat(fd), os.fstat(file.fileno())):
        file.close()
        raise OSError("another file")
    return file
