"""Who counts what images share, and when: one process of a store does, and all read what it wrote (`state/showcase/shared`)."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lamina.errors import LaminaError
from lamina.images.showcase.kept import REST
from lamina.images.showcase.series import HOUR, Series
from lamina.images.showcase.sharing import Counted, count
from lamina.images.showcase.shelf import Shelf
from lamina.registry.server.page.library import Point
from lamina.storage.problems import storage_errors
from lamina.store import forks
from lamina.store.schema import LIVE

if TYPE_CHECKING:
    from lamina.store import BlobStore

FOLDER: Final = "showcase"
PAUSE: Final = 60.0  # seconds from one counting to the next, at least
_LARGEST: Final = 128 << 20  # bytes of the file


class Counting:
    """Over one store; `shelf` makes the picture of the catalog that is counted by."""

    def __init__(self, store: BlobStore, shelf: Callable[[], Shelf]) -> None:
        self._store, self._shelf = store, shelf
        self._folder = store.state_dir / FOLDER
        self._file = self._folder / "shared"
        self.series = Series(self._folder / "series")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Count now and then, by a thread, while no other process of this store does."""
        self._thread = threading.Thread(target=self._run, name="showcase-counting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def once(self) -> bool:
        """Count, and note the hour's point; False if another process is at it.  `LaminaError`."""
        with storage_errors("write the page's figures", self._folder):
            self._folder.mkdir(exist_ok=True)
            lock = forks.open_lock(self._folder / "lock")
        try:
            return _locked(lock) and self._count()
        finally:
            forks.close_lock(lock)

    def key(self) -> object:
        """Changes when there is something new to read."""
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self) -> Counted | None:
        """What was counted last; None if nothing was, or it makes no sense."""
        try:
            if self._file.stat().st_size > _LARGEST:
                return None
            return Counted.decode(self._file.read_bytes())
        except (OSError, ValueError):
            return None

    def _count(self) -> bool:
        shelf = self._shelf()
        counted = count(self._store, shelf, self._stop.is_set)
        if self._stop.is_set():
            return False
        with storage_errors("write the page's figures", self._folder):
            fresh = self._folder / "shared.new"
            fresh.write_bytes(counted.encode())
            fresh.replace(self._file)
        if not counted.partial:
            stored = sum(pack.bytes for pack in self._store.catalog.packs(LIVE))
            self.series.add(Point(counted.time, shelf.pushed, shelf.layers, counted.chunks, stored))
        return True

    def _run(self) -> None:
        """Again when the store has changed, and for each hour's point; at most a tenth of the time is spent on it."""
        known, last = -1, 0.0
        pause = 0.0
        while not self._stop.wait(pause):
            began, pause = time.monotonic(), PAUSE
            with suppress(LaminaError):  # a full disk, a locked catalog: it is tried again, and what is asked for tells of them
                now = self._store.catalog.sequence()
                if (now != known or began - last >= HOUR) and self.once():
                    known, last = now, began
                    pause = max(PAUSE, REST * (time.monotonic() - began))


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
