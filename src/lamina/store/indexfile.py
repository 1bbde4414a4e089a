"""One index file: an immutable table from chunk ids to (pack row, ordinal). INDEX.md has its bytes.

What is in a file is never believed: header and pack table are checksummed, slots are confirmed against pack
footers at every hit, so that a damaged slot can only hide a chunk.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina._native.chunkindex import NONE, SLOT_BYTES, PackIds, fill_table, lookup_table
from lamina.errors import StoreDamaged

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

SUFFIX: Final = ".idx"
TEMPORARY: Final = ".new-"
MAGIC: Final = b"lamidx\r\n"
VERSION: Final = 1

_HEADER = struct.Struct("<8sIIQQQQIIQ")
_CHECKSUM_AT = _HEADER.size
_PACKS_AT = _CHECKSUM_AT + 32
_PACK = struct.Struct("<16sI")
_ROW = np.dtype([("name", "V16"), ("chunks", "<u4")])  # the same
_PAGE = 4096
_TAIL = 1024  # slots behind the last home: at 75 % load runs stay below 500 slots even for 10^8 chunks


def random_multiplier() -> int:
    """An odd 64-bit number that nobody can foresee; see chunkindex.h."""
    return int.from_bytes(os.urandom(8), "little") | 1


def pack_row(name: bytes, chunks: int) -> bytes:
    """A pack as index files name it."""
    return _PACK.pack(name, chunks)


def pack_rows(names: Collection[bytes], chunks: Iterable[int]) -> list[bytes]:
    """`pack_row` of each: 30,000 packs are to be opened in milliseconds."""
    rows = np.empty(len(names), _ROW)
    rows["name"] = np.frombuffer(b"".join(names), "V16")
    rows["chunks"] = np.fromiter(chunks, np.uint32, len(names))
    return _sliced(rows.tobytes())


def _sliced(rows: bytes) -> list[bytes]:
    return [rows[at : at + _PACK.size] for at in range(0, len(rows), _PACK.size)]


def file_name(names: Sequence[bytes]) -> str:
    """The name of the file that covers these packs: who covers the same packs replaces the file."""
    return blake3(b"".join(sorted(names))).hexdigest()[:32] + SUFFIX


class IndexFile:
    """An open index file. `pack_map` (pack row -> pack number, NONE: not live) is the owner's to set.

    `rows` are the pack rows as they stand in the file (`pack_row`): a dict looks them up without a tuple for each.
    `table` is (homes, multiplier, reach), `used` the number of slots in use.
    """

    def __init__(
        self, path: Path, rows: list[bytes], mapped: mmap.mmap, slots_at: int, table: tuple[int, int, int], used: int
    ) -> None:
        self.path = path
        self.rows = rows
        self.chunks = int(np.frombuffer(b"".join(rows), _ROW)["chunks"].sum(dtype=np.int64))
        self.pack_map: U32 = np.full(len(rows), NONE, np.uint32)
        self._mapped = mapped
        self._slots = memoryview(mapped)[slots_at:]
        self._homes, self._multiplier, self._reach = self.table = table
        self.used = used

    @classmethod
    def open(cls, path: Path) -> IndexFile:
        """Maps a file; reads its header and pack table only.

        Raises StoreDamaged for what is no whole index file of this version, OSError for what cannot be read.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return cls._read(path, fd)
        finally:
            os.close(fd)

    @classmethod
    def _read(cls, path: Path, fd: int) -> IndexFile:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _damaged("not a file", path)
        head = os.pread(fd, _PACKS_AT, 0)
        if len(head) < _PACKS_AT:
            raise _damaged("an index file without a whole header", path)
        fields = _HEADER.unpack_from(head)
        magic, version, rows, chunks, homes, slots, multiplier, reach, zero, slots_at = fields
        if magic != MAGIC or version != VERSION:
            raise _damaged("not an index file of this version", path)
        if slots_at != _slots_at(rows) or status.st_size != slots_at + slots * SLOT_BYTES:
            raise _damaged("an index file of the wrong size", path)
        body = os.pread(fd, slots_at - _PACKS_AT, _PACKS_AT)
        if blake3(head[:_CHECKSUM_AT]).update(body).digest() != head[_CHECKSUM_AT:]:
            raise _damaged("an index file with a wrong checksum", path)
        if not 0 < homes <= slots or chunks > slots or zero or not multiplier & 1:
            raise _damaged("an index file that contradicts itself", path)
        packs = _sliced(body[: rows * _PACK.size])
        mapped = mmap.mmap(fd, status.st_size, access=mmap.ACCESS_READ)
        return cls(path, packs, mapped, slots_at, (homes, multiplier, reach), chunks)

    def close(self) -> None:
        """Unmaps it, without the interpreter's lock: a gigabyte takes a while. No look-up may be under way."""
        self._slots.release()
        self._mapped.close()

    @property
    def packs(self) -> list[tuple[bytes, int]]:
        """(name, chunks) of its packs."""
        return list(_PACK.iter_unpack(b"".join(self.rows)))

    def slots(self, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """Its slots, as they lie in the file.  To be let go of before it is closed."""
        return np.frombuffer(self._slots, dtype)

    def lookup(self, columns: PackIds, ids: U8, packs: U32, ordinals: U32, unmapped: U32) -> int:
        """`lookup_table` with this file's table."""
        return lookup_table(
            self._slots, self._homes, self._multiplier, self._reach, self.pack_map,
            columns, ids, packs, ordinals, unmapped,
        )  # fmt: skip


class Builder:
    """An index file that is being filled, pack by pack; it may be left and gone on with.

    The table is built in a mapping of the file, whose space is allocated first (a full disk is an OSError
    here, not a SIGBUS later): no anonymous memory, whatever the size. `done`: rows in it, slots used, reach.
    """

    def __init__(
        self, fd: int, packs: Sequence[tuple[bytes, int]], multiplier: int, done: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        chunks = sum(count for _, count in packs)
        self.packs, self.multiplier = packs, multiplier
        self.row, self.filled, self.reach = done
        self._fd = fd
        self._homes = max(1, (4 * chunks + 2) // 3)
        self._slots = self._homes + min(chunks, _TAIL + len(packs))
        self._at = _slots_at(len(packs))
        self.bytes = self._at + self._slots * SLOT_BYTES
        os.posix_fallocate(fd, 0, self.bytes)
        self._map = mmap.mmap(fd, self.bytes)

    def fill(self, ids: Callable[[int], U8], pause: Callable[[], bool] | None = None) -> bool:
        """Puts in the packs that are left; `ids(row)`: an id column. After each, `pause()` may say to stop.

        False: a run came to the end of the table (practically never); the file is useless, take another multiplier.
        """
        with memoryview(self._map) as view, view[self._at :] as table:
            while self.row < len(self.packs):
                name, count = self.packs[self.row]
                column = ids(self.row)
                if len(column) != count:
                    raise ValueError(f"pack {name.hex()} has {len(column)} ids instead of {count}")
                put = fill_table(table, self._homes, self.multiplier, self.row, column)
                if put is None:
                    return False
                self.row, self.filled, self.reach = self.row + 1, self.filled + put[0], max(self.reach, put[1])
                if pause is not None and pause():
                    break
        return True

    def finish(self) -> None:
        """Writes header and pack table, and syncs."""
        body = b"".join(_PACK.pack(*pack) for pack in self.packs).ljust(self._at - _PACKS_AT, b"\0")
        fields = (MAGIC, VERSION, len(self.packs), self.filled, self._homes, self._slots, self.multiplier, self.reach, 0,
                  self._at)
        header = _HEADER.pack(*fields)
        self._map[: self._at] = header + blake3(header).update(body).digest() + body
        self.close()
        os.fsync(self._fd)

    def close(self) -> None:
        """Lets go of the mapping; again is harmless."""
        self._map.close()


def write_index(fd: int, packs: Sequence[tuple[bytes, int]], ids: Callable[[int], U8], multiplier: int) -> bool:
    """Fills an empty file with the index of `packs` (name, chunks) and syncs it; see `Builder.fill`."""
    with contextlib.closing(Builder(fd, packs, multiplier)) as builder:
        if not builder.fill(ids):
            return False
        builder.finish()
    return True


def publish(directory: Path, packs: Sequence[tuple[bytes, int]], ids: Callable[[int], U8]) -> IndexFile:
    """Writes the index file of `packs` under a temporary name and renames it; returns it open."""
    path = directory / file_name([name for name, _ in packs])
    while True:
        with _temporary(directory) as (fd, temporary):
            if write_index(fd, packs, ids, random_multiplier()):
                # Opened before it is seen: another process may merge it away the moment after.
                file = IndexFile.open(temporary)
                temporary.rename(path)
                sync_directory(directory)
                file.path = path
                return file


def sweep(directory: Path) -> None:
    """Removes temporary files whose writer is gone: the lock that it held tells."""
    for path in list(directory.glob(TEMPORARY + "*")):
        with contextlib.suppress(OSError):  # another process sweeps too, or the directory is read-only
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if try_lock(fd):
                    path.unlink()
            finally:
                os.close(fd)


def try_lock(fd: int) -> bool:
    """Takes the exclusive lock of an open file, unless somebody else has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _temporary(directory: Path) -> Iterator[tuple[int, Path]]:
    """A new, locked file; what is still under its temporary name at the end goes."""
    fd, path = _create(directory)
    try:
        yield fd, path
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _create(directory: Path) -> tuple[int, Path]:
    """Makes a file and locks it; one that a sweeper took between the two is left to the sweeper."""
    while True:
        path = directory / (TEMPORARY + os.urandom(8).hex())
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if try_lock(fd) and path.exists():
            return fd, path
        os.close(fd)


def sync_directory(directory: Path) -> None:
    """Makes names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _slots_at(rows: int) -> int:
    """Where the slots begin: on a page, so that eight slots fill three cache lines."""
    return -(-(_PACKS_AT + rows * _PACK.size) // _PAGE) * _PAGE


def _damaged(what: str, path: Path) -> StoreDamaged:
    return StoreDamaged(what, path, "it is derived from the packs and will be written again")
