"""`open_source`: from a path, a descriptor or a stream to an `ArchiveSource`."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from lamina.archive.members import DirectoryMembers, Place, TarMembers
from lamina.archive.oci_layout import LAYOUT, check_layout
from lamina.archive.region import Region
from lamina.archive.source import ArchiveSource
from lamina.archive.taking import fetch_from, take_members
from lamina.archive.walk import FileInput, walk
from lamina.content import Intake, Reader
from lamina.content.inflate import SNIFF_SIZE, InflatingReader, PrefixReader, peek, read_up_to, sniff
from lamina.errors import ArchiveError, NotFound, StorageError, UsageError


class Readable(Protocol):
    """A binary stream: a pipe's or socket's file object, `io.BytesIO`, ..."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


def open_source(
    source: str | os.PathLike[str] | int | Readable, *, intake: Intake | None = None
) -> ArchiveSource:
    """The image archive in a file, in a directory (an OCI layout), or in an open descriptor or stream.

    A plain tar in a seekable file is read where it lies.  Anything else, compressed files among them, is read
    through at once: what is no small document goes to `intake` as it comes, and is claimed later by those who
    ask for it; without an intake that is a `UsageError`.

    `NotFound`, `StorageError`: the file is not there or cannot be read.  `ArchiveError` and the other kinds of
    `InvalidContent`, `LimitExceeded`: it is no image archive, or a damaged one.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source), intake)
    if isinstance(source, int):
        return _open_fd(_File(os.dup(source), f"file descriptor {source}"), intake)
    name = getattr(source, "name", None)
    where = name if isinstance(name, str) else "the stream"
    fd = _regular(source)
    if fd is not None:
        return _open_fd(_File(os.dup(fd), where), intake)
    return _open_stream(_StreamReader(source, where), where, intake, _Nothing())


def plain_size(path: Path) -> int | None:
    """About how many bytes there are to be read, of a layout or a plain tar, which are read where they lie; None for
    what is taken in as it is opened, and for what cannot be looked at."""
    try:
        if path.is_dir():
            return sum(blob.stat().st_size for blob in path.glob("blobs/*/*"))
        return None if not path.is_file() or sniff(_head(path)) else path.stat().st_size
    except OSError:
        return None


def archives_in(path: Path) -> list[Path]:
    """The files of a directory, in the order of their names, that look like image archives, and the layouts in it.

    None for what is no directory, a layout itself, or cannot be read.
    """
    try:
        if not path.is_dir() or (path / LAYOUT).exists():
            return []
        return [each for each in sorted(path.iterdir()) if not each.name.startswith(".") and _is_archive(each)]
    except OSError:
        return []


def _is_archive(path: Path) -> bool:
    if path.is_dir():
        return (path / LAYOUT).is_file()
    if not path.is_file():
        return False
    try:
        head = _head(path)
    except OSError:
        return True  # to be opened, which says what is wrong with it
    return bool(sniff(head)) or head[257:262] == b"ustar"


def _head(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(512)


class _File:
    """An open file that is closed with the source, and its size when it was opened."""

    def __init__(self, fd: int, where: str) -> None:
        self.fd, self.where = fd, where
        self.mode = os.fstat(fd).st_mode
        self.size = os.fstat(fd).st_size

    def check_unchanged(self) -> None:
        if stat.S_ISREG(self.mode) and os.fstat(self.fd).st_size != self.size:
            raise ArchiveError("the file changed its size while it was read", self.where, "try again")

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _Nothing:
    """What a directory or somebody else's stream holds."""

    def check_unchanged(self) -> None:
        """Nothing to hold on to: digests tell."""

    def close(self) -> None:
        """Nothing to close."""


class _FdReader:
    """A pipe or terminal as a `Reader`; the descriptor stays with its `_File`."""

    size = None

    def __init__(self, file: _File) -> None:
        self._file = file

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return os.readv(self._file.fd, [buffer])
        except OSError as error:
            raise StorageError(f"cannot read: {error.strerror}", self._file.where) from error

    def close(self) -> None:
        """Closed with the file."""


