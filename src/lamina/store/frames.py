"""Frames in memory: read in the order of their place, checked and decompressed by a few threads, kept while there is room.

What is asked for together and lies together in a pack is an *extent*: one read, one piece of work, one place in memory.
Extents lie in one arena, which is made once and used again and again (fresh memory costs 2 CPU seconds a GB).  Those that
nobody holds stay until their place is wanted, the one used longest ago going first: over eleven images in one store, 16 MiB
of them are enough to read 2 % more than each frame once.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lamina.content.progress import Clock, StageSink
from lamina.errors import LaminaError, StoreDamaged
from lamina.storage import ReadHandle
from lamina.store import layout
from lamina.store.codec import decode_into

ARENA: Final = 40 << 20  # with the buffers of one reader (10 MiB) and of the threads (1 MiB each), some 54 MiB in all
EXTENT: Final = 1 << 20  # stored and plain bytes of an extent; more only if it is one large frame
GAP: Final = 8 << 10  # bytes between two frames that are read along: a frame of segments, mostly
THREADS: Final = min(os.cpu_count() or 1, 4)
_UNIT: Final = 64 << 10  # places in the arena begin and end at multiples of it

Key = tuple[int, int]  # pack number, record
U8 = npt.NDArray[np.uint8]


class Frame(NamedTuple):
    """A frame as the footer of its pack (a number) has it; `where` is the pack's name."""

    number: int
    record: int
    offset: int
    stored: int
    plain: int
    codec: int
    checksum: int
    where: str

    @property
    def key(self) -> Key:
        return self.number, self.record


class Handles(Protocol):
    """Where the bytes are."""

    def handle(self, number: int) -> ReadHandle:
        """An open pack."""

    def count(self, stored: int) -> None:
        """So many stored bytes were read."""


class Extent:
    """Frames side by side, and where their plain bytes begin in `memory`; `ready` is held until they are there."""

    __slots__ = ("failures", "frames", "memory", "place", "raw", "ready", "size", "span", "stages", "starts", "unwanted",
                 "users")

    def __init__(self, frames: list[Frame]) -> None:
        first, last = frames[0], frames[-1]
        self.frames = frames
        self.users = 0
        self.unwanted = False  # never read
        self.stages: StageSink | None = None
        self.failures: dict[int, BaseException] = {}  # by number; -1 for all
        self.ready = threading.Lock()
        self.ready.acquire()
        self.place: tuple[int, int] | None = None  # in the arena
        self.memory: U8
        self.span = last.offset + last.stored - first.offset
        self.raw = all(frame.codec == layout.RAW and frame.stored == frame.plain for frame in frames)
        if self.raw:  # read to where it is used from, with what lies between
            self.starts, self.size = [frame.offset - first.offset for frame in frames], self.span
        else:
            ends = list(itertools.accumulate(frame.plain for frame in frames))
            self.starts, self.size = [0, *ends[:-1]], ends[-1]

    def view(self, i: int) -> U8:
        """The plain bytes of its i-th frame, waited for; `StoreDamaged`, `StorageError`."""
        with self.ready:
            failure = self.failures.get(i) or self.failures.get(-1)
        if failure is not None:
            raise failure
        return self.memory[self.starts[i] : self.starts[i] + self.frames[i].plain]


class Held(NamedTuple):
    """Frames that stay where they are until they are released: (extent, number in it) of each one asked for."""

    extents: list[Extent]
    places: list[tuple[Extent, int]]


def _batches(frames: list[Frame], size: int = 4 << 20) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    plain = 0
    for frame in frames:
        if batch and plain + frame.plain > size:
            yield batch
            batch, plain = [], 0
        batch.append(frame)
        plain += frame.plain
    if batch:
        yield batch


class _Arena:
    """Places in one piece of memory, the lowest that is free first."""

    def __init__(self, size: int) -> None:
        # Of 4 MiB and more, numpy asks for huge pages: a few faults instead of thousands.
        self.memory: U8 = np.empty(size, np.uint8)
        self._free = [(0, size)]

    def take(self, size: int) -> tuple[int, int] | None:
        size = max(size + -size % _UNIT, _UNIT)
        for i, (start, end) in enumerate(self._free):
            if end - start >= size:
                if end - start == size:
                    del self._free[i]
                else:
                    self._free[i] = (start + size, end)
                return start, start + size
        return None

    def give(self, place: tuple[int, int]) -> None:
        start, end = place
        kept = []
        for other in self._free:  # some dozens
            if other[1] == start:
                start = other[0]
            elif other[0] == end:
                end = other[1]
            else:
                kept.append(other)
        self._free = sorted([*kept, (start, end)])


