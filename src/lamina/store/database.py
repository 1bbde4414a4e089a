"""SQLite under the catalog: connections, transactions among threads and processes, errors, and rebuilding.

Two connections a process: one for reads, one for the transaction of one thread at a time; a thread that is in its
transaction reads on that one, and sees what it wrote.  Every read is fetched at once, so that no read
transaction stays open.  In a forked child all that is inherited of it raises `StoreError`: see `forks`.

A rebuilt catalog is a new file, renamed into place.  Whoever has the old one open must not commit to it: a
transaction holds `<path>.lock` shared, and checks there that its file is still the one in place; a rebuild holds it
exclusively from before it looks at the packs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from lamina.errors import LeaseLost, StorageError, StoreDamaged, StoreError, StoreLocked
from lamina.store import forks

_RETRY = "another Lamina process is at work; try again when it has ended"
_REBUILD = "run lamina repair, which makes it anew from the packs"
_DISK = "check free space, permissions and the kernel's log"
_POLL = 0.02

Row = tuple[Any, ...]


def _damaged(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}:
        return True
    return str(error).startswith(("no such table", "no such column", "duplicate column name", "malformed database schema",
                                  "Could not decode to UTF-8"))


@contextmanager
def catalog_errors(path: Path) -> Iterator[None]:
    """Let what SQLite raises come out as an error of ours; misuse of SQL stays as it is."""
    try:
        yield
    except UnicodeDecodeError as error:  # a flipped bit in a name, even in one that an error quotes
        raise StoreDamaged("the catalog is damaged: it holds a text that is no UTF-8", path, _REBUILD) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise StoreLocked("the catalog is locked", path, _RETRY) from error
        if _damaged(error):
            raise StoreDamaged(f"the catalog is damaged: {str(error)[:60]}", path, _REBUILD) from error
        if code == sqlite3.SQLITE_FULL:
            raise StorageError("cannot write the catalog: no space left on the device", path,
                               "free some space and try again") from error
        if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
                    sqlite3.SQLITE_NOLFS}:
            raise StorageError(f"cannot use the catalog: {error}", path, _DISK) from error
        raise


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection to a catalog that is there; sqlite3 errors."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA trusted_schema=OFF")  # the file may be a stranger's
        connection.execute("PRAGMA foreign_keys=OFF")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path, timeout: float, stack: ExitStack) -> tuple[sqlite3.Connection, bool]:
    """A connection to read by, and whether nothing can be written there.

    SQLite reads a log only where it can make its index beside it.  On a file system that is read-only (or somebody else's) the
    file is taken as it is; where a log stands beside it, as a copy, which goes with `stack`.
    """
    try:
        connection = connect(path, timeout)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error:
            connection.close()
            raise
        return connection, False
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} or os.access(path.parent, os.W_OK):
            raise
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lamina-")))
        for file in (path, log):
            shutil.copyfile(file, folder / file.name)
        return connect(folder / path.name, timeout), True
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False), True


def take_lock(fd: int, kind: int, timeout: float, path: Path) -> None:
    """flock within `timeout` seconds, or StoreLocked."""
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EINTR}:
                raise StorageError(f"cannot lock the catalog: {error.strerror}", path) from error
        if time.monotonic() >= end:
            raise StoreLocked("the catalog is being rebuilt", path, _RETRY)
        time.sleep(_POLL)


def open_lock(path: Path) -> int:
    """The descriptor of the lock file beside a catalog."""
    lock = path.with_name(path.name + ".lock")
    try:
        return forks.open_lock(lock)
    except OSError as error:
        raise StorageError(f"cannot open the catalog's lock: {error.strerror}", lock, _DISK) from error


def inode(path: Path) -> tuple[int, int]:
    """What tells one file at a path from the next one there; StoreDamaged if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise StoreDamaged("the catalog is missing", path, _REBUILD) from error
    except OSError as error:
        raise StorageError(f"cannot use the catalog: {error.strerror}", path, _DISK) from error
    return found.st_dev, found.st_ino


class Database:
    """The open file; see the module's text."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.path, self.timeout = path, timeout
        self._inode = inode(path)
        self._copy = ExitStack()
        with catalog_errors(path):
            self._reader, self.read_only = connect_to_read(path, timeout, self._copy)
        self._writer: sqlite3.Connection | None = None
        self._lock_fd = -1
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._owner = 0  # the thread that is in its transaction
        self._paused: list[threading.Lock] = []  # taken for a fork
        self._inherited = False
        forks.watch(self)

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of one query."""
        self._check()
        with catalog_errors(self.path):
            if self._writer is not None and self._owner == threading.get_ident():
                return self._writer.execute(sql, values).fetchall()
            with self._reading:
                return self._reader.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """One statement within the transaction; how many rows it touched."""
        with catalog_errors(self.path):
            return self._connection().execute(sql, values).rowcount

    def write_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """One statement for many rows; how many it touched in all."""
        with catalog_errors(self.path):
            return self._connection().executemany(sql, rows).rowcount

    def tables(self) -> set[str]:
        """The names of its tables."""
        return {name for (name,) in self.read("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def columns(self, table: str) -> set[str]:
        """The names of a table's columns; none of one that is not there."""
        return {row[1] for row in self.read(f"PRAGMA table_info({table})")}

    def settle(self) -> None:
        """Bring the log into the file itself, so that the file alone is the whole catalog; `StoreLocked`."""
        if self.read("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            raise StoreLocked("the catalog is being read", self.path, _RETRY)

    def _connection(self) -> sqlite3.Connection:
        if self._writer is None or self._owner != threading.get_ident():
            raise ValueError("writes to the catalog need a transaction of this thread")
        return self._writer

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE ... COMMIT; ROLLBACK on any exception.  One thread at a time, not nested."""
        self._check()
        if self._owner == threading.get_ident():
            raise ValueError("transactions of the catalog do not nest")
        if not self._writing.acquire(timeout=self.timeout):
            raise StoreLocked("the catalog is locked by another thread", self.path)
        try:
            with self._in_place(), catalog_errors(self.path):
                if self._writer is None:
                    self._writer = connect(self.path, self.timeout)
                self._writer.execute("BEGIN IMMEDIATE")
                self._owner = threading.get_ident()
                try:
                    yield
                    self._writer.execute("COMMIT")
                finally:
                    self._owner = 0
                    if self._writer.in_transaction:
                        # SQLite rolls back itself after some errors (full, I/O).
                        self._writer.execute("ROLLBACK")
        finally:
            self._writing.release()

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Keep rebuilders away, and be sure that none has been there."""
        if self._lock_fd < 0:
            self._lock_fd = open_lock(self.path)
        take_lock(self._lock_fd, fcntl.LOCK_SH, self.timeout, self.path)
        try:
            if not self._is_in_place():
                raise LeaseLost("the catalog has been replaced meanwhile", self.path, "run the command again")
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _is_in_place(self) -> bool:
        try:
            return inode(self.path) == self._inode
        except StoreDamaged:
            return False

    def amend(self, statements: Iterable[str]) -> None:
        """Of one that is read-only: carry these out on a copy, and read that."""
        with self._reading, catalog_errors(self.path):
            folder = Path(self._copy.enter_context(tempfile.TemporaryDirectory(prefix="lamina-")))
            with closing(sqlite3.connect(folder / self.path.name)) as copy:
                self._reader.backup(copy)
                for statement in statements:
                    copy.execute(statement)
                copy.commit()
            self._reader.close()
            self._reader = connect(folder / self.path.name, self.timeout)

    def close(self) -> None:
        """Close both connections; again is harmless."""
        if self._inherited:
            return
        with self._writing, self._reading:
            self._disconnect()
            self._copy.close()
            if self._lock_fd >= 0:
                forks.close_lock(self._lock_fd)
                self._lock_fd = -1

    def _disconnect(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._reader.close()

    # -- forks

    def _check(self) -> None:
        if self._inherited:
            raise StoreError("the store was opened before this process was forked", self.path, "open it in the new process")

    def before_fork(self) -> None:
        """No thread is to be within SQLite."""
        locks = [self._reading] if self._owner == threading.get_ident() else [self._writing, self._reading]
        self._paused = [lock for lock in locks if lock.acquire(timeout=self.timeout)]

    def after_fork(self, *, child: bool) -> None:
        """In the child: never again."""
        whole = len(self._paused) == 2
        for lock in self._paused:
            lock.release()
        self._paused = []
        if not child or self._inherited:
            return
        self._inherited, self._lock_fd = True, -1
        if whole:
            self._disconnect()
        else:  # in a transaction, which is the parent's to end: to close it would undo it for both
            _keep_for_ever(self._writer, self._reader)


def _keep_for_ever(*things: object) -> None:
    import ctypes

    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
