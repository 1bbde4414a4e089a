"""The members of an archive by name, wherever their bytes are: in the file, in memory, or taken in already."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from lamina.archive.region import OwnedRegion
from lamina.archive.walk import FILE, HARDLINK, SYMLINK, Entry, show
from lamina.content import Reader, Taken
from lamina.content.verify import read_all
from lamina.errors import ArchiveError, LimitExceeded, StorageError
from lamina.oci import MAX_BYTES

# As many links in a row as Linux follows.
_MAX_LINKS = 40
# Linux opens no longer path, but a tar may hold names of a megabyte; what has one cannot be claimed.
_MAX_NAME = 4096
# Characters of all names and links, which stay in memory: 100,000 of docker's take 8 million.
_MAX_NAMES = 32 << 20

# Where a member's content is: its offset in the archive, itself, or under its digest in the intake.
Place = int | bytes | Taken


class Members(Protocol):
    """Named content.  A path that leads out of the archive, or round in circles, is an `ArchiveError`."""

    where: object

    def has(self, path: str) -> bool:
        """Whether there is a regular file of that name, links followed."""

    def key(self, path: str) -> str:
        """The name of the file that `path` leads to in the end; `ArchiveError` when there is none."""

    def taken(self, path: str) -> Taken | None:
        """What the intake made of it, if it is there that the content is."""

    def open(self, path: str) -> Reader:
        """The content."""


def read_document(members: Members, path: str, what: str) -> bytes:
    """A document of at most 4 MiB, whole; `LimitExceeded`."""
    reader = members.open(path)
    try:
        return read_all(reader, MAX_BYTES)
    except LimitExceeded as error:
        hint = f"at most {MAX_BYTES} bytes are read"
        raise LimitExceeded(f"{what} {show(path)} is too large", members.where, hint) from error
    finally:
        reader.close()


class _Kind(Enum):
    FILE = auto()
    HARDLINK = auto()
    SYMLINK = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class _Member:
    kind: _Kind
    size: int
    link: str
    place: Place


class TarMembers:
    """The members of a tar; `opener` turns the place and size of a content into a reader."""

    def __init__(self, where: object, opener: Callable[[Place, int], Reader]) -> None:
        self.where = where
        self._opener = opener
        self._table: dict[str, _Member] = {}
        self._left = _MAX_NAMES

    def add(self, entry: Entry, place: Place) -> None:
        """Note a member; of one name the last counts, as when a tar is unpacked.  `LimitExceeded`."""
        name = normal(entry.name) if len(entry.name) <= _MAX_NAME else ""
        if not name:
            return
        kind = _kind(entry)
        link = entry.link if kind in (_Kind.SYMLINK, _Kind.HARDLINK) else ""
        if len(link) > _MAX_NAME:
            kind, link = _Kind.OTHER, ""
        self._left -= len(name) + len(link)
        if self._left < 0:
            hint = f"at most {_MAX_NAMES} characters are read"
            raise LimitExceeded("the names of all members are too long", self.where, hint)
        self._table[name] = _Member(kind, entry.size, link, place)

    def has(self, path: str) -> bool:
        member = self._table.get(self._resolve(path))
        return member is not None and member.kind is _Kind.FILE

    def key(self, path: str) -> str:
        return self._find(path)[0]

    def taken(self, path: str) -> Taken | None:
        place = self._find(path)[1].place
        return place if isinstance(place, Taken) else None

    def open(self, path: str) -> Reader:
        member = self._find(path)[1]
        return self._opener(member.place, member.size)

    def _find(self, path: str) -> tuple[str, _Member]:
        name = self._resolve(path)
        member = self._table.get(name)
        if member is None:
            through = "" if name == normal(path) else f" (a link to {show(name)})"
            raise ArchiveError(f"{show(path)}{through} is named but not there", self.where, "get it again")
        if member.kind is not _Kind.FILE:
            raise ArchiveError(f"{show(path)} is no regular file", self.where)
        return name, member

    def _resolve(self, path: str) -> str:
        """The name that a path leads to, links of its every part followed."""
        done: list[str] = []
        todo = self._parts(path, path)
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if not done:
                    raise ArchiveError(f"{show(path)} leads out of the archive", self.where)
                done.pop()
                continue
            done.append(part)
            member = self._table.get("/".join(done))
            if member is None or member.kind not in (_Kind.SYMLINK, _Kind.HARDLINK):
                continue
            links += 1
            if links > _MAX_LINKS:
                raise ArchiveError(f"the links of {show(path)} go round in a loop", self.where)
            # A symbolic link counts from its own directory, a hard link from the top of the archive.
            done = done[:-1] if member.kind is _Kind.SYMLINK else []
            todo += self._parts(member.link, path)
        return "/".join(done)

    def _parts(self, text: str, path: str) -> list[str]:
        """The parts of a path, the first one last."""
        if text.startswith("/"):
            raise ArchiveError(f"{show(path)} leads out of the archive", self.where)
        return [part for part in reversed(text.split("/")) if part not in ("", ".")]


def normal(name: str) -> str:
    """A member's name without `.` and empty parts; '' for one that would lie outside: nobody can claim it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        return ""
    return "/".join(parts)


def _kind(entry: Entry) -> _Kind:
    if entry.kind == FILE and not entry.sparse:
        return _Kind.FILE
    return {HARDLINK: _Kind.HARDLINK, SYMLINK: _Kind.SYMLINK}.get(entry.kind, _Kind.OTHER)


class DirectoryMembers:
    """The files of an OCI layout's directory.  Blobs may be symbolic links: their digests are checked."""

    def __init__(self, path: Path) -> None:
        self.where: object = path
        self._path = path

    def has(self, path: str) -> bool:
        return (self._path / path).is_file()

    def key(self, path: str) -> str:
        return path

    def taken(self, path: str) -> Taken | None:
        return None

    def open(self, path: str) -> Reader:
        try:
            return open_regular(self._path / path)
        except FileNotFoundError:
            raise ArchiveError(f"{show(path)} is named but not there", self.where) from None
        except OSError as error:
            raise StorageError(f"cannot read: {error.strerror}", self._path / path) from error


def open_regular(path: Path) -> OwnedRegion:
    """A regular file as a reader; never waits for the other end of a fifo.  OSError; `ArchiveError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ArchiveError("no regular file", path)
    return OwnedRegion(fd, path)
