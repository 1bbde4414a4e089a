"""Uploads to a registry of ours, on their way in: what has arrived of each lies in a file of its own (FORMAT.md, "Uploads").

`state/receiving/ID` begins with a block of 4 KiB that says whose it is; the bytes of the blob follow, through the page cache:
the length of the file is what has arrived, whenever its writer is killed.  Past it a layer of 100 MB took 0.2 CPU seconds
a GB less, and twice as long: 0.2 s to write what is hardly ever read, 0.15 s more to sync the pack (the disk's own cache has
both), and 0.1 s to give the space back.  A file that is gone within seconds never gets to the disk.  Who has it open holds a
lock on it.
"""

from __future__ import annotations

import errno
import fcntl
import json
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
HEAD: Final = 4096
MOST: Final = 10_000  # uploads at once: a client that only begins them must not fill the directory

_ID = re.compile(r"[0-9a-f]{32}")


class Arriving:
    """One upload, open and locked; a context manager that closes it.

    Not thread-safe.  Errors: `StorageError`.
    """

    def __init__(self, path: Path, fd: int, repository: str) -> None:
        self.path, self.repository = path, repository
        self._fd, self._gone = fd, False
        self.offset = max(0, os.fstat(fd).st_size - HEAD)

    def write(self, data: memoryview) -> None:
        """The next bytes; what did not fit on the disk did not arrive."""
        try:
            while data:
                count = _write(self._fd, data, HEAD + self.offset)
                self.offset += count
                data = data[count:]
        except OSError as error:
            raise storage_error(error, "write", self.path) from error

    def reader(self) -> Callable[[memoryview, int], int]:
        """`pread(buffer, offset)` of bytes that have been written, also after this is closed or removed; 0 at their end."""
        try:
            file = _Opened(self.path)
        except OSError as error:
            raise storage_error(error, "read", self.path) from error
        return file.pread

    def remove(self) -> None:
        """Nothing of it is wanted any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self._gone = True

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            (forks.close_removed if self._gone else forks.close_lock)(self._fd)
        self._fd = -1

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


def _write(fd: int, view: memoryview, offset: int) -> int:
    """Write some of it; how much."""
    count = os.pwrite(fd, view, offset)
    if not count:
        raise OSError(errno.EIO, "a write of nothing")
    return count


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
            head = memoryview(json.dumps({"version": 1, "repository": repository}).encode().ljust(HEAD, b" "))
            path = self.folder / upload_id
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                while head:
                    head = head[_write(fd, head, HEAD - len(head)) :]
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
