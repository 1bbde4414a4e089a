"""Uploads: what has arrived lies in a file, whatever becomes of the server, and runs through the pipeline while it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lamina.digest import Digest
from lamina.errors import Conflict, NotFound
from lamina.images.served.intake import Feed, Intake, Slots
from lamina.registry.server.contents import Stored
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.receiving import Arriving

START: Final = 4 << 20  # bytes that have arrived before the pipeline begins: less than that is quicker at the end
IDLE: Final = 60.0  # seconds after which an upload that nobody goes on with leaves the pipeline


class Uploads:
    """Of one open store.  Usable from several threads; other processes may go on with what this one began."""

    def __init__(self, store: BlobStore, compression: str, slots: int) -> None:
        self._store, self._compression = store, compression
        self._slots, self._small = Slots(slots), Slots(slots)
        self._lock = threading.Lock()
        self._live: dict[str, Intake] = {}

    @contextmanager
    def open(self, repository: str, upload_id: str) -> Iterator[Upload]:
        """`BLOB_UPLOAD_UNKNOWN`, `TOOMANYREQUESTS`."""
        try:
            arriving = self._store.receiving.open(repository, upload_id)
        except NotFound as error:
            raise Refusal("BLOB_UPLOAD_UNKNOWN", upload_id[:64]) from error
        except Conflict as error:
            raise Refusal("TOOMANYREQUESTS", error.what) from error
        with arriving:
            with self._lock:
                live = self._live.pop(upload_id, None)
            if live is not None and live.feed.fed != arriving.offset:  # another process has gone on with it
                live.close()
                live = None
            upload = Upload(self, arriving, live)
            try:
                yield upload
            finally:
                arriving.flush()
                self._keep(upload_id, upload)

    def _keep(self, upload_id: str, upload: Upload) -> None:
        live, upload.live = upload.live, None
        if live is None:
            return
        if upload.over:
            live.close()
            return
        with self._lock:
            self._live[upload_id] = live

    def start(self, arriving: Arriving) -> Intake | None:
        """The pipeline for an upload that has become large, if a slot is free."""
        if not self._slots.try_enter():
            return None
        arriving.flush()
        return self._intake(arriving, "sha256", self._slots)

    def whole(self, arriving: Arriving, algorithm: str) -> Intake:
        """The pipeline for one that is whole, all of it in its file."""
        slots = self._small if arriving.offset < START else self._slots
        slots.enter(self._make_room)
        arriving.flush()
        return self._intake(arriving, algorithm, slots)

    def _intake(self, arriving: Arriving, algorithm: str, slots: Slots) -> Intake:
        try:
            feed = Feed(arriving.reader(), arriving.offset)
            return Intake(self._store, self._compression, feed, algorithm, slots.leave)
        except BaseException:
            slots.leave()
            raise

    def _make_room(self) -> None:
        """Send away one that waits for its client."""
        with self._lock:
            found = next((key for key, each in self._live.items() if each.feed.stalled), None)
            live = self._live.pop(found) if found is not None else None
        if live is not None:
            live.close()

    def tend(self) -> None:
        """Let go of those that nobody goes on with."""
        now = time.monotonic()
        with self._lock:
            idle = [key for key, each in self._live.items() if now - each.feed.touched > IDLE]
            gone = [self._live.pop(key) for key in idle]
        for each in gone:
            each.close()

    def close(self) -> None:
        """What has arrived stays for the next server."""
        with self._lock:
            gone, self._live = list(self._live.values()), {}
        for each in gone:
            each.close()

    def commit(self, repository: str, intake: Intake, digest: Digest) -> Stored:
        """The repository has it, durably; `DIGEST_INVALID`."""
        taken = intake.take()
        if taken.digest != digest:
            raise Refusal("DIGEST_INVALID", f"the content has the digest {taken.digest}")
        assert intake.session is not None
        if self._store.link(repository, digest):  # it was there already: what is new of this are a head and a pack
            return Stored(digest, taken.size)
        intake.session.link(repository, digest)
        intake.session.commit()
        return Stored(digest, taken.size)


class Upload:
    """One, held by one request."""

    def __init__(self, uploads: Uploads, arriving: Arriving, live: Intake | None) -> None:
        self._uploads, self._arriving, self.live = uploads, arriving, live
        self.over = False

    @property
    def offset(self) -> int:
        """How many bytes have arrived."""
        return self._arriving.offset

    def reader(self) -> Callable[[memoryview, int], int]:
        """`pread(buffer, offset)` of whole buffers of 1 MiB that have been written, also after the end."""
        return self._arriving.reader()

    def write(self, data: memoryview, /) -> None:
        """The next bytes."""
        self._arriving.write(data)
        if self.live is None and self.offset >= START:
            self.live = self._uploads.start(self._arriving)
        elif self.live is not None and not self.live.feed.put(data):
            self._drop()  # it has failed: the end will tell why

    def finish(self, digest: Digest, /) -> Stored:
        """That was all."""
        if self.live is not None and (self.live.algorithm != digest.algorithm or self.live.feed.fed != self.offset):
            self._drop()
        if self.live is None:
            self.live = self._uploads.whole(self._arriving, digest.algorithm)
        try:
            stored = self._uploads.commit(self._arriving.repository, self.live, digest)
        except Refusal:
            self.cancel()
            raise
        finally:
            self._drop()
        self.over = True
        self._arriving.remove()
        return stored

    def cancel(self) -> None:
        """It is over."""
        self.over = True
        self._drop()
        self._arriving.remove()

    def _drop(self) -> None:
        live, self.live = self.live, None
        if live is not None:
            live.close()
