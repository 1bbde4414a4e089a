"""The blobs that are on their way in: how many at once, one fetch for all who want the same.

Two processes do not fetch the same blob: the second waits for the first, but not longer than `PATIENCE`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lamina.content import Reader
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.images.served.proxied.fetch import Fetch, Following
from lamina.oci import Descriptor
from lamina.registry.server.refusal import Refusal
from lamina.store.room import FLOOR, require
from lamina.store.uploads import UploadJournal

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.proxied.routes import Place

FETCHES: Final = 16  # at once
READERS: Final = 32  # that wait for them: each has a thread of the server
PATIENCE: Final = 20.0  # seconds of waiting for another process
LOOK: Final = 0.2
CLOSING: Final = 30.0  # seconds that fetches may take to end when the server stops


class Fetches:
    """Those of one process.  `done` is called in the thread of one that has come to its end."""

    def __init__(self, contents: StoreContents, done: Callable[[Place, Digest], None]) -> None:
        self._contents, self._done = contents, done
        self._claims = UploadJournal(contents.store.state_dir / "fetching")
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], Fetch] = {}
        self._readers = 0
        self.closing = False

    def running(self, place: Place, digest: Digest) -> Fetch | None:
        """One that is under way."""
        with self._lock:
            return self._running.get((place.blobs, digest))

    def start(self, place: Place, blob: Descriptor, open_: Callable[[], Reader]) -> Fetch:
        """The fetch of a blob, begun if it is not under way; `TOOMANYREQUESTS`."""
        with self._lock:
            found = self._running.get((place.blobs, blob.digest))
            if found is None:
                if len(self._running) >= FETCHES or self.closing:
                    raise Refusal("TOOMANYREQUESTS", "too many blobs are being fetched")
                found = self._running[place.blobs, blob.digest] = Fetch(self, place, blob, open_)
                found.thread.start()
            return found

    def follow(self, fetch: Fetch, start: int, stop: int, kept: Callable[[], Reader]) -> Following:
        """Its bytes from `start` to `stop`; `TOOMANYREQUESTS`."""
        with self._lock:
            if self._readers >= READERS:
                raise Refusal("TOOMANYREQUESTS", "too many clients wait for what is being fetched")
            self._readers += 1
        return Following(fetch, start, stop, kept, self._leave)

    def _leave(self) -> None:
        with self._lock:
            self._readers -= 1

    def bring(self, fetch: Fetch) -> None:
        """In the fetch's thread."""
        key = f"{fetch.place.blobs}@{fetch.blob.digest}"
        claimed = self._claim(key, fetch)
        try:
            if not self._contents.store.catalog.links.has(fetch.place.linked, fetch.blob.digest):
                require(self._contents.store.backend, fetch.blob.size + FLOOR, "fetch a blob", self._contents.store.path)
                fetch.copy(self._contents)
        finally:
            if claimed:
                self._claims.release(key)
        with suppress(LaminaError):
            self._done(fetch.place, fetch.blob.digest)

    def _claim(self, key: str, fetch: Fetch) -> bool:
        """Wait for another process that is at it; False: it takes too long, and this one fetches the blob, too."""
        began = time.monotonic()
        while not self._claims.claim(key):
            if self.closing or time.monotonic() - began > PATIENCE:
                return False
            time.sleep(LOOK)
        return True

    def ended(self, fetch: Fetch) -> None:
        """Called by it."""
        with self._lock:
            self._running.pop((fetch.place.blobs, fetch.blob.digest), None)

    def close(self) -> None:
        """End them: what has not come to its end is left away."""
        self.closing = True
        with self._lock:
            threads = [one.thread for one in self._running.values()]
        for each in threads:
            each.join(CLOSING)
