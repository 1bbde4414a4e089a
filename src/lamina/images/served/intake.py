"""A blob on its way into the store while it arrives: bytes in at one end, a session with the blob at the other.

Each has a session of its own, since each is committed on its own: some 60 MB while it is at work.  So only some are at work at
a time (`Slots`); who finds no slot waits with its bytes in the file that they lie in anyhow, and one that stands still because
its client does makes room for one that is whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.content import Taken
from lamina.errors import LaminaError, StoreError
from lamina.store.tuning import Tuning

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.session import Session

AHEAD: Final = 16 << 20  # bytes in the file that wait for the pipeline before the client has to
STALLED: Final = 2.0  # seconds without a byte after which an intake may be sent away
PIECE: Final = 1 << 20  # bytes that go through the pipeline together: the last are done with that much sooner
PATIENCE: Final = 5.0  # seconds that one that is whole waits for a slot before any that is not has to go

Pread = Callable[[memoryview, int], int]


class Abandoned(LaminaError):
    """An intake that was sent away; what has arrived is in its file."""


class Feed:
    """A `Reader` of a file that grows: what has arrived is read out of the page cache, by the pipeline's own thread."""

    def __init__(self, pread: Pread, already: int) -> None:
        self._pread, self._at = pread, 0
        self._changed = threading.Condition()
        self._ended = self._over = False
        self.fed = already
        self.begun = self.touched = time.monotonic()

    @property
    def size(self) -> int | None:
        """Only the end will tell."""
        return None

    def grow(self, size: int) -> bool:
        """So many bytes lie in the file; waits while too many are ahead.  False if nobody reads any more."""
        with self._changed:
            self.touched = time.monotonic()
            self.fed = max(self.fed, size)
            self._changed.notify_all()
            while self.fed - self._at > AHEAD and not self._over:
                self._changed.wait()
            self.touched = time.monotonic()
            return not self._over

    def end(self) -> bool:
        """That was all.  False if nobody reads any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            return not self._over

    def send_away(self) -> bool:
        """As `abandon`, unless all has come; whether it was done."""
        with self._changed:
            self._over = self._over or not self._ended
            self._changed.notify_all()
            return not self._ended

    def abandon(self) -> None:
        """Nobody wants it any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether all has come."""
        return self._ended

    @property
    def stalled(self) -> bool:
        """Whether the pipeline waits for a client that has sent nothing for a while."""
        return self._at == self.fed and not self._ended and time.monotonic() - self.touched > STALLED

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes, waited for."""
        with self._changed:
            while self._at == self.fed and not self._ended and not self._over:
                self._changed.wait()
            if self._over:
                raise Abandoned("an upload was set aside")
            room = self.fed - self._at
        if not room:
            return 0
        count = self._pread(buffer[:room], self._at)
        if not count:
            raise StoreError("an upload has become shorter", self._at, "send it again")
        with self._changed:
            self._at += count
            self._changed.notify_all()
        return count

    def close(self) -> None:
        """No more is read."""
        self.abandon()


class Intake:
    """One blob; `feed` takes its bytes.  `take` waits for its end, `close` undoes whatever was not committed."""

    def __init__(self, store: BlobStore, compression: str, feed: Feed, algorithm: str, leave: Callable[[], None]) -> None:
        self.feed, self.algorithm, self._leave = feed, algorithm, leave
        self._store, self._compression = store, compression
        self.session: Session | None = None
        self._taken: Taken | None = None
        self._failure: BaseException | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="lamina-intake", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.session = self._store.session(compression=self._compression, tuning=Tuning(piece=PIECE))
            self._taken = self.session.intake(self.feed, plain=False, algorithm=self.algorithm)
        except BaseException as error:  # raised again by who takes it
            self._failure = error
        finally:
            self.feed.abandon()

    def take(self) -> Taken:
        """What it has come to, when all of it has been put and its feed has ended; `LaminaError`."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        assert self._taken is not None
        return self._taken

    def close(self) -> None:
        """Let go of everything; again is harmless, from whatever thread: all has been let go of when it returns."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                self.feed.abandon()
                self._thread.join()
                if self.session is not None:
                    self.session.abort()
            finally:
                self._leave()


class Slots:
    """How many are at work at once.  Who waits comes before who only tries."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting = count, 0
        self._changed = threading.Condition()

    def try_enter(self) -> bool:
        """Whether there was one."""
        with self._changed:
            return not self._waiting and self._take()

    def enter(self, make_room: Callable[[float], None]) -> None:
        """Wait for one; `make_room` is called now and then, with the seconds that have been waited."""
        begun = time.monotonic()
        with self._changed:
            self._waiting += 1
        try:
            while True:
                with self._changed:
                    if self._take():
                        return
                make_room(time.monotonic() - begun)
                with self._changed:
                    if not self._free:
                        self._changed.wait(0.2)
        finally:
            with self._changed:
                self._waiting -= 1

    def _take(self) -> bool:
        if not self._free:
            return False
        self._free -= 1
        return True

    def leave(self) -> None:
        """There is one more."""
        with self._changed:
            self._free += 1
            self._changed.notify()
