"""A compressed layer's plain tar, inflated beside the intake of the blob: diff id, size, entry table.

The blob itself is kept as it came (DESIGN, "Images, names, identity").  What does not inflate is a blob like others,
without a diff id; the problem is kept for the one who needs the diff id.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from itertools import cycle

from lamina._native.tarscan import EntryColumns, TarScanner
from lamina.content.inflate import InflatingReader, Kind
from lamina.errors import LaminaError, LimitExceeded
from lamina.store.hashing import HashHub
from lamina.store.stages import Stages

# Inflated, hashed and scanned at a time, at most: a pull of 1.8 GB takes 0.87 of the time that it took by 512 KiB, since its
# ten threads wake each other half as often; 4 MiB gain nothing more.
PIECE = 2 << 20
RING = 3  # pieces, of which all but the one that is being filled may still be hashed
# What inflates further is a bomb: DEFLATE cannot exceed 1032 to 1, and a layer of zeros may be a gigabyte in any case.
FREE, RATIO = 1 << 30, 1032


class Inflater:
    """A consumer of buffers (see `stream.Consumer`) whose findings are read after `end`.

    `on_entries` is called in the thread that calls `wait`, so that only one thread writes to the store.  `piece`: plain
    bytes at a time; three such pieces are its memory.
    """

    def __init__(self, kind: Kind, on_entries: Callable[[EntryColumns], None], stages: Stages, hub: HashHub,
                 piece: int = PIECE) -> None:
        self._on_entries, self._stages = on_entries, stages
        self._input: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._events: queue.Queue[EntryColumns | None] = queue.Queue(4)  # None: one buffer is done
        self._view = memoryview(b"")
        self._piece = piece
        self._held = self._over = False
        self._given = self._seen = 0
        self._stopped = False
        # Not in the thread that inflates: that is the longest stage of a large layer, and would be a third longer.
        self._hash = hub.stream((), stages)
        self._diff_id = ""
        self.scanner = TarScanner()
        self.plain_size = 0
        self.problem: LaminaError | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(kind,), name="lamina-inflate", daemon=True)
        self._thread.start()

    @property
    def diff_id(self) -> str:
        """The digest of the plain bytes, or '' if they could not be had."""
        return "" if self.problem else self._diff_id

    # -- the giver's side

    def give(self, view: memoryview) -> None:
        """Inflate this buffer next."""
        self._given += 1
        self._seen += len(view)
        self._input.put(view)

    def wait(self, behind: int = 0) -> None:
        """Until all that was given is inflated, but for the last `behind` buffers."""
        while self._given > behind:
            event = self._events.get()
            if event is None:
                self._given -= 1
            else:
                self._on_entries(event)
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """No more is given; wait for the end of the plain stream."""
        self._input.put(None)
        self._given += 1  # the end counts as one more buffer
        self.wait()
        self._thread.join()

    def end(self) -> None:
        """Stop the thread, whatever it is at; again is harmless."""
        self._stopped = True
        if self._thread.is_alive():
            self._input.put(None)
            while self._thread.is_alive():
                try:
                    self._events.get(timeout=0.05)
                except queue.Empty:
                    continue
            self._thread.join()
        self._hash.end()

    # -- the thread

    @property
    def size(self) -> None:
        """A `Reader` of unknown size."""
        return

    def readinto(self, buffer: memoryview, /) -> int:
        """What the inflating reader reads from: the buffers given."""
        while not self._view and not self._over:
            if self._held:
                self._events.put(None)
            view = self._input.get()
            self._held, self._over = view is not None, view is None
            self._view = memoryview(b"") if view is None else view
        count = min(len(buffer), len(self._view))
        buffer[:count] = self._view[:count]
        self._view = self._view[count:]
        return count

    def close(self) -> None:
        """Nothing of its own to close."""

    def _run(self, kind: Kind) -> None:
        try:
            self._inflate(InflatingReader(self, kind))
        except LaminaError as error:
            self.problem = error
        except BaseException as error:  # raised again by wait
            self._failure = error
        drain = memoryview(bytearray(self._piece))
        while self.readinto(drain):
            pass
        self._events.put(None)

    def _inflate(self, reader: InflatingReader) -> None:
        ring = cycle([memoryview(bytearray(self._piece)) for _ in range(RING)])
        while not self._stopped:
            piece = next(ring)
            cpu, wall = time.thread_time(), time.perf_counter()
            count = _fill(reader, piece)
            if not count:
                break
            self._stages.add("inflate", time.thread_time() - cpu, time.perf_counter() - wall, count)
            self._hash.give(piece[:count])
            with self._stages.timed("scan", count):
                self.scanner.feed(piece[:count])
            self._hash.wait(RING - 1)
            self.plain_size += count
            if self.plain_size > FREE + RATIO * self._seen:
                raise LimitExceeded(f"a layer inflates to more than {RATIO} times its size", hint="it is kept as it came")
            if self.scanner.entries_due:
                self._hand_on()
        self.scanner.finish()
        self._hand_on()
        self._diff_id = self._hash.digests()["sha256"]

    def _hand_on(self) -> None:
        entries = self.scanner.take_entries()
        if entries is not None:
            self._events.put(entries)


def _fill(reader: InflatingReader, piece: memoryview) -> int:
    """Read until the piece is full or all is read; how many bytes."""
    count = 0
    while count < len(piece) and (step := reader.readinto(piece[count:])):
        count += step
    return count
