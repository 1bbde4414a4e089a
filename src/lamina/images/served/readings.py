"""Readers' leases that requests share: a lease is a transaction and a lock, and small requests come by the thousand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lamina.content import FileRuns, Reader, Run

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.blobstore import Reading

SECONDS: Final = 5.0  # after which the next request begins another: what a collection has to wait for beyond the readers


class Readings:
    """Of one open store.  Usable from several threads."""

    def __init__(self, store: BlobStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._now: Reading | None = None
        self._begun = 0.0
        self._users: dict[int, int] = {}

    def open(self, fetch: Callable[[Reading], Reader]) -> Reader:
        """What `fetch` gives, which holds a lease until it is closed."""
        reading = self._enter()
        try:
            reader = fetch(reading)
        except BaseException:
            self._leave(reading)
            raise
        kind = _LeasedRuns if isinstance(reader, FileRuns) else _Leased
        return kind(reader, lambda: self._leave(reading))

    def tend(self) -> None:
        """End a lease that nobody has used for a while."""
        with self._lock:
            old = self._retire() if self._clock() - self._begun > SECONDS else None
        if old is not None:
            old.close()

    def close(self) -> None:
        """End the lease once its last reader has gone."""
        with self._lock:
            old = self._retire()
        if old is not None:
            old.close()

    def _enter(self) -> Reading:
        old = None
        with self._lock:
            if self._now is None or self._clock() - self._begun > SECONDS:
                fresh = self._store.reading()
                old = self._retire()
                self._now, self._begun = fresh, self._clock()
            reading = self._now
            self._users[id(reading)] = self._users.get(id(reading), 0) + 1
        if old is not None:
            old.close()
        return reading

    def _retire(self) -> Reading | None:
        """The one that was, if nobody uses it."""
        old, self._now = self._now, None
        return old if old is not None and not self._users.get(id(old)) else None

    def _leave(self, reading: Reading) -> None:
        with self._lock:
            left = self._users[id(reading)] - 1
            if left:
                self._users[id(reading)] = left
            else:
                del self._users[id(reading)]
            over = not left and reading is not self._now
        if over:
            reading.close()


class _Leased:
    """A reader, and what is to be done when it is closed."""

    def __init__(self, reader: Reader, leave: Callable[[], None]) -> None:
        self._reader, self._leave = reader, leave
        self._closed = False

    @property
    def size(self) -> int | None:
        return self._reader.size

    def readinto(self, buffer: memoryview, /) -> int:
        return self._reader.readinto(buffer)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self._reader.close()
            finally:
                self._leave()


class _LeasedRuns(_Leased):
    """One whose bytes lie in files."""

    _reader: FileRuns

    @property
    def size(self) -> int:
        return self._reader.size

    def runs(self) -> Sequence[Run]:
        return self._reader.runs()
