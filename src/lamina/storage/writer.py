"""The writer of local files: a temporary that gets its name when it is whole and durable."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.errors import Conflict, StorageError
from lamina.storage import Buffer
from lamina.storage.direct import DirectFile
from lamina.storage.problems import storage_error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class _Syncs:
    """Those of one file, one at a time.  The system tells once that bytes were lost (fsync(2), EIO), here to whichever thread
    is the first to ask; so all that come later are told again, and the file never gets its name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: OSError | None = None

    def fail(self, error: OSError) -> None:
        """Bytes of the file are lost."""
        self._error = self._error or error

    def run(self, sync: Callable[[], None]) -> None:
        """OSError, if not now then before."""
        with self._lock:
            if self._error is not None:
                raise OSError(self._error.errno, self._error.strerror)
            try:
                sync()
            except OSError as error:
                self.fail(error)
                raise


class LocalReach:
    """The first `bytes` bytes of a file that is being written, by a descriptor of its own."""

    def __init__(self, fd: int, length: int, temporary: Path, folder: Path | None, syncs: _Syncs) -> None:
        self.bytes = length
        self._fd, self._temporary, self._folder, self._syncs = os.dup(fd), temporary, folder, syncs

    def sync(self) -> None:
        try:
            self._syncs.run(lambda: os.fdatasync(self._fd))
            if self._folder is not None:
                sync_directory(self._folder)
        except OSError as error:
            raise storage_error(error, "write", self._temporary) from error

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class LocalWriter:
    """One new file: `temporary` while it is written, `final` once it is sealed."""

    def __init__(self, name: str, temporary: Path, final: Path, reserve: int) -> None:
        self.name = name
        self._temporary, self._final = temporary, final
        self._syncs = _Syncs()
        self._named = False  # whether somebody has been told to sync the directory
        try:
            self._file = DirectFile(temporary)
        except OSError as error:
            raise storage_error(error, "create a file", temporary) from error
        self._guarded("create a file", lambda: self._file.reserve(reserve))

    def _guarded(self, doing: str, act: Callable[[], object]) -> None:
        """Do it; on failure the file is given up."""
        try:
            act()
        except OSError as error:
            self._syncs.fail(error)
            with suppress(StorageError):  # the first error is the one to tell
                self.abort()
            raise storage_error(error, doing, self._final) from error

    def _check_open(self) -> None:
        if self._file.closed:
            raise ValueError(f"the writer of {self.name} is closed")

    def tell(self) -> int:
        return self._file.tell()

    def write(self, data: Buffer, /) -> None:
        self._check_open()
        self._guarded("write", lambda: self._file.write(data))

    def reach(self, *, settle: bool = False) -> LocalReach:
        self._check_open()
        if settle:
            self._guarded("write", self._file.settle)
        folder = None if self._named else self._temporary.parent
        try:
            found = LocalReach(self._file.fd, self._file.reach, self._temporary, folder, self._syncs)
        except OSError as error:
            raise storage_error(error, "write", self._temporary) from error
        self._named = True
        return found

    def leave(self) -> None:
        if self._file.closed:
            return
        with suppress(OSError):  # only space is lost
            self._file.cut()
        self._file.close()

    def _place(self) -> None:
        folder = self._final.parent
        folder.mkdir(parents=True, exist_ok=True)
        sync_directory(folder.parent)  # whoever made the folder may not have come to this yet
        try:
            self._temporary.rename(self._final)
        except OSError as error:
            if error.errno == errno.EXDEV and os.statvfs(folder).f_flag & os.ST_RDONLY:  # a mount of its own: that is why
                raise OSError(errno.EROFS, os.strerror(errno.EROFS)) from error
            raise
        try:
            sync_directory(folder)
            sync_directory(self._temporary.parent)
        except OSError:
            self._final.unlink(missing_ok=True)
            raise

    def seal(self) -> None:
        self._check_open()
        if self._final.exists():
            self.abort()
            raise Conflict("a file of that name is there already", self._final)
        self._guarded("write", lambda: self._syncs.run(self._file.finish))
        self._guarded("put a finished file into place", self._place)
        self._file.close()

    def abort(self) -> None:
        if self._file.closed:
            return
        self._file.close()
        try:
            self._temporary.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, "remove a temporary file", self._temporary) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.abort()
