"""The members of an archive's outer tar, one after another, from a file or from a stream.

The tar scanner is fed headers only: contents are passed over, in a file by seeking, so that opening an archive
of 20 GB reads a few blocks of it.  The walk ends, as Go's archive/tar does, at two blocks of zeros; what
follows them is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lamina._native.tarscan import Column, EntryColumns, TarScanner
from lamina.archive.region import read_at
from lamina.content import Reader
from lamina.errors import ArchiveError, LimitExceeded

# `docker save` writes 4 members a layer: this is 100 images of 127 layers twice over.  A member costs about 300
# bytes, so 30 MB in all.
MAX_MEMBERS = 100_000

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
# Headers lie far apart in a file: a window of this size holds a header and the small documents around it.
_WINDOW = 64 * 1024

FILE, HARDLINK, SYMLINK = b"0"[0], b"1"[0], b"2"[0]


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: its typeflag as the scanner tells it, and where its content lies in the tar."""

    name: str
    kind: int
    size: int
    offset: int
    link: str
    sparse: bool


class Input(Protocol):
    """The bytes of a tar in order."""

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end."""

    def readinto(self, buffer: memoryview) -> int:
        """Up to len(buffer) next bytes, 0 at the end."""

    def skip(self, size: int) -> int:
        """Pass over `size` bytes; how many there were."""


class FileInput:
    """`size` bytes from `base` of an open file."""

    def __init__(self, fd: int, base: int, size: int, where: object) -> None:
        self._fd, self._base, self._size, self._where = fd, base, size, where
        self._buffer = memoryview(bytearray(_WINDOW))
        self._start = self._filled = self._at = 0

    def read(self, size: int) -> bytes:
        end = min(self._at + size, self._size)
        if not self._start <= self._at <= end <= self._start + self._filled:
            self._fill()
            end = min(end, self._start + self._filled)
        data = bytes(self._buffer[self._at - self._start : end - self._start])
        self._at = end
        return data

    def readinto(self, buffer: memoryview) -> int:
        wanted = min(len(buffer), self._size - self._at)
        count = read_at(self._fd, buffer[:wanted], self._base + self._at, self._where) if wanted else 0
        self._at += count
        return count

    def skip(self, size: int) -> int:
        count = min(size, self._size - self._at)
        self._at += count
        return count

    def _fill(self) -> None:
        self._start, self._filled = self._at, 0
        window = self._buffer[: self._size - self._at]
        while len(window) > self._filled:
            rest = window[self._filled :]
            count = read_at(self._fd, rest, self._base + self._start + self._filled, self._where)
            if not count:
                raise ArchiveError("the file became shorter while it was read", self._where, "try again")
            self._filled += count


class StreamInput:
    """The bytes of a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._buffer = memoryview(bytearray(_WINDOW))
        self._start = self._end = 0

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (self._start < self._end or self._fill()):
            end = min(self._start + size - len(data), self._end)
            data += self._buffer[self._start : end]
            self._start = end
        return data

    def readinto(self, buffer: memoryview) -> int:
        if self._start == self._end:
            return self._reader.readinto(buffer)
        count = min(len(buffer), self._end - self._start)
        buffer[:count] = self._buffer[self._start : self._start + count]
        self._start += count
        return count

    def skip(self, size: int) -> int:
        left = size
        while left and (self._start < self._end or self._fill()):
            count = min(left, self._end - self._start)
            self._start += count
            left -= count
        return size - left

    def _fill(self) -> int:
        self._start, self._end = 0, self._reader.readinto(self._buffer)
        return self._end


class Content:
    """What is left of the current member's content, as a `Reader`; `ArchiveError` where the archive ends."""

    def __init__(self, source: Input, entry: Entry, where: object) -> None:
        self._input, self._entry, self._where = source, entry, where
        self.left = entry.size

    @property
    def size(self) -> int:
        return self._entry.size

    def readinto(self, buffer: memoryview, /) -> int:
        if not self.left:
            return 0
        count = self._input.readinto(buffer[: self.left])
        if not count:
            raise self._short()
        self.left -= count
        return count

    def close(self) -> None:
        """Nothing to let go of: the walk passes over what was not read."""

    def pass_over(self) -> None:
        """Go to the end of the content."""
        self.left -= self._input.skip(self.left)
        if self.left:
            raise self._short()

    def _short(self) -> ArchiveError:
        size, there = self._entry.size, self._entry.size - self.left
        what = f"member {show(self._entry.name)} announces {size} bytes and the archive ends after {there}"
        return ArchiveError(what, self._where, "it is cut short: get it again")


