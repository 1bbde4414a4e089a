"""Uploads to a registry of ours, on their way in: what has arrived of each lies in a file of its own (FORMAT.md, "Uploads").

`state/receiving/ID` begins with a block of 4 KiB that says whose it is; the bytes of the blob follow.  They go past the page
cache in whole buffers (0.02 CPU seconds a GB, against 0.6-2.6 through it), the rest of a buffer through it when a request
ends: so the length of the file is what has arrived, whenever its writer is killed.  Who has it open holds a lock on it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from lamina.errors import Conflict, NotFound
from lamina.storage.problems import storage_error
from lamina.store import forks

FOLDER: Final = "receiving"
HEAD: Final = 4096  # O_DIRECT wants multiples of the logical block: 512 or 4096
BUFFER: Final = 1 << 20
MOST: Final = 10_000  # uploads at once: a client that only begins them must not fill the directory

_ID = re.compile(r"[0-9a-f]{32}")


class Arriving:
    """One upload, open and locked; a context manager that puts what has arrived into the file, and closes it.

    Not thread-safe.  Memory: 1 MiB while it is being written to.  Errors: `StorageError`.
    """

    def __init__(self, path: Path, fd: int, repository: str) -> None:
        self.path, self.repository = path, repository
        self._fd, self._direct = fd, -1
        self.offset = max(0, os.fstat(fd).st_size - HEAD)
        self._buffer: mmap.mmap | None = None
        self._base = 0  # of the buffer, in the file
        self._filled = 0
        self._flushed = -1  # how far the buffer was filled when it was put into the file last
        self._gone = False

    def write(self, data: memoryview) -> None:
        """The next bytes."""
        try:
            while data:
                buffer = self._buffer or self._begin()
                count = min(len(data), BUFFER - self._filled)
                buffer[self._filled : self._filled + count] = data[:count]
                self._filled += count
                self.offset += count
                data = data[count:]
                if self._filled == BUFFER:
                    self._put(buffer)
        except OSError as error:
            raise storage_error(error, "write", self.path) from error

    def _begin(self) -> mmap.mmap:
        """A buffer that begins with a block, the beginning of which may be there already."""
        end = HEAD + self.offset
        self._base = end - end % HEAD
        self._filled = end - self._base
        self._buffer = mmap.mmap(-1, BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._buffer[: self._filled] = os.pread(self._fd, self._filled, self._base)
        with suppress(OSError):  # a file system that has no such thing: through the page cache
            self._direct = os.open(self.path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._buffer

    def _put(self, buffer: mmap.mmap) -> None:
        try:
            _write_all(self._fd if self._direct < 0 else self._direct, memoryview(buffer), self._base)
        except OSError as error:
            if error.errno != errno.EINVAL or self._direct < 0:
                raise
            os.close(self._direct)  # it could be opened so, and not be written to
            self._direct = -1
            _write_all(self._fd, memoryview(buffer), self._base)
        self._base += BUFFER
        self._filled, self._flushed = 0, -1

    def flush(self) -> None:
        """All that has arrived is in the file."""
        if self._buffer is None or self._gone or self._flushed == self._filled:
            return
        try:
            _write_all(self._fd, memoryview(self._buffer)[: self._filled], self._base)
        except OSError as error:
            raise storage_error(error, "write", self.path) from error
        self._flushed = self._filled

    def reader(self) -> Callable[[memoryview, int], int]:
        """`pread(buffer, offset)` of bytes that have been flushed, also after this is closed or removed; 0 at their end."""
        try:
            file = _Opened(self.path)
        except OSError as error:
            raise storage_error(error, "read", self.path) from error
        return file.pread

    def remove(self) -> None:
        """Nothing of it is wanted any more."""
        self._gone = True
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it; what did not fit on the disk did not arrive."""
        try:
            self.flush()
        finally:
            if self._direct >= 0:
                os.close(self._direct)
            if self._fd >= 0:
                forks.close_lock(self._fd)
            self._fd = self._direct = -1
            self._buffer = None  # not closed: the traceback of a write that has failed may still have a view of it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Opened:
    """The file, for who reads it; closed when nobody does any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "rb", buffering=0, opener=_no_link)  # noqa: SIM115 - closed by __del__

    def pread(self, buffer: memoryview, offset: int) -> int:
        try:
            return os.preadv(self._file.fileno(), [buffer], HEAD + offset)
        except OSError as error:
            raise storage_error(error, "read", self._path) from error

    def __del__(self) -> None:
        if "_file" in self.__dict__:
            self._file.close()


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(fd, view, offset)
        if not count:
            raise OSError(errno.EIO, "a write of nothing")
        view, offset = view[count:], offset + count


class Receiving:
    """The directory of uploads.  Usable from several threads and processes."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / FOLDER

    def begin(self, repository: str) -> str:
        """A new upload; its id, which nobody guesses.  `Conflict` if there are too many."""
        try:
            self.folder.mkdir(exist_ok=True)
            if len(os.listdir(self.folder)) >= MOST:  # noqa: PTH208 - names only
                raise Conflict("too many uploads are under way", self.folder, "try again later")
            upload_id = secrets.token_hex(16)
            head = json.dumps({"version": 1, "repository": repository}).encode()
            path = self.folder / upload_id
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_all(fd, memoryview(head.ljust(HEAD, b" ")), 0)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            finally:
                os.close(fd)
        except OSError as error:
            raise storage_error(error, "begin an upload", self.folder) from error
        return upload_id

    def open(self, repository: str, upload_id: str) -> Arriving:
        """`NotFound` (also for another repository's); `Conflict` while somebody else has it open."""
        path = self.folder / upload_id
        if not _ID.fullmatch(upload_id):
            raise NotFound("no such upload", upload_id[:64])
        try:
            fd = forks.open_lock(path, os.O_RDWR)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("no such upload", upload_id) from None
        except OSError as error:
            raise storage_error(error, "open an upload", path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink == 0 or _owner(fd) != repository:
                raise NotFound("no such upload", upload_id)
            os.utime(fd)
            return Arriving(path, fd, repository)
        except BlockingIOError:
            forks.close_lock(fd)
            raise Conflict("another request is at this upload", upload_id) from None
        except BaseException:
            forks.close_lock(fd)
            raise

    def all(self) -> Iterator[Path]:
        """The files of uploads."""
        with suppress(OSError):
            yield from (each for each in sorted(self.folder.iterdir()) if _ID.fullmatch(each.name))

    def expire(self, seconds: float) -> int:
        """Remove those that nobody has touched for so long (or that are to come, by a clock set back since); how many."""
        removed = 0
        for path in self.all():
            with suppress(OSError):
                if _age(path.stat()) > seconds and self._remove(path, seconds):
                    removed += 1
        return removed

    def _remove(self, path: Path, seconds: float) -> bool:
        fd = forks.open_lock(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _age(os.fstat(fd)) <= seconds:  # somebody has gone on with it meanwhile
                return False
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            forks.close_lock(fd)
        return True

    def size(self) -> int:
        """Bytes that have arrived and are in no pack yet."""
        total = 0
        for path in self.all():
            with suppress(OSError):
                total += max(0, path.stat().st_size - HEAD)
        return total


def _age(status: os.stat_result) -> float:
    return abs(time.time() - status.st_mtime)


def _owner(fd: int) -> str | None:
    try:
        value = json.loads(os.pread(fd, HEAD, 0))
        return str(value["repository"]) if value.get("version") == 1 else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
