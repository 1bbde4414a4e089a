"""What a fork must not carry over: locks, and connections to the catalog.

A lock (flock) is of the open file, which a forked child shares: it would outlive the process that took it, and who that was
would be taken for alive.  So the child closes the descriptors of all lock files at once; its parent keeps the locks.

SQLite keeps notes of its locks in memory, and a fork copies the notes without the locks: a catalog that the child opened itself
would count as locked and not be, the last process to close it would take away the log under its hands, and what the child
committed from then on would be lost.  So a child closes inherited connections, whereupon SQLite forgets the notes.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol
from weakref import WeakSet


class Forking(Protocol):
    """What wants to hear of forks."""

    def before_fork(self) -> None:
        """In the parent, before; all that is told here waits for threads to be done."""

    def after_fork(self, *, child: bool) -> None:
        """In the parent, or in the child."""


_guard = threading.RLock()  # held over a fork
_locks: set[int] = set()
_watching: WeakSet[Forking] = WeakSet()
_told: list[Forking] = []
_generation = 0


def generation() -> int:
    """How many forks lie between this process and the first: what remembers another number was inherited."""
    return _generation


def open_lock(path: Path, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o666) -> int:
    """Open a file that is going to be locked; OSError."""
    with _guard:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode)  # close-on-exec, as all of Python's
        _locks.add(fd)
        return fd


def close_lock(fd: int) -> None:
    """Close it, and so unlock it; in a child it has been."""
    with _guard:
        if fd in _locks:
            _locks.remove(fd)
            os.close(fd)


def close_removed(fd: int) -> None:
    """Close a lock file that has no name any more, whose lock is nobody's concern: the system gives its space back, which takes
    a second for some GB, and no other lock has to wait for that."""
    with _guard:
        if fd not in _locks:
            return
        _locks.remove(fd)
    os.close(fd)


def watch(what: Forking) -> None:
    """Tell it of forks, as long as it lives."""
    with _guard:
        _watching.add(what)


def _before() -> None:
    _guard.acquire()
    _told.extend(_watching)
    for each in _told:
        each.before_fork()


def _after(*, child: bool) -> None:
    for each in _told:
        each.after_fork(child=child)
    _told.clear()
    _guard.release()


def _in_child() -> None:
    global _generation  # noqa: PLW0603 - of the process
    _generation += 1
    for fd in _locks:
        os.close(fd)
    _locks.clear()
    _after(child=True)


os.register_at_fork(before=_before, after_in_parent=lambda: _after(child=False), after_in_child=_in_child)
