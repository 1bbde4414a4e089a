"""A blob on its way into the store while it arrives: bytes in at one end, a session with the blob at the other.

Each has a session of its own, since each is committed on its own: some 60 MB while it is at work.  So only some are at work at
a time (`Slots`); who finds no slot waits with its bytes in the file that they lie in anyhow, and one that stands still because
its client does makes room for one that is whole.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from lamina.content import Taken
from lamina.errors import LaminaError, StoreError
from lamina.store.spares import SPARES

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.session import Session

BLOCK: Final = 1 << 20  # bytes that the server gives at once, at most
AHEAD: Final = 4 << 20  # bytes that wait for the pipeline before the client has to
STALLED: Final = 2.0  # seconds without a byte after which an intake may be sent away
PATIENCE: Final = 5.0  # seconds that one that is whole waits for a slot before any that is not has to go

Pread = Callable[[memoryview, int], int]


class Abandoned(LaminaError):
    """An intake that was sent away; what has arrived is in its file."""


class Feed:
    """A `Reader` of what arrives: first what lies in a file already, then what is put."""

    def __init__(self, pread: Pread, already: int) -> None:
        self._pread, self._already, self._at = pread, already, 0
        self._blocks: deque[memoryview] = deque()
        self._waiting = 0
        self._changed = threading.Condition(threading.RLock())
        self._ended = self._over = False
        self.fed = already
        self.begun = self.touched = time.monotonic()

    @property
    def size(self) -> int | None:
        """Only the end will tell."""
        return None

    def put(self, data: memoryview) -> bool:
        """The next bytes, copied; waits while too many are ahead.  False if nobody reads any more."""
        block = _block(data)
        with self._changed:
            self.touched = time.monotonic()
            while self._waiting >= AHEAD and not self._over:
                self._changed.wait()
            self.touched = time.monotonic()
            if self._over:
                return False
            self._blocks.append(block)
            self._waiting += len(block)
            self.fed += len(block)
            self._changed.notify_all()
            return True

    def catch_up(self, size: int) -> bool:
        """Take from the file what another process has written there, up to `size` bytes in all.  False as of `put`."""
        buffer = memoryview(bytearray(min(BLOCK, max(1, size - self.fed))))
        while self.fed < size:
            count = self._pread(buffer[: size - self.fed], self.fed)
            if not count:
                raise StoreError("an upload has become shorter", self.fed, "send it again")
            if not self.put(buffer[:count]):
                return False
        return True

    def end(self) -> bool:
        """That was all.  False if nobody reads any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            return not self._over

    def send_away(self) -> bool:
        """As `abandon`, unless all has come; whether it was done."""
        with self._changed:
            if not self._ended:
                self.abandon()
            return not self._ended

    def abandon(self) -> None:
        """Nobody wants it any more."""
        with self._changed:
            self._over = True
            self._blocks.clear()
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether all has come."""
        return self._ended

    @property
    def stalled(self) -> bool:
        """Whether the pipeline waits for a client that has sent nothing for a while."""
        return not self._waiting and not self._ended and time.monotonic() - self.touched > STALLED

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes, waited for."""
        if self._at < self._already and not self._over:
            count = self._pread(buffer[: min(len(buffer), self._already - self._at)], self._at)
            self._at += count
            if count:
                return count
            raise StoreError("an upload has become shorter", self._at, "send it again")
        with self._changed:
            while not self._blocks and not self._ended and not self._over:
                self._changed.wait()
            if self._over:
                raise Abandoned("an upload was set aside")
            if not self._blocks:
                return 0
            block = self._blocks[0]
            count = min(len(block), len(buffer))
            buffer[:count] = block[:count]
            if count == len(block):
                self._blocks.popleft()
                if isinstance(block.obj, np.ndarray):
                    SPARES.give([block.obj])
            else:
                self._blocks[0] = block[count:]
            self._waiting -= count
            self._changed.notify_all()
            return count

    def close(self) -> None:
        """No more is read."""
        self.abandon()


def _block(data: memoryview) -> memoryview:
    """A copy; in a buffer that is used again and again if it is worth it."""
    if not BLOCK // 16 < len(data) <= BLOCK:
        return memoryview(bytes(data))
    found = SPARES.take(BLOCK)
    block = memoryview(np.empty(BLOCK, np.uint8) if found is None else found)[: len(data)]
    block[:] = data
    return block


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
            self.session = self._store.session(compression=self._compression)
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
