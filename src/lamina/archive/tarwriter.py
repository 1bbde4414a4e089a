"""Writes the outer tar of an archive: the same members give the same bytes."""

from __future__ import annotations

import tarfile
from typing import Protocol, runtime_checkable

from lamina.archive.output import translated
from lamina.content import Reader

_BLOCK = 512
_BUFFER = 1 << 20
_ZEROS = bytes(_BLOCK)


class Writer(Protocol):
    """Anything that takes bytes: a file, a pipe, a socket's file object."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some or all; how many, or None for all."""


@runtime_checkable
class Roomy(Protocol):
    """A writer whose next bytes may be put into its own buffer: each byte is copied once less."""

    def write(self, data: memoryview, /) -> int | None:
        """As any writer's."""

    def room(self) -> memoryview:
        """Where they go, never empty."""

    def filled(self, count: int) -> None:
        """So many of them are there."""


class _Buffered:
    """Room for any writer."""

    def __init__(self, tar: TarWriter) -> None:
        self._tar = tar
        self._buffer = memoryview(bytearray(_BUFFER))

    def room(self) -> memoryview:
        return self._buffer

    def filled(self, count: int) -> None:
        self._tar.write(self._buffer[:count])


class TarWriter:
    """Members of mode 0644, owner 0, time 0; sizes of 8 GiB and more in PAX records, which all readers know.

    The caller's errors pass through; those of `out` become `StorageError`, except for a broken pipe.
    """

    def __init__(self, out: Writer) -> None:
        self._out = out
        self._room: Roomy | _Buffered = out if isinstance(out, Roomy) else _Buffered(self)

    def directory(self, name: str) -> None:
        """A directory; its name ends in a slash."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self.write(info.tobuf(tarfile.PAX_FORMAT))

    def document(self, name: str, data: bytes) -> None:
        """A file from memory."""
        self._header(name, len(data))
        self.write(data)
        self._pad(len(data))

    def file(self, name: str, size: int, reader: Reader) -> None:
        """A file of `size` bytes, which the reader must have (a `VerifyingReader` raises otherwise)."""
        self._header(name, size)
        written = 0
        while count := reader.readinto(self._room.room()):
            with translated("the archive"):
                self._room.filled(count)
            written += count
        if written != size:
            raise ValueError(f"{name}: {written} bytes instead of {size}")
        self._pad(size)

    def finish(self) -> None:
        """The end of the archive; `out` stays open."""
        self.write(_ZEROS * 2)

    def _header(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        self.write(info.tobuf(tarfile.PAX_FORMAT))

    def _pad(self, size: int) -> None:
        if size % _BLOCK:
            self.write(_ZEROS[size % _BLOCK :])

    def write(self, data: bytes | memoryview) -> None:
        """Bytes as they are."""
        rest = memoryview(data)
        with translated("the archive"):
            while rest:
                count = self._out.write(rest)
                rest = rest[len(rest) if count is None else count :]
