"""Reading ahead: one thread fills a few buffers from a reader, several consumers work on each, then it is filled again."""

from __future__ import annotations

import mmap
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina.content import Reader
from lamina.store.spares import SPARES
from lamina.store.stages import Stages

if TYPE_CHECKING:
    from lamina.store.cutting import Cut, Cutting

BODY = (1 << 20) << 2
BUFFERS = 5
PATIENCE = 0.5  # seconds that an interrupted session waits for a reader that does not return
WATCH = 0.2  # seconds between two looks at whether the session has ended meanwhile
LAG = 1  # buffers that consumers in other threads may still be working on while the next one is handed out


@dataclass(slots=True)
class Filled:
    """`count` bytes at `start` of a buffer; `last` says that the stream ends here (count may be 0).  `cut` is what the
    reading thread has made of it."""

    buffer: npt.NDArray[np.uint8]
    start: int
    count: int
    last: bool
    cut: Cut | None = None

    @property
    def view(self) -> memoryview:
        return memoryview(self.buffer)[self.start : self.start + self.count]


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    """A buffer from the start of a page, as reads past the page cache want it."""
    memory = np.empty(size + mmap.PAGESIZE, np.uint8)
    start = -memory.ctypes.data % mmap.PAGESIZE
    return memory[start : start + size]


class BufferPool:
    """A fixed number of buffers with headroom before their body, used again for every blob of a session."""

    def __init__(self, headroom: int) -> None:
        self.headroom = headroom
        self._free = [self._buffer() for _ in range(BUFFERS)]

    def _buffer(self) -> npt.NDArray[np.uint8]:
        found = SPARES.take(self.headroom + BODY)
        return _aligned(self.headroom + BODY) if found is None else found

    def close(self) -> None:
        """Leave the buffers to another; nobody reads into them."""
        SPARES.give(self._free)
        self._free = []

    def read(
        self, reader: Reader, watch: Callable[[memoryview], None] | None = None, stages: Stages | None = None,
        piece: int = BODY, buffers: int = BUFFERS, over: Callable[[], None] | None = None, cutting: Cutting | None = None,
    ) -> Generator[Filled, None, None]:
        """The reader's bytes, buffer by buffer, read ahead by a thread; `piece` bytes each, but for the last.

        `buffers` of them are in use, more than `LAG + 1`: what has been read and not been seen to its end.

        When a buffer is asked for, the one `LAG` before the last is filled again: consumers in other threads are to be done
        with that one (`Consumer.wait(LAG)` after each `give` sees to it).

        What the reader raises is raised here, after what came before.  In the reading thread `watch` sees each buffer
        (progress, limits) and `cutting` cuts it.  `over` is called now and then while a reader keeps us waiting, and may
        raise.
        """
        free: queue.SimpleQueue[npt.NDArray[np.uint8] | None] = queue.SimpleQueue()
        full: queue.SimpleQueue[Filled | BaseException] = queue.SimpleQueue()
        for buffer in self._free[:buffers]:
            free.put(buffer)

        stopped = threading.Event()

        def run() -> None:
            try:
                while (buffer := free.get()) is not None and not stopped.is_set():
                    cpu, wall = time.thread_time(), time.perf_counter()
                    filled, failure = self._fill(reader, buffer, min(piece, BODY), stopped)
                    if stages is not None:
                        stages.add("read", time.thread_time() - cpu, time.perf_counter() - wall, filled.count)
                    if watch is not None:
                        watch(filled.view)
                    if filled.count or filled.last:
                        if cutting is not None:
                            filled.cut = cutting(filled)
                        full.put(filled)
                    if failure is not None:
                        full.put(failure)
                    if filled.last or failure is not None:
                        return
            except BaseException as error:  # raised again by the consumer
                full.put(error)

        thread = threading.Thread(target=run, name="lamina-read", daemon=True)
        thread.start()
        out: deque[npt.NDArray[np.uint8]] = deque()
        try:
            while True:
                item = _next(full, over)
                if isinstance(item, BaseException):
                    raise item
                out.append(item.buffer)
                yield item
                if item.last:
                    return
                if len(out) > LAG:
                    free.put(out.popleft())
        finally:
            stopped.set()
            free.put(None)
            thread.join(PATIENCE)
            if thread.is_alive():  # it sits in a read that does not return (a silent pipe): leave it its buffers
                self._free = [self._buffer() for _ in range(BUFFERS)]

    def _fill(
        self, reader: Reader, buffer: npt.NDArray[np.uint8], piece: int, stopped: threading.Event
    ) -> tuple[Filled, BaseException | None]:
        view = memoryview(buffer)
        at, end = self.headroom, self.headroom + piece
        try:
            while at < end and not stopped.is_set():
                count = reader.readinto(view[at:end])
                if count == 0:
                    return Filled(buffer, self.headroom, at - self.headroom, True), None
                at += count
        except BaseException as error:
            return Filled(buffer, self.headroom, at - self.headroom, False), error
        return Filled(buffer, self.headroom, at - self.headroom, False), None


def _next(full: queue.SimpleQueue[Filled | BaseException], over: Callable[[], None] | None) -> Filled | BaseException:
    """The next buffer, however long it takes; a reader may be silent for minutes."""
    while True:
        try:
            return full.get(timeout=WATCH)
        except queue.Empty:
            if over is not None:
                over()
