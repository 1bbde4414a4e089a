"""Writes the outer tar of an archive: the same members give the same bytes."""

from __future__ import annotations

import tarfile
from typing import Protocol

from lamina.archive.output import translated
from lamina.content import Reader

_BLOCK = 512
_BUFFER = 1 << 20
_ZEROS = bytes(_BLOCK)


class Writer(Protocol):
    """Anything that takes bytes: a file, a pipe, a socket's file object."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some or all; how many, or None for all."""


class TarWriter:
    """Members of mode 0644, owner 0, time 0; sizes of 8 GiB and more in PAX records, which all readers know.

    The caller's errors pass through; those of `out` become `StorageError`, except for a broken pipe.
    """

    def __init__(self, out: Writer) -> None:
        self._out = out
        self._buffer = memoryview(bytearray(_BUFFER))

    def directory(self, name: str) -> None:
        """A directory; its name ends in a slash."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self._write(info.tobuf(tarfile.PAX_FORMAT))

    def document(self, name: str, data: bytes) -> None:
        """A file from memory."""
        self._header(name, len(data))
        self._write(data)
        self._pad(len(data))

    def file(self, name: str, size: int, reader: Reader) -> None:
        """A file of `size` bytes, which the reader must have (a `VerifyingReader` raises otherwise)."""
        self._header(name, size)
        written = 0
        while count := reader.readinto(self._buffer):
            self._write(self._buffer[:count])
            written += count
        if written != size:
            raise ValueError(f"{name}: {written} bytes instead of {size}")
        self._pad(size)

    def finish(self) -> None:
        """The end of the archive; `out` stays open."""
        self._write(_ZEROS * 2)

    def _header(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        self._write(info.tobuf(tarfile.PAX_FORMAT))

    def _pad(self, size: int) -> None:
        if size % _BLOCK:
            self._write(_ZEROS[size % _BLOCK :])

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        with translated("the archive"):
            while rest:
                count = self._out.write(rest)
                rest = rest[len(rest) if count is None else count :]
