"""Regions of files give the same bytes whichever way they are read."""

from __future__ import annotations

import errno
import mmap
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lamina.archive import direct
from lamina.archive.region import OwnedRegion, Region
from lamina.errors import ArchiveError
from lamina.store.stream import BODY, BufferPool

PAGE, SECTOR = mmap.PAGESIZE, 512
DATA = random.Random(4).randbytes((1 << 20) + 777)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    number = os.open(path, os.O_RDONLY)
    yield number
    os.close(number)


class Watched:
    """`os` with a `preadv` that notes which reads go past the page cache, or refuses them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
        self.direct: list[tuple[int, int]] = []  # offset, length
        self._preadv, self._code = os.preadv, code
        monkeypatch.setattr(direct.os, "preadv", self._read)
        monkeypatch.setattr(direct, "mostly_cached", lambda *_: False)
        monkeypatch.setattr(direct, "_reopened", self._reopened(direct._reopened))

    def _reopened(self, real: Callable[[int], direct.FileIO]) -> Callable[[int], direct.FileIO]:
        def reopened(fd: int) -> direct.FileIO:
            try:
                file = real(fd)
            except OSError:  # a temporary directory where O_DIRECT is refused: the way is the same without it
                file = direct.FileIO(f"/proc/self/fd/{fd}")
            self.fd = file.fileno()
            return file
        return reopened

    def _read(self, fd: int, buffers: list[memoryview], offset: int) -> int:
        if fd == getattr(self, "fd", None):
            self.direct.append((offset, len(buffers[0])))
            if self._code:
                raise OSError(self._code, os.strerror(self._code))
        return self._preadv(fd, buffers, offset)


def take(region: Region, start: int, step: int) -> bytes:
    """All of a region, by reads of up to `step` bytes that begin `start` bytes after a page."""
    memory = mmap.mmap(-1, start + step)
    found = bytearray()
    with memoryview(memory) as whole, whole[start:] as view:
        while count := region.readinto(view):
            found += view[:count]
    memory.close()
    return bytes(found)


def descriptors(path: Path) -> int:
    """How many descriptors of a file are open here."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += entry.readlink() == path
    return found


@pytest.mark.parametrize("step", [256 << 10, (256 << 10) + 100, 4 << 20])
@pytest.mark.parametrize("start", [0, SECTOR, 100])
@pytest.mark.parametrize("offset", [0, SECTOR, PAGE, PAGE + 2 * SECTOR, 1000])
@pytest.mark.parametrize("cut", [0, 777, 3000])
def test_every_alignment_gives_the_same_bytes(fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              offset: int, start: int, step: int, cut: int) -> None:
    watched = Watched(monkeypatch)
    size = len(DATA) - offset - cut
    assert take(Region(fd, offset, size, "file"), start, step) == DATA[offset : offset + size]
    assert descriptors(tmp_path / "file") == 1  # the other is closed at the end, without `close`
    assert bool(watched.direct) == (offset % SECTOR == 0 == start % SECTOR)
    assert all(at % SECTOR == 0 == length % SECTOR for at, length in watched.direct)


def test_the_last_bytes_come_with_the_sector_that_they_are_in(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    size = len(DATA) - 1100
    assert take(Region(fd, 0, size, "file"), 0, 4 << 20) == DATA[:size]
    assert watched.direct == [(0, size + -size % SECTOR)]


def test_buffers_of_a_pool_suit_what_lies_in_a_tar(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    region = Region(fd, 3 * SECTOR, 900_000, "file")
    found = b"".join(bytes(filled.view) for filled in BufferPool(PAGE).read(region))
    assert found == DATA[3 * SECTOR : 3 * SECTOR + 900_000]
    assert [at for at, _ in watched.direct] == [3 * SECTOR]
    assert BODY % PAGE == 0  # so that what follows is aligned like the first


def test_what_is_cached_is_read_the_plain_way(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    asked: list[tuple[int, int]] = []

    def cached(_: int, offset: int, length: int) -> bool:
        asked.append((offset, length))
        return offset % (512 << 10) != 0  # every second piece

    monkeypatch.setattr(direct, "mostly_cached", cached)
    assert take(Region(fd, 0, 1 << 20, "file"), 0, 256 << 10) == DATA[: 1 << 20]
    assert asked == [(at << 18, 256 << 10) for at in range(4)]
    assert watched.direct == [(0, 256 << 10), (512 << 10, 256 << 10)]


def test_small_pieces_are_read_the_plain_way(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    assert take(Region(fd, 0, 60_000, "file"), 0, 1 << 20) == DATA[:60_000]
    assert not watched.direct


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_refused_read_is_made_the_plain_way_from_then_on(fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               code: int) -> None:
    watched = Watched(monkeypatch, code)
    assert take(Region(fd, 0, len(DATA), "file"), 0, 256 << 10) == DATA
    assert len(watched.direct) == 1
    assert descriptors(tmp_path / "file") == 1


def test_a_file_that_cannot_be_opened_so_is_read_the_plain_way(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    tries: list[int] = []

    def refused(fd: int) -> direct.FileIO:
        tries.append(fd)
        raise OSError(errno.EINVAL, "refused")

    monkeypatch.setattr(direct, "_reopened", refused)
    assert take(Region(fd, 0, len(DATA), "file"), 0, 256 << 10) == DATA
    assert tries == [fd]
    assert not watched.direct


def test_another_file_is_not_taken_for_it(fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_bytes(bytes(10))
    real = os.open
    monkeypatch.setattr(direct.os, "open", lambda _, flags: real(tmp_path / "other", flags & ~os.O_DIRECT))
    with pytest.raises(OSError, match="another file"):
        direct._reopened(fd)
    assert descriptors(tmp_path / "other") == 0


def test_a_file_that_shrinks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    path = tmp_path / "file"
    path.write_bytes(DATA)
    region = OwnedRegion(os.open(path, os.O_RDONLY), path)
    memory = mmap.mmap(-1, 256 << 10)
    with memoryview(memory) as view:
        assert region.readinto(view) == 256 << 10
        os.truncate(path, 300_000)
        assert region.readinto(view) == 300_000 - (256 << 10)  # what is there yet, by O_DIRECT too
        with pytest.raises(ArchiveError, match="became shorter"):
            region.readinto(view)
        with pytest.raises(ArchiveError, match="changed its size"):
            region.check_unchanged()
    assert len(watched.direct) == 2
    assert descriptors(path) == 2
    region.close()
    assert descriptors(path) == 0
    region.close()
