"""Ways to read, copy and write a large file, on the file system of a directory: wall GB/s and CPU seconds a GB.

    python benchmarks/io_ways.py DIR [--size GB] [--rounds N] [--only WORD]

Reading is measured of a file that is cached and of one that is not (its pages are dropped before each run); the ways of a
table take turns in random order, so that a drift of the machine hits all, and the medians are printed as markdown.  CPU is
user and system time of this process and its threads: what kernel workers do for it (writeback) is not in it.  io_uring is
spoken to by raw system calls, x86-64 and arm64 alike.

A virtual machine may give memory that is free back to its host (free page reporting); dropped pages go that way within
seconds, and touching them again is what costs.  `--rest 15` waits so long between the drop and the run: then a table
shows what a file costs that nobody read lately.  Without it a way often finds pages that are still warm.

A way that the file system refuses shows its error.  All files are
removed again.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import mmap
import os
import random
import re
import resource
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

KIB, MIB, GB = 1 << 10, 1 << 20, 10**9
PAGE = mmap.PAGESIZE
RWF_DONTCACHE = 0x80  # Linux 6.14: through the page cache, and out of it again
MADV_POPULATE_READ = 22  # Linux 5.14

libc = ctypes.CDLL(None, use_errno=True)
Way = Callable[[], None]


def checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


_buffers: dict[tuple[int, int], mmap.mmap] = {}


def buffer(size: int, number: int = 0) -> memoryview:
    """Page-aligned memory that has been touched: the same for each run, as a program would keep it."""
    if (size, number) not in _buffers:
        _buffers[size, number] = mmap.mmap(-1, size)
        _buffers[size, number].write(bytes(size))
    return memoryview(_buffers[size, number])


class Uring:
    """io_uring at its shortest: reads into a few buffers, in flight together."""

    SETUP, ENTER = 425, 426
    READ, GETEVENTS = 22, 1

    def __init__(self, depth: int) -> None:
        params = (ctypes.c_uint32 * 30)()
        self.fd = checked(libc.syscall(self.SETUP, depth, params))
        entries, completions = params[0], params[1]
        self._sq, self._cq = list(params[10:20]), list(params[20:30])  # offsets of head, tail, mask, ...
        self._mask, self._cmask = entries - 1, completions - 1
        size = max(self._sq[6] + 4 * entries, self._cq[5] + 16 * completions)  # one mapping for both rings
        self._ring = mmap.mmap(self.fd, size)
        self._sqes = mmap.mmap(self.fd, 64 * entries, offset=0x10000000)
        self._view = memoryview(self._ring).cast("I")

    def submit(self, fd: int, view: memoryview, offset: int, number: int) -> None:
        tail = self._view[self._sq[1] // 4]
        slot = tail & self._mask
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        struct.pack_into("<BBHiQQIiQ24x", self._sqes, 64 * slot, self.READ, 0, 0, fd, offset, address, len(view), 0, number)
        self._view[self._sq[6] // 4 + slot] = slot
        self._view[self._sq[1] // 4] = tail + 1
        checked(libc.syscall(self.ENTER, self.fd, 1, 0, 0, None, 0))

    def wait(self) -> tuple[int, int]:
        """The next one that is done: its number, and its count of bytes."""
        head = self._view[self._cq[0] // 4]
        while head == self._view[self._cq[1] // 4]:
            checked(libc.syscall(self.ENTER, self.fd, 0, 1, self.GETEVENTS, None, 0))
        number, count = struct.unpack_from("<Qi", self._ring, self._cq[5] + 16 * (head & self._cmask))
        self._view[self._cq[0] // 4] = head + 1
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        return number, count

    def close(self) -> None:
        self._view.release()
        self._ring.close()
        self._sqes.close()
        os.close(self.fd)


class Reading:
    """Ways to read the file `path` from its first byte to its last."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def pread(self, piece: int, advice: int | None = None, flags: int = 0) -> None:
        view = buffer(piece)
        with opened(self.path) as fd:
            if advice == os.POSIX_FADV_SEQUENTIAL:
                os.posix_fadvise(fd, 0, 0, advice)
            for at in range(0, self.size, piece):
                if advice == os.POSIX_FADV_WILLNEED:
                    os.posix_fadvise(fd, at + piece, 2 * piece, advice)
                os.preadv(fd, [view], at, flags)

    def mapped(self, advice: int | None = None, window: int = 4 * MIB) -> None:
        view = buffer(window // PAGE)
        with opened(self.path) as fd, mmap.mmap(fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            if advice is not None and advice != MADV_POPULATE_READ:
                mapping.madvise(advice)
            for at in range(0, self.size, window):
                length = min(window, self.size - at)
                if advice == MADV_POPULATE_READ:
                    mapping.madvise(advice, at, length)
                touched = mapping[at:at + length:PAGE]  # one byte of each page
                view[:len(touched)] = touched

    def direct(self, piece: int, flight: int = 1) -> None:
        """Each thread takes every so-manieth piece, into a buffer of its own."""
        with opened(self.path, os.O_RDONLY | os.O_DIRECT) as fd:

            def run(number: int) -> None:
                view = buffer(piece, number)
                for at in range(number * piece, self.size, flight * piece):
                    os.preadv(fd, [view], at)

            if flight == 1:
                run(0)
            else:
                with ThreadPoolExecutor(flight) as pool:
                    list(pool.map(run, range(flight)))

    def uring(self, piece: int, flight: int, flags: int) -> None:
        with opened(self.path, os.O_RDONLY | flags) as fd:
            ring = Uring(flight)
            try:
                at, going = 0, 0
                free = list(range(flight))
                while at < self.size or going:
                    while free and at < self.size:
                        number = free.pop()
                        ring.submit(fd, buffer(piece, number), at, number)
                        at, going = at + piece, going + 1
                    free.append(ring.wait()[0])
                    going -= 1
            finally:
                ring.close()

    def ways(self) -> dict[str, Way]:
        direct = os.O_DIRECT
        return {
            "pread 256 KiB": lambda: self.pread(256 * KIB),
            "pread 1 MiB": lambda: self.pread(MIB),
            "pread 4 MiB": lambda: self.pread(4 * MIB),
            "pread 4 MiB, SEQUENTIAL": lambda: self.pread(4 * MIB, os.POSIX_FADV_SEQUENTIAL),
            "pread 4 MiB, WILLNEED 8 MiB ahead": lambda: self.pread(4 * MIB, os.POSIX_FADV_WILLNEED),
            "preadv2 1 MiB, DONTCACHE": lambda: self.pread(MIB, flags=RWF_DONTCACHE),
            "preadv2 4 MiB, DONTCACHE": lambda: self.pread(4 * MIB, flags=RWF_DONTCACHE),
            "mmap": self.mapped,
            "mmap, SEQUENTIAL": lambda: self.mapped(mmap.MADV_SEQUENTIAL),
            "mmap, HUGEPAGE": lambda: self.mapped(mmap.MADV_HUGEPAGE),
            "mmap, POPULATE_READ 4 MiB": lambda: self.mapped(MADV_POPULATE_READ),
            "O_DIRECT 1 MiB": lambda: self.direct(MIB),
            "O_DIRECT 2 MiB": lambda: self.direct(2 * MIB),
            "O_DIRECT 4 MiB": lambda: self.direct(4 * MIB),
            "O_DIRECT 1 MiB × 4 threads": lambda: self.direct(MIB, 4),
            "O_DIRECT 2 MiB × 2 threads": lambda: self.direct(2 * MIB, 2),
            "O_DIRECT 2 MiB × 4 threads": lambda: self.direct(2 * MIB, 4),
            "O_DIRECT 4 MiB × 2 threads": lambda: self.direct(4 * MIB, 2),
            "io_uring 256 KiB × 8": lambda: self.uring(256 * KIB, 8, 0),
            "io_uring O_DIRECT 1 MiB × 4": lambda: self.uring(MIB, 4, direct),
            "io_uring O_DIRECT 2 MiB × 8": lambda: self.uring(2 * MIB, 8, direct),
        }


class Copying:
    """Ways to copy the file `source` to a new one, and to have it on the disk at the end."""

    def __init__(self, source: Path, size: int) -> None:
        self.source, self.size, self.path = source, size, source.with_name("copy")

    def _copy(self, move: Callable[[int, int], None], flags: int = 0) -> None:
        with opened(self.source, os.O_RDONLY | flags) as source, opened(self.path, os.O_RDWR | os.O_CREAT | flags) as target:
            move(source, target)
            os.fdatasync(target)

    def _range(self, source: int, target: int) -> None:
        while os.copy_file_range(source, target, 64 * MIB):
            pass

    def _sendfile(self, source: int, target: int) -> None:
        at = 0
        while count := os.sendfile(target, source, at, 64 * MIB):
            at += count

    def _through(self, source: int, target: int) -> None:
        view = buffer(MIB)
        os.posix_fallocate(target, 0, self.size)
        for at in range(0, self.size, MIB):
            os.preadv(source, [view], at)
            os.pwrite(target, view, at)

    def ways(self) -> dict[str, Way]:
        return {
            "copy_file_range": lambda: self._copy(self._range),
            "sendfile": lambda: self._copy(self._sendfile),
            "pread, write 1 MiB": lambda: self._copy(self._through),
            "O_DIRECT both, 1 MiB": lambda: self._copy(self._through, os.O_DIRECT),
        }


class Writing:
    """Ways to write a new file that is on the disk at the end."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def write(self, piece: int, flags: int = 0, reserve: bool = False, put: int = 0, drain: int = 0) -> None:
        view = buffer(piece)
        with opened(self.path, os.O_WRONLY | os.O_CREAT | flags) as fd:
            if reserve:
                os.posix_fallocate(fd, 0, self.size)
            for at in range(0, self.size, piece):
                os.pwritev(fd, [view], at, put)
                if drain and (at + piece) % drain == 0:
                    self._drain(fd, at + piece, drain)
            os.fdatasync(fd)

    def _drain(self, fd: int, end: int, drain: int) -> None:
        """Start to write the last window out, wait for the one before it and let its pages go."""
        start = end - drain
        checked(libc.sync_file_range(fd, ctypes.c_int64(start), ctypes.c_int64(drain), 2))
        if start:
            checked(libc.sync_file_range(fd, ctypes.c_int64(start - drain), ctypes.c_int64(drain), 7))
            os.posix_fadvise(fd, start - drain, drain, os.POSIX_FADV_DONTNEED)

    def _behind(self, piece: int, count: int) -> None:
        """Fill one buffer while another is written (the filling is a copy, as in a pack's writer)."""
        source = buffer(piece, 99)
        with opened(self.path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT) as fd, ThreadPoolExecutor(1) as pool:
            os.posix_fallocate(fd, 0, self.size)
            free = threading.Semaphore(count)

            def put(view: memoryview, at: int) -> None:
                os.pwrite(fd, view, at)
                free.release()

            for at in range(0, self.size, piece):
                free.acquire()
                view = buffer(piece, at // piece % count)
                view[:] = source
                pool.submit(put, view, at)
        with opened(self.path) as fd:
            os.fdatasync(fd)

    def _filling(self, piece: int) -> None:
        source, view = buffer(piece, 99), buffer(piece)
        with opened(self.path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT) as fd:
            os.posix_fallocate(fd, 0, self.size)
            for at in range(0, self.size, piece):
                view[:] = source
                os.pwrite(fd, view, at)
            os.fdatasync(fd)

    def ways(self) -> dict[str, Way]:
        direct = os.O_DIRECT
        return {
            "write 1 MiB, fdatasync": lambda: self.write(MIB),
            "write 1 MiB, sync_file_range and DONTNEED each 8 MiB": lambda: self.write(MIB, drain=8 * MIB),
            "pwritev2 1 MiB, DONTCACHE": lambda: self.write(MIB, put=RWF_DONTCACHE),
            "O_DIRECT 1 MiB": lambda: self.write(MIB, direct),
            "O_DIRECT 256 KiB, fallocate": lambda: self.write(256 * KIB, direct, True),
            "O_DIRECT 1 MiB, fallocate": lambda: self.write(MIB, direct, True),
            "O_DIRECT 2 MiB, fallocate": lambda: self.write(2 * MIB, direct, True),
            "O_DIRECT 4 MiB, fallocate": lambda: self.write(4 * MIB, direct, True),
            "fill and O_DIRECT 1 MiB, one buffer": lambda: self._filling(MIB),
            "fill and O_DIRECT 1 MiB, two buffers and a thread": lambda: self._behind(MIB, 2),
        }


def drop(path: Path, rest: float = 0.0) -> None:
    with opened(path) as fd:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    time.sleep(rest)


def warm(path: Path) -> None:
    view = buffer(4 * MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(view):
            pass


def measure(way: Way) -> tuple[float, float] | str:
    """Wall and CPU seconds, or what it said."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    try:
        way()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(title: str, ways: dict[str, Way], prepare: Callable[[], None], rounds: int, size: int) -> None:
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    refused: dict[str, str] = {}
    for _ in range(rounds):
        for name, way in random.sample(list(ways.items()), len(ways)):
            prepare()
            result = measure(way)
            if isinstance(result, str):
                refused[name] = result
            else:
                results[name].append(result)
    print(f"\n| {title} | GB/s | CPU s/GB |\n|---|---|---|")
    for name, seconds in results.items():
        if seconds and name not in refused:
            wall, cpu = (statistics.median(column) for column in zip(*seconds, strict=True))
            print(f"| {name} | {size / GB / wall:.2f} | {cpu / (size / GB):.3f} |", flush=True)
        else:
            print(f"| {name} | {refused.get(name, '')} | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--size", type=float, default=1.0, metavar="GB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rest", type=float, default=0.0, metavar="SECONDS", help="wait after dropping a file's pages")
    parser.add_argument("--only", default="", metavar="REGEX", help="ways whose name has it")
    options = parser.parse_args()
    size = int(options.size * GB) // (4 * MIB) * (4 * MIB)

    def chosen(ways: dict[str, Way]) -> dict[str, Way]:
        return {name: way for name, way in ways.items() if re.search(options.only, name)}

    with tempfile.TemporaryDirectory(prefix="io-ways-", dir=options.directory) as work:
        source = Path(work, "source")
        with opened(source, os.O_WRONLY | os.O_CREAT) as fd:
            block = os.urandom(4 * MIB)
            for _ in range(size // len(block)):
                os.write(fd, block)
        reading, copying, writing = Reading(source, size), Copying(source, size), Writing(Path(work, "new"), size)

        def anew(path: Path, *, cached: bool) -> None:
            path.unlink(missing_ok=True)
            if cached:
                warm(source)
            else:
                drop(source, options.rest)

        print(f"{size / GB:.2f} GB, {options.rounds} rounds, medians; Linux {os.uname().release}, {os.cpu_count()} cores")
        table("read, not cached", chosen(reading.ways()), lambda: drop(source, options.rest), options.rounds, size)
        table("read, cached", {name: way for name, way in chosen(reading.ways()).items() if "O_DIRECT" not in name},
              lambda: warm(source), options.rounds, size)
        table("copy, source not cached", chosen(copying.ways()), lambda: anew(copying.path, cached=False), options.rounds, size)
        table("copy, source cached", chosen(copying.ways()), lambda: anew(copying.path, cached=True), options.rounds, size)
        copying.path.unlink(missing_ok=True)
        table("write", chosen(writing.ways()), lambda: writing.path.unlink(missing_ok=True), options.rounds, size)


if __name__ == "__main__":
    main()
