"""Blobs that are stored as they came, and were found right: they go out by sendfile.

A blob's first download in a process runs through the store's reader, which holds every byte against checksums and the whole
against its digest; hashing and copies are 1.6 of its 2.2 CPU seconds a GB.  If all of it lies in packs as it is, that is
remembered with the places, and for `TRUST` seconds it is given out from there by the kernel.

What holds: the bytes at these places were right when this process read them, at most `TRUST` seconds ago, and nothing of ours
ever changes a pack.  Should the disk change them meanwhile, and the kernel have dropped and read them again, such bytes go out,
until the next whole reading; the client's own check of the digest is what notices.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from lamina.store.asitis import AsItIs, Places, cut

if TYPE_CHECKING:
    from lamina.content import Reader
    from lamina.store import BlobStore
    from lamina.store.assemble import Place

TRUST: Final = 900.0  # seconds
PIECES: Final = 1 << 16  # of one blob: each chunk is one, so that is some 4.5 GB
KEPT: Final = 1 << 18  # pieces of all blobs together: 6 MB
BLOBS: Final = 4096
SMALL: Final = 64 << 10  # bytes of a blob for which it is not worth it


class Verbatim:
    """What is known of one open store.  Usable from several threads."""

    def __init__(self, store: BlobStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Places]] = OrderedDict()  # the one proved longest ago first
        self._pieces = 0

    def get(self, digest: str) -> Places | None:
        """Where it lies; None if it has not been found right of late, or lies otherwise."""
        with self._lock:
            since, places = self._known.get(digest, (0.0, None))
            return places if places is not None and self._clock() - since <= TRUST else None

    def open(self, places: Places, start: int, stop: int) -> Reader:
        """A reader of these bytes; `StoreDamaged` if a pack has gone."""
        return AsItIs(self._store.packs, cut(places, start, stop))

    def proved(self, digest: str, places: Sequence[Place]) -> None:
        """It was read from there just now, and was right."""
        rows = np.array(places, np.int64).reshape(-1, 3)
        with self._lock:
            self._forget(digest)
            self._known[digest] = self._clock(), rows
            self._pieces += len(rows)
            while self._pieces > KEPT or len(self._known) > BLOBS:
                self._forget(next(iter(self._known)))

    def forget(self, digest: str) -> None:
        """It has gone from there."""
        with self._lock:
            self._forget(digest)

    def _forget(self, digest: str) -> None:
        _, places = self._known.pop(digest, (0.0, None))
        self._pieces -= 0 if places is None else len(places)


class Proving:
    """A blob's verified reader, all of it: the last bytes come when the digest is known to be right, and `then` is called."""

    def __init__(self, reader: Reader, size: int, then: Callable[[], None]) -> None:
        self._reader, self._left, self._then = reader, size, then

    @property
    def size(self) -> int | None:
        return self._reader.size

    def readinto(self, buffer: memoryview, /) -> int:
        """As the reader's."""
        count = self._reader.readinto(buffer)
        self._left -= count
        if count and not self._left:
            while self._reader.readinto(memoryview(bytearray(1))):  # 0 says that all is verified; anything else is an error
                pass
            self._then()
        return count

    def close(self) -> None:
        self._reader.close()