def walk(source: Input, where: object) -> Iterator[tuple[Entry, Content]]:
    """The members and their contents, each of which is there until the next one is asked for.

    `ArchiveError`: the archive ends inside a member, or is no tar (any more); `LimitExceeded`: more than
    `MAX_MEMBERS`.
    """
    scanner = TarScanner(inline_limit=0)
    zeros = members = 0
    in_header = False
    while block := source.read(_BLOCK - scanner.position % _BLOCK):
        scanner.feed(block)
        if scanner.content_left < 0:
            raise _no_tar(scanner.position, block, where)
        if scanner.pending:
            break
        if scanner.entries_ready:
            entry = _entry(scanner.take_entries(), scanner.content_left)
            members += 1
            if members > MAX_MEMBERS:
                hint = "a root file system is read by 'lamina import'"
                raise LimitExceeded(f"more than {MAX_MEMBERS} members, which no image archive has", where, hint)
            content = Content(source, entry, where)
            yield entry, content
            content.pass_over()
            if entry.size:
                scanner.skip(entry.size)
            _pass_padding(scanner, source, entry, where)
            in_header, zeros = False, 0
        elif block == _ZEROS:
            zeros += 1
            if zeros == 2:
                return
        else:
            in_header, zeros = True, 0
    if scanner.pending and not scanner.position:
        raise _no_tar(0, block, where)
    if scanner.pending or in_header:
        hint = "it is cut short: get it again"
        raise ArchiveError(f"the archive ends inside a header, at byte {scanner.position}", where, hint)


def _pass_padding(scanner: TarScanner, source: Input, entry: Entry, where: object) -> None:
    padding = -scanner.position % _BLOCK
    if not padding:
        return
    block = source.read(padding)
    if len(block) < padding:
        what = f"the archive ends behind member {show(entry.name)}"
        raise ArchiveError(what, where, "it is cut short: get it again")
    scanner.feed(block)


def show(name: str) -> str:
    """A member's name for a message: quoted, of bounded length, without control characters or raw bytes."""
    return repr(name if len(name) <= 160 else name[:157] + "...")


def _entry(columns: EntryColumns | None, size: int) -> Entry:
    if columns is None:
        raise ValueError("no entry is ready")
    sparse = bool(columns.sparse.data) or columns.size[0] != columns.stored[0]
    path, link = _text(columns.path), _text(columns.link)
    return Entry(path, int(columns.kind[0]), size, int(columns.offset[0]), link, sparse)


def _text(column: Column) -> str:
    return column.data[column.starts[0] : column.starts[1]].decode("utf-8", "surrogateescape")


def _no_tar(position: int, block: bytes, where: object) -> ArchiveError:
    if position <= _BLOCK:
        return ArchiveError(f"no image archive: {describe(block)}", where, "a tar or an OCI layout is wanted")
    return ArchiveError(f"the archive is damaged at byte {position - len(block)}", where, "get it again")


_LOOKS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program (ELF)"),
    (b"hsqs", "a squashfs file system"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "lz4 data"),
    (b"SIMG", "a Singularity image"),
    (b"!<arch>", "an ar archive"),
    (b"#!", "a script"),
)


def describe(head: bytes) -> str:
    """What the first bytes of something look like, in a few words."""
    for magic, what in _LOOKS:
        if head.startswith(magic):
            return f"it looks like {what}"
    text = head.lstrip()
    if text[:1] in (b"{", b"["):
        return "it looks like JSON"
    if text[:1] == b"<":
        return "it looks like HTML or XML"
    return f"it begins with {head[:16]!r}"
