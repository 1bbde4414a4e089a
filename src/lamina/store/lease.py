"""Leases: what a session relies on stays, for as long as the session lives.

A lease is a row of the catalog and a lock (flock) on a file of its name in `state/leases`.  The lock is liveness: the
kernel lets go of it when the process ends, however it ends; no process id, no clock.  The file is made and
locked before the row, and removed after it, so that a row without a locked file is dead.  It gets one byte when the row is
there: a locked file without a row is of a lease that is being made if it is empty, else its row went with a lost catalog.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.errors import LeaseLost, StorageError, StoreError
from lamina.storage import Backend, is_owner
from lamina.store import forks
from lamina.store.catalog import Catalog

_LEASES = "leases"
_MADE = 1  # byte


def _error(error: OSError, path: Path) -> StorageError:
    return StorageError(f"cannot use a lease file: {error.strerror}", path, "check permissions and free space")


def _is_at(fd: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _create_locked(folder: Path) -> tuple[Path, int]:
    """A new file, locked.

    A reaper may lock and remove it before we lock it: then another one, of another name.  For a reaper that has looked at the
    first one takes whatever has its name for dead, also when it comes to that a second later: a name that was dead stays so.
    """
    while True:
        path = folder / os.urandom(16).hex()
        fd = forks.open_lock(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(fd, path):
                return path, fd
        except BaseException:
            forks.close_lock(fd)
            raise
        forks.close_lock(fd)


class Lease:
    """A lease that is held; a context manager that releases it.  It is its process's: a forked child has none of it."""

    def __init__(self, catalog: Catalog, path: Path, fd: int, start: int) -> None:
        self._catalog, self._path, self._fd = catalog, path, fd
        self.id, self.start = path.name, start
        self._generation = forks.generation()

    @classmethod
    def acquire(cls, catalog: Catalog, state_dir: Path, kind: str) -> Self:
        """A new lease; `kind` says what for ("load", "gc", ...)."""
        folder = state_dir / _LEASES
        try:
            folder.mkdir(exist_ok=True)
            path, fd = _create_locked(folder)
        except OSError as error:
            raise _error(error, folder) from error
        try:
            with catalog.transaction() as tx:
                row = tx.add_lease(path.name, kind)
            os.ftruncate(fd, _MADE)
        except BaseException as error:
            with suppress(OSError):  # the first error is the one to tell; unlocked the file is a dead lease's
                path.unlink(missing_ok=True)
            forks.close_lock(fd)
            if isinstance(error, OSError):
                raise _error(error, path) from error
            raise
        return cls(catalog, path, fd, row.start)

    @property
    def inherited(self) -> bool:
        """Whether it is of the process that this one was forked from."""
        return self._generation != forks.generation()

    def check_own(self) -> None:
        """`StoreError` in a forked child."""
        if self.inherited:
            raise StoreError("the session was begun before this process was forked", self._path.parent.parent.parent,
                             "begin one in the new process")

    def lost(self) -> bool:
        """Whether its row has gone; False if the catalog cannot tell."""
        try:
            return self.id not in {row.id for row in self._catalog.leases()}
        except (StoreError, StorageError):
            return False

    def release(self) -> None:
        """End it, with its holds; again is harmless.

        Without the lock it is dead, and others clear it away: so a full disk, or a catalog that is locked, is no error here.
        What the lease was for may be published already, and would be reported as failed.
        """
        fd, self._fd = self._fd, -1
        if fd < 0 or self.inherited:
            return
        try:
            with suppress(OSError, StorageError, StoreError):
                with suppress(LeaseLost), self._catalog.transaction() as tx:  # a rebuilt catalog has no row to remove
                    tx.remove_lease(self.id)
                self._path.unlink(missing_ok=True)
        finally:
            forks.close_lock(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()


@contextmanager
def _dead(path: Path) -> Iterator[bool]:
    """Whether the lease of that file is dead; while the block runs, the lock is ours and nobody else reaps it."""
    try:
        fd = forks.open_lock(path, os.O_RDONLY)
    except FileNotFoundError:
        yield True
        return
    except OSError as error:
        raise _error(error, path) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        forks.close_lock(fd)


def _names(state_dir: Path) -> set[str]:
    try:
        return {name for name in os.listdir(state_dir / _LEASES) if is_owner(name)}  # noqa: PTH208 - names only
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise _error(error, state_dir / _LEASES) from error


def _candidates(catalog: Catalog, state_dir: Path) -> list[str]:
    # Rows first: a lease that is made in between has a file, and is found or not, but never a row without its file.
    # A row whose id leads elsewhere is of a catalog that somebody made to have files of ours removed.
    rows = {row.id for row in catalog.leases() if is_owner(row.id)}
    return sorted(rows | _names(state_dir))


def is_alive(state_dir: Path, lease: str) -> bool:
    """Whether somebody holds that lease."""
    with _dead(state_dir / _LEASES / lease) as dead:
        return not dead


def dead_leases(catalog: Catalog, state_dir: Path) -> list[str]:
    """The ids of leases whose holder is no more, with or without a row."""
    found = []
    for name in _candidates(catalog, state_dir):
        with _dead(state_dir / _LEASES / name) as dead:
            if dead:
                found.append(name)
    return found


def reap(catalog: Catalog, state_dir: Path, backend: Backend) -> list[str]:
    """Clear away dead leases, rows, holds and lock files, and all temporaries whose owner has no lock file (any more).

    Returns the ids of the leases.  Safe beside other reapers.
    """
    found = [name for name in _candidates(catalog, state_dir) if _reap(catalog, state_dir, name)]
    # Temporaries first, then files: an owner makes its lease before its temporaries.
    owners = {each.owner for each in backend.temporaries()}
    if gone := sorted(owners - _names(state_dir)):
        from lamina.store.partials import Partials

        kept = Partials(state_dir, backend).named()  # after the leases: who ended in between has written what it names
        for owner in gone:
            backend.sweep_temporaries(owner, kept)
    return found


def _reap(catalog: Catalog, state_dir: Path, name: str) -> bool:
    path = state_dir / _LEASES / name
    with _dead(path) as dead:
        if not dead:
            return False
        with catalog.transaction() as tx:
            tx.remove_lease(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _error(error, path) from error
    return True


def _is_made(path: Path) -> bool:
    try:
        return path.stat().st_size >= _MADE
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _error(error, path) from error


def oldest_start(catalog: Catalog, state_dir: Path) -> int | None:
    """The sequence number at which the oldest lease began; None without any.

    0 while someone holds a lease whose row is lost (the catalog was rebuilt): it may read what it saw before.  One that is
    being made begins after whatever has been condemned by now.  (In a crowd there is always one: it must not hold up the rest.)
    """
    names = _names(state_dir)
    rows = catalog.leases()
    for name in sorted(names - {row.id for row in rows}):
        path = state_dir / _LEASES / name
        with _dead(path) as dead:
            if not dead and _is_made(path):
                return 0
    return rows[0].start if rows else None