class _StreamReader:
    """A Python stream as a `Reader`; it stays open."""

    size = None

    def __init__(self, stream: Readable, where: str) -> None:
        # `readinto` of a buffered stream waits until the buffer is full, 2 MiB behind what has arrived.
        self._readinto: Callable[[memoryview], int | None] = getattr(stream, "readinto1", stream.readinto)
        self._where = where

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = self._readinto(buffer)
        except OSError as error:
            raise StorageError(f"cannot read: {error.strerror}", self._where) from error
        if count is None:
            raise UsageError("a stream that does not wait for its data", self._where)
        return count

    def close(self) -> None:
        """It is the caller's."""


def _regular(stream: Readable) -> int | None:
    """The descriptor of a stream over a regular file from which nothing was read ahead, else None."""
    if not isinstance(stream, io.IOBase):
        return None
    try:
        fd = stream.fileno()
    except io.UnsupportedOperation:
        return None
    regular = stat.S_ISREG(os.fstat(fd).st_mode)
    return fd if regular and stream.tell() == os.lseek(fd, 0, os.SEEK_CUR) else None


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """What the system says of opening a file, as `NotFound` and `StorageError`."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("no such file", path) from None
    except OSError as error:
        raise StorageError(f"cannot open: {error.strerror}", path) from error


def _open_path(path: Path, intake: Intake | None) -> ArchiveSource:
    with opening(path):
        if path.is_dir():
            return _open_directory(path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return _open_fd(_File(fd, str(path)), intake)


def _open_directory(path: Path) -> ArchiveSource:
    # That it may not be read shows here, where it can be told from its being no layout.
    os.scandir(path).close()
    members = DirectoryMembers(path)
    check_layout(members)
    return ArchiveSource(members, fetch_from(None), _Nothing())


def _open_fd(file: _File, intake: Intake | None) -> ArchiveSource:
    try:
        if stat.S_ISDIR(file.mode):
            raise ArchiveError("a directory, which can only be opened by its path", file.where)
        if not stat.S_ISREG(file.mode):
            return _open_stream(_FdReader(file), file.where, intake, file)
        base = os.lseek(file.fd, 0, os.SEEK_CUR)
        region = Region(file.fd, base, max(file.size - base, 0), file.where)
        kind = sniff(peek(region)[0])
        if kind:
            return _open_tar_stream(InflatingReader(region, kind, file.where), file.where, intake, file)
        return _open_file(file, base, region.size)
    except BaseException:
        file.close()
        raise


def _open_file(file: _File, base: int, size: int) -> ArchiveSource:
    if not size:
        raise ArchiveError("no image archive: it is empty", file.where)

    def opener(place: Place, size: int) -> Reader:
        if not isinstance(place, int):
            raise TypeError("members of a file lie in it")
        return Region(file.fd, base + place, size, file.where)

    members = TarMembers(file.where, opener)
    for entry, _ in walk(FileInput(file.fd, base, size, file.where), file.where):
        members.add(entry, entry.offset)
    return ArchiveSource(members, fetch_from(None), file)


def _open_stream(reader: Reader, where: str, intake: Intake | None, held: _File | _Nothing) -> ArchiveSource:
    head = read_up_to(reader, SNIFF_SIZE)
    if not head:
        raise ArchiveError("no image archive: it is empty", where)
    reader = PrefixReader(head, reader)
    kind = sniff(head)
    return _open_tar_stream(InflatingReader(reader, kind, where) if kind else reader, where, intake, held)


def _open_tar_stream(
    reader: Reader, where: str, intake: Intake | None, held: _File | _Nothing
) -> ArchiveSource:
    with closing(reader):
        if intake is None:
            raise UsageError("a compressed archive or a stream needs a place to take it in", where)
        members = take_members(reader, where, intake)
    return ArchiveSource(members, fetch_from(intake), held)
