"""Uploads: what has arrived lies in a file, whatever becomes of the server, and runs through the pipeline while it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lamina.digest import Digest
from lamina.errors import Conflict, NotFound, StoreError
from lamina.images.served.handover import Handover
from lamina.images.served.intake import PATIENCE, Feed, Intake, Slots
from lamina.images.served.little import LITTLE, Little
from lamina.registry.server.contents import Stored
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.receiving import Arriving

START: Final = 4 << 20  # bytes that have arrived before the pipeline begins: less than that is quicker at the end
IDLE: Final = 60.0  # seconds after which an upload that nobody goes on with leaves the pipeline
# A slow one leaves it, too: a collection waits for its lease.  What is in its file goes through once more at the end.
LONG, SLOW = 300.0, 16 << 20  # seconds, bytes a second


class Uploads:
    """Of one open store.  Usable from several threads; other processes may go on with what this one began."""

    def __init__(self, store: BlobStore, compression: str, slots: int) -> None:
        self._store, self._compression = store, compression
        self.little = Little(store, compression)
        self._slots, self._small = Slots(slots), Slots(slots)
        self._lock = threading.Lock()
        self._live: dict[str, Intake] = {}  # that no request holds
        self._all: set[Intake] = set()  # that take a slot of the large ones
        self._handover: Handover | None = None

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
            if live is not None and not _caught_up(live, arriving):
                self.drop(live)
                live = None
            upload = Upload(self, arriving, live)
            try:
                yield upload
            finally:
                self._leave(upload_id, upload)

    def _leave(self, upload_id: str, upload: Upload) -> None:
        """The pipeline waits for more of it, unless it has failed."""
        live, upload.live = upload.live, None
        if live is None:
            return
        with self._lock:
            if not upload.over and live in self._all:
                self._live[upload_id] = live
                return
        self.drop(live)

    def start(self, arriving: Arriving) -> Intake | None:
        """The pipeline for an upload that has become large, if a slot is free."""
        return self._intake(arriving, "sha256", self._slots) if self._slots.try_enter() else None

    def whole(self, arriving: Arriving, algorithm: str) -> Intake:
        """The pipeline for one that is whole, all of it in its file."""
        small = arriving.offset < START
        slots = self._small if small else self._slots
        slots.enter((lambda _: None) if small else self._make_room)
        return self._intake(arriving, algorithm, slots, whole=True)

    def _intake(self, arriving: Arriving, algorithm: str, slots: Slots, *, whole: bool = False) -> Intake:
        try:
            feed = Feed(arriving.reader(), arriving.offset)
            if whole:
                feed.end()
            intake = Intake(self._store, self._compression, feed, algorithm, slots.leave)
        except BaseException:
            slots.leave()
            raise
        if slots is self._slots:
            with self._lock:
                self._all.add(intake)
        return intake

    def drop(self, intake: Intake) -> None:
        """Let go of it."""
        with self._lock:
            self._all.discard(intake)
        intake.close()

    def _make_room(self, waited: float) -> None:
        """Send away one that waits for its client; in the end any that is not whole, the one that has waited the longest.

        Whoever holds it finds out at its next bytes.
        """
        with self._lock:
            open_ones = sorted((each for each in self._all if not each.feed.ended), key=lambda each: each.feed.touched)
            gone = next((each for each in open_ones
                         if (waited > PATIENCE or each.feed.stalled) and each.feed.send_away()), None)
            self._forget([gone] if gone is not None else [])
        if gone is not None:
            gone.close()

    def _forget(self, gone: Collection[Intake]) -> None:
        """With the lock held."""
        self._all.difference_update(gone)
        self._live = {key: each for key, each in self._live.items() if each not in gone}

    def tend(self) -> None:
        """Let go of those that nobody goes on with, or too slowly."""
        now = time.monotonic()
        with self._lock:
            gone = [each for each in self._all if not each.feed.ended and (
                now - each.feed.touched > IDLE or each.feed.fed < SLOW * (now - each.feed.begun) > SLOW * LONG)
                and each.feed.send_away()]
            self._forget(gone)
        for each in gone:
            each.close()

    def close(self) -> None:
        """What has arrived stays for the next server."""
        if self._handover is not None:
            self._handover.close()
        with self._lock:
            gone = list(self._live.values())
            self._forget(gone)
        for each in gone:
            each.close()

    # -- other processes

    def listen(self) -> None:
        """There are other processes that serve this store: each ends what it has begun."""
        self._handover = Handover(self._store.state_dir, self.adopt)

    def elsewhere(self, arriving: Arriving, digest: Digest) -> bool:
        """Whether another process had it in its pipeline, and has brought it to its end; `DIGEST_INVALID`."""
        if self._handover is None or arriving.offset < START:
            return False
        return self._handover.ask(arriving.path.name, arriving.repository, digest, arriving.offset)

    def adopt(self, upload_id: str, repository: str, digest: Digest, size: int) -> Callable[[], None] | None:
        """What ends an upload that is in the pipeline here and of which another process has the rest, in its file."""
        with self._lock:
            live = self._live.pop(upload_id, None)
        if live is None:
            return None
        if live.algorithm != digest.algorithm or live.feed.fed > size:
            self.drop(live)
            return None

        def end() -> None:
            try:
                if not (live.feed.grow(size) and live.feed.end()):
                    raise Conflict("an upload was set aside", upload_id)
                self.commit(repository, live, digest)
            finally:
                self.drop(live)

        return end

    # -- the end

    def commit_little(self, arriving: Arriving, digest: Digest) -> Stored:
        """As `commit`, for one that is hardly worth a session."""
        data = bytearray(arriving.offset)
        if data and arriving.reader()(memoryview(data), 0) != len(data):
            raise StoreError("an upload has become shorter", arriving.path, "send it again")
        self.little.put(arriving.repository, digest, bytes(data))
        return Stored(digest, len(data))

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


def _caught_up(live: Intake, arriving: Arriving) -> bool:
    """Whether the pipeline has got what another process has put into the file meanwhile."""
    return live.feed.fed <= arriving.offset and live.feed.grow(arriving.offset)


class Upload:
    """One, held by one request."""

    def __init__(self, uploads: Uploads, arriving: Arriving, live: Intake | None) -> None:
        self._uploads, self._arriving, self.live = uploads, arriving, live
        self.over = False
        # What another process has begun it has in its pipeline: this one only writes to the file, and the end is that one's.
        self._calm = live is None and arriving.offset >= START

    @property
    def offset(self) -> int:
        """How many bytes have arrived."""
        return self._arriving.offset

    def reader(self) -> Callable[[memoryview, int], int]:
        """`pread(buffer, offset)` of what has been written, also after the end."""
        return self._arriving.reader()

    def write(self, data: memoryview, /) -> None:
        """The next bytes."""
        try:
            self._arriving.write(data)
        except BaseException:
            self._drop()  # a disk that is full needs no pipeline that waits for more
            raise
        if self.live is not None:
            if not self.live.feed.grow(self.offset):  # it has failed, or was sent away: the end will do it anew, or tell why
                self._drop()
                self._calm = True
        elif self.offset >= START and not self._calm:
            self.live = self._uploads.start(self._arriving)

    def finish(self, digest: Digest, /) -> Stored:
        """That was all."""
        if self.live is not None and (self.live.algorithm != digest.algorithm or self.live.feed.fed != self.offset
                                      or not self.live.feed.end()):
            self._drop()
        try:
            if self.live is None and self.offset <= LITTLE:
                stored = self._uploads.commit_little(self._arriving, digest)
            elif self.live is None and self._uploads.elsewhere(self._arriving, digest):
                stored = Stored(digest, self.offset)
            else:
                if self.live is None:
                    self.live = self._uploads.whole(self._arriving, digest.algorithm)
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
            self._uploads.drop(live)
