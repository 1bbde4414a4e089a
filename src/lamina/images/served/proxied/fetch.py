"""One blob on its way in, and the readers that follow it.

The bytes lie in the upload's file, so that clients of any pace share one fetch, which none of them holds up and which goes on
when they leave.  The last byte of whatever is asked for is held back until all of the blob has come, has its digest and is
kept: no client gets the whole of an answer that was not checked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.content import Reader
from lamina.errors import InvalidContent
from lamina.images.served.proxied.upstream import FAILURES, refused
from lamina.oci import Descriptor
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.proxied.fetching import Fetches
    from lamina.images.served.proxied.routes import Place

log = logging.getLogger(__name__)

PIECE: Final = 1 << 20


class Fetch:
    """One blob; `start` begins it.  For several threads."""

    def __init__(self, fetches: Fetches, place: Place, blob: Descriptor, open_: Callable[[], Reader]) -> None:
        self.place, self.blob = place, blob
        self._fetches, self._open = fetches, open_
        self._changed = threading.Condition()
        self._filed = 0  # bytes that lie in the file
        self._pread: Callable[[memoryview, int], int] | None = None
        self._over = False
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, name="lamina-fetch", daemon=True)

    def _run(self) -> None:
        try:
            self._fetches.bring(self)
        except Exception as error:
            self._error = error
            log.warning("%s@%s: %s", self.place.name, self.blob.digest, error)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()
            self._fetches.ended(self)

    def copy(self, contents: StoreContents) -> None:
        """Bring it into the store; nothing of it is left if that fails."""
        upload_id = contents.begin_upload(self.place.blobs)
        with contents.upload(self.place.blobs, upload_id) as upload:
            try:
                reader = self._open()
                try:
                    self._pread = upload.reader()
                    self._feed(reader, upload.write)
                finally:
                    reader.close()
                upload.finish(self.blob.digest)
            except BaseException as error:
                if not upload.over:
                    upload.cancel()
                if isinstance(error, Refusal):
                    raise InvalidContent(f"the registry sends other bytes: {error.detail}", self.blob.digest) from error
                raise

    def _feed(self, reader: Reader, write: Callable[[memoryview], None]) -> None:
        """In whole pieces."""
        piece = memoryview(bytearray(PIECE))
        filled = 0
        while True:
            count = reader.readinto(piece[filled:])
            filled += count
            if self._fetches.closing:
                raise Refusal("UNAVAILABLE", "the server stops")
            if count and filled < PIECE:
                continue
            if filled:
                write(piece[:filled])
            with self._changed:
                self._filed += filled
                self._changed.notify_all()
            if not count:
                return
            filled = 0

    def _raise(self) -> None:
        if isinstance(self._error, FAILURES):
            raise refused(self._error, "BLOB_UNKNOWN", str(self.blob.digest)) from self._error
        if self._error is not None:
            raise self._error

    def read(self, buffer: memoryview, at: int, stop: int) -> int:
        """Some bytes from `at` on, at most to `stop`, waited for."""
        with self._changed:
            while True:
                ready = min(self._filed, stop if self._over else stop - 1) - at
                if self._over or ready > 0:
                    break
                self._changed.wait()
        if self._over:
            self._raise()
        view = buffer[: max(0, ready)]
        if not len(view):
            return 0
        assert self._pread is not None
        return self._pread(view, at)

    @property
    def passing(self) -> bool:
        """Whether its bytes pass through this process: another one may have brought it."""
        with self._changed:
            return self._pread is not None or not self._over


class Following:
    """A `Reader` of a fetch; of the store, where another process has brought the blob."""

    def __init__(self, fetch: Fetch, start: int, stop: int, kept: Callable[[], Reader], leave: Callable[[], None]) -> None:
        self._fetch, self._at, self._stop, self._kept, self._leave = fetch, start, stop, kept, leave
        self._reader: Reader | None = None
        self._size = stop - start
        self._closed = False

    @property
    def size(self) -> int | None:
        return self._size

    def readinto(self, buffer: memoryview, /) -> int:
        if self._reader is not None:
            return self._reader.readinto(buffer)
        if self._at == self._stop:
            return 0
        count = self._fetch.read(buffer, self._at, self._stop)
        if not count and not self._fetch.passing:
            self._reader = self._kept()
            return self._reader.readinto(buffer)
        self._at += count
        return count

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._leave()
            if self._reader is not None:
                self._reader.close()