class Frames:
    """The frames that readers hold or held.  Usable from several threads.

    Memory: `arena` bytes, and beyond them only what one reader cannot go on without: the frames of the window that it is at.
    `watch` is shown each extent that was read, by the thread that did it, before others see its bytes; it may add failures.
    """

    def __init__(self, handles: Handles, arena: int = ARENA, extent: int = EXTENT, threads: int = THREADS,
                 watch: Callable[[Extent], None] | None = None) -> None:
        self._handles, self._size, self._extent, self._wanted, self._watch = handles, arena, extent, threads, watch
        self._lock = threading.Lock()
        self._arena: _Arena | None = None
        self._known: dict[Key, tuple[Extent, int]] = {}
        self._idle: OrderedDict[Extent, None] = OrderedDict()  # nobody holds them; the one used longest ago first
        self._readers, self._gate = 0, threading.Lock()
        self._work: queue.SimpleQueue[Extent | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lent: list[U8] = []
        self._spare: list[U8] = []  # one for each thread that has read

    # -- holding

    def hold(self, frames: list[Frame], *, force: bool, ahead: bool, stages: StageSink | None = None) -> Held | None:
        """Hold these frames, in the order of their places, and see that they are read; None if there is no room for them now.

        With `force` there is room: outside of the arena if need be.  With `ahead` threads read them (between `enter` and
        `leave`), else they are read before this returns.
        """
        with self._lock:
            known = [self._known.get(frame.key) for frame in frames]
            mine = list(dict.fromkeys(place[0] for place in known if place is not None))
            for each in mine:
                self._use(each)
            new = self._extents([frame for frame, place in zip(frames, known, strict=True) if place is None])
            if not self._house(new, force):
                for each in mine:
                    self._let_go(each)
                return None
            for each in new:
                each.users = 2  # the reader, and whoever fills it
                each.stages = stages
                self._known.update((frame.key, (each, i)) for i, frame in enumerate(each.frames))
            held = Held(mine + new, [self._known[frame.key] for frame in frames])
        for each in new:
            if ahead:
                self._work.put(each)
            else:
                self._load(each)
        return held

    def release(self, held: Held) -> None:
        """They may go when their place is wanted."""
        with self._lock:
            for each in held.extents:
                self._let_go(each)

    def forget(self, number: int) -> None:
        """Frames of a pack are to be read afresh."""
        with self._lock:
            for each in [each for each in self._idle if each.frames[0].number == number]:
                self._drop(each)

    def clear(self) -> None:
        """Let go of all memory that nobody holds."""
        with self._lock:
            for each in list(self._idle):
                self._drop(each)
            if not self._known:
                self._arena = None

    def each(self, frames: list[Frame]) -> Iterator[tuple[Frame, U8 | None]]:
        """One after another, with their plain bytes, good until the next; None for one that could not be read like the others.

        Some are made ready by threads meanwhile, 4 MiB at a time.
        """
        batches = _batches(frames)
        held: deque[tuple[list[Frame], Held]] = deque()
        self.enter()
        try:
            batch = next(batches, None)
            while batch or held:
                while batch and len(held) < 3 and (more := self.hold(batch, force=not held, ahead=True)):
                    held.append((batch, more))
                    batch = next(batches, None)
                for frame, (extent, i) in zip(held[0][0], held[0][1].places, strict=True):
                    try:
                        plain = extent.view(i)
                    except LaminaError:
                        yield frame, None
                    else:
                        yield frame, plain
                self.release(held.popleft()[1])
        finally:
            for _, one in held:
                self.release(one)
            self.leave()

    def lend(self, size: int) -> U8:
        """A reader's buffers: those of the one before it, if there are."""
        with suppress(IndexError):
            memory = self._lent.pop()
            if len(memory) == size:
                return memory
        return np.empty(size, np.uint8)

    def give_back(self, memory: U8) -> None:
        """They are kept for the next reader, of one."""
        if not self._lent:
            self._lent.append(memory)

    # -- threads

    def enter(self) -> None:
        """A reader begins that wants its frames made ready by threads."""
        with self._gate:
            self._readers += 1
            if self._readers == 1:
                self._threads = [threading.Thread(target=self._run, name="lamina-frames", daemon=True)
                                 for _ in range(self._wanted)]
                for thread in self._threads:
                    thread.start()

    def leave(self) -> None:
        """It has ended, and released what it held; with the last one the threads end."""
        with self._gate:
            self._readers -= 1
            if self._readers:
                return
            threads, self._threads = self._threads, []
            for _ in threads:
                self._work.put(None)
            for thread in threads:
                thread.join()
            del self._spare[1:]

    def _run(self) -> None:
        while (extent := self._work.get()) is not None:
            with self._lock:
                unwanted = extent.users == 1  # its reader has gone
                if unwanted:
                    extent.unwanted = True
                    self._let_go(extent)
            if not unwanted:
                self._load(extent)

    # -- room; with the lock held

    def _extents(self, frames: list[Frame]) -> list[Extent]:
        """Side by side in a pack, and together within the limit."""
        found: list[list[Frame]] = []
        plain = 0
        for frame in frames:
            plain += frame.plain
            if found and frame.number == found[-1][0].number and plain <= self._extent:
                first, last = found[-1][0], found[-1][-1]
                gap = frame.offset - (last.offset + last.stored)
                if 0 <= gap <= GAP and frame.offset + frame.stored - first.offset <= self._extent:
                    found[-1].append(frame)
                    continue
            found.append([frame])
            plain = frame.plain
        return [Extent(each) for each in found]

    def _house(self, extents: list[Extent], force: bool) -> bool:
        """Give each a place; all or none."""
        if self._arena is None:
            self._arena = _Arena(self._size)
        for i, each in enumerate(extents):
            place = self._arena.take(each.size)
            while place is None and self._idle:
                self._drop(next(iter(self._idle)))
                place = self._arena.take(each.size)
            if place is not None:
                each.place = place
                each.memory = self._arena.memory[place[0] : place[1]]
            elif force:
                each.memory = np.empty(each.size, np.uint8)
            else:
                for other in extents[:i]:
                    if other.place is not None:
                        self._arena.give(other.place)
                return False
        return True

    def _use(self, extent: Extent) -> None:
        extent.users += 1
        self._idle.pop(extent, None)

    def _let_go(self, extent: Extent) -> None:
        extent.users -= 1
        if extent.users == 0:
            self._idle[extent] = None
            # What is damaged is to be read again, and what is outside of the arena must not stay.
            if extent.failures or extent.unwanted or extent.place is None:
                self._drop(extent)

    def _drop(self, extent: Extent) -> None:
        del self._idle[extent]
        for frame in extent.frames:
            if self._known.get(frame.key, (None,))[0] is extent:
                del self._known[frame.key]
        if self._arena is not None and extent.place is not None:
            self._arena.give(extent.place)

    # -- reading; in any thread, without the lock

    def _load(self, extent: Extent) -> None:
        try:
            self._fill(extent)
        except BaseException as error:  # raised again by whoever wants its bytes
            extent.failures[-1] = error
        finally:
            self._handles.count(extent.span)
            extent.ready.release()
            with self._lock:
                self._let_go(extent)

    def _fill(self, extent: Extent) -> None:
        """Read, check, decompress; what is wrong with one frame is that one's failure."""
        clock = Clock(extent.stages)
        first = extent.frames[0]
        if extent.raw:
            stored = memoryview(extent.memory)[: extent.span]
            spare = None
        else:
            spare = self._buffer(extent.span)
            stored = memoryview(spare)[: extent.span]
        got = self._handles.handle(first.number).pread_into(stored, first.offset)
        clock.tick("read", got)
        pieces = [stored[frame.offset - first.offset :][: frame.stored] for frame in extent.frames]
        for i, (frame, piece) in enumerate(zip(extent.frames, pieces, strict=True)):
            if frame.offset - first.offset + frame.stored > got or layout.checksum(piece) != frame.checksum:
                extent.failures[i] = StoreDamaged(f"record {frame.record} does not match its checksum", frame.where,
                                                  "run lamina verify")
        clock.tick("check", got)
        if spare is not None:
            plain = memoryview(extent.memory)
            for i, (frame, piece) in enumerate(zip(extent.frames, pieces, strict=True)):
                if i not in extent.failures:
                    try:
                        decode_into(frame.codec, piece, plain[extent.starts[i] :][: frame.plain], frame.where)
                    except LaminaError as error:
                        extent.failures[i] = error
            self._spare.append(spare)
            clock.tick("decompress", extent.size)
        if self._watch is not None:
            self._watch(extent)

    def _buffer(self, size: int) -> U8:
        """Room for the stored bytes of an extent."""
        with suppress(IndexError):
            spare = self._spare.pop()
            if len(spare) >= size:
                return spare
        return np.empty(max(size, self._extent), np.uint8)
