"""The way out: from a blob head to the blob's bytes, in order, through a few buffers.

A *plan* is the next 32 MiB or so of a blob as pieces of frames; a *window* is as much of it as a buffer holds, and the
frames that it needs.  `BlobReader` brings in a window's frames and copies their pieces, natively and once.  `ReadAhead` has
frames made ready for the windows to come, while one thread copies, one hashes, and the consumer writes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina._native.weave import Weaver, gather
from lamina.content.progress import Clock, StageSink
from lamina.content.verify import Check
from lamina.errors import LaminaError, StoreDamaged
from lamina.oci import Descriptor
from lamina.store import layout
from lamina.store.frames import Frame, Held
from lamina.store.packs import ChunkReader, Packs
from lamina.store.recipe import Block, Head, blocks

WINDOW: Final = 2 << 20  # bytes of a window and of a buffer
BUFFERS: Final = 5  # one being filled, one hashed, one written, and two so that nobody waits for another's hiccup
AHEAD: Final = 6  # windows whose frames are made ready: the work of some 5 ms for two threads
FRAMES: Final = 20 << 20  # plain bytes of the frames of a window, if those are more than one: two of 8 MiB and some small ones
PLAN: Final = 32 << 20  # bytes of a plan
PIECES: Final = 1 << 14  # pieces of a plan: 1 MiB of columns

_Places = npt.NDArray[np.uint32]  # rows of (pack, record, offset, length)


class Place(NamedTuple):
    """`length` bytes at `offset` of the file of a pack (a number)."""

    number: int
    offset: int
    length: int


class _Stream:
    """The chunks of one stream that are still to come; it stands at byte `skip` of chunk `at`."""

    def __init__(self) -> None:
        self.places: _Places = np.empty((0, 4), np.uint32)
        self.lengths: npt.NDArray[np.uint32] = np.empty(0, np.uint32)
        self.at = self.skip = 0

    def add(self, places: _Places) -> None:
        """More chunks."""
        self.places = np.concatenate([self.places[self.at :], places])
        self.lengths = np.ascontiguousarray(self.places[:, 3])
        self.at = 0

    def advance(self, at: int, skip: int) -> _Places:
        """Go on to there; the chunks that were touched."""
        touched = self.places[self.at : at + (skip > 0)]
        self.at, self.skip = at, skip
        return touched


class _Plan:
    """Pieces of frames in the order of the blob: piece i is `length[i]` bytes at `source[i]` of frame `frame[i]`."""

    def __init__(self, packs: Packs, places: _Places, rows: npt.NDArray[np.int64], skips: npt.NDArray[np.uint32],
                 lengths: npt.NDArray[np.uint32]) -> None:
        keys = places[:, 0].astype(np.uint64) << np.uint64(32) | places[:, 1]
        found, inverse = np.unique(keys, return_inverse=True)
        self.frames: list[Frame] = []
        numbers = (found >> np.uint64(32)).astype(np.int64)
        for number in np.unique(numbers):
            self.frames += packs.locate(int(number), found[numbers == number].astype(np.uint32))
        self.plain = np.array([frame.plain for frame in self.frames], np.int64)
        self.frame = inverse.astype(np.uint32)[rows]
        self.source = places[:, 2][rows] + skips
        self.length = lengths
        self.ends = np.cumsum(lengths, dtype=np.int64)
        self.at, self.stop = 0, int(self.ends[-1])

    @property
    def left(self) -> int:
        """Bytes that are in no window yet."""
        return self.stop - self.at

    def places(self) -> list[Place] | None:
        """Where all of it lies as it is, neighbours as one; None if some of it is compressed."""
        if any(frame.codec != layout.RAW or frame.stored != frame.plain for frame in self.frames):
            return None
        pack = np.array([frame.number for frame in self.frames], np.int64)[self.frame]
        begin = np.array([frame.offset for frame in self.frames], np.int64)[self.frame] + self.source
        end = begin + self.length
        first = np.flatnonzero(np.r_[True, (pack[1:] != pack[:-1]) | (begin[1:] != end[:-1])])
        last = np.r_[first[1:], len(pack)] - 1
        rows = zip(pack[first].tolist(), begin[first].tolist(), (end[last] - begin[first]).tolist(), strict=True)
        return [Place(*row) for row in rows]

    def window(self, want: int) -> _Window:
        """The next bytes: as many as are wanted, fewer at the end or where their frames become too many."""
        end = min(self.at + want, self.stop)
        first = int(np.searchsorted(self.ends, self.at, side="right"))
        last = int(np.searchsorted(self.ends, end, side="left")) + 1
        frames, begins = np.unique(self.frame[first:last], return_index=True)
        if len(frames) > 1 and int(self.plain[frames].sum()) > FRAMES:
            order = np.argsort(begins)
            many = max(1, int(np.searchsorted(np.cumsum(self.plain[frames[order]]), FRAMES, side="right")))
            last = first + int(begins[order[many]])
            end = int(self.ends[last - 1])
            frames = np.unique(self.frame[first:last])
        begin = int(self.ends[first]) - int(self.length[first])
        found = _Window(end - self.at, self.at - begin, [self.frames[i] for i in frames],
                        np.searchsorted(frames, self.frame[first:last]).astype(np.uint32), self.source[first:last],
                        self.length[first:last])
        self.at = end
        return found


@dataclass(slots=True)
class _Window:
    """`size` bytes: pieces of some frames, but for the first `skip` bytes of the first one."""

    size: int
    skip: int
    frames: list[Frame]
    frame: npt.NDArray[np.uint32]
    source: npt.NDArray[np.uint32]
    length: npt.NDArray[np.uint32]
    held: Held | None = None


class BlobReader:
    """A blob's bytes by its head: a `Reader`.  What is damaged raises `StoreDamaged`; digests are the caller's to check."""

    def __init__(self, head: Head, chunks: ChunkReader, packs: Packs, stages: StageSink | None = None) -> None:
        self._size = self._left = head.size
        self._blocks: Iterator[Block] = blocks(head, lambda block_id: chunks.chunk(block_id, head.digest))
        self._chunks, self.packs, self._where = chunks, packs, head.digest
        self._content, self._segment = _Stream(), _Stream()
        self._spans: deque[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = deque()
        self._weaver = Weaver()
        self._plan: _Plan | None = None
        self._windows: deque[_Window] = deque()  # whose frames are held
        self._next: _Window | None = None  # for whose frames there was no room
        self._stages, self._clock = stages, Clock(stages)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._size

    def narrow(self, start: int, stop: int) -> None:
        """Give only the bytes from `start` to `stop` (not included); before the first read.

        The recipe up to there is read, no frame: some 60 ms a GB.
        """
        skip = start
        while self._left or (self._plan is not None and self._plan.left):
            if self._plan is None or not self._plan.left:
                self._plan = self._make_plan()
            step = min(skip, self._plan.left)
            self._plan.at += step
            skip -= step
            if not skip:
                break
        self._size = stop - start
        if self._plan is not None:
            self._plan.stop = min(self._plan.stop, self._plan.at + self._size)
            self._left = min(self._left, self._size - self._plan.left)

    def places(self, most: int) -> list[Place] | None:
        """Where all of it lies as it is, neighbours as one; None if some of it is compressed, or there are more than `most`.

        Instead of reading, once.  The recipe is read, no frame: some 60 ms a GB.
        """
        found: list[Place] = []
        while self._left:
            more = self._make_plan().places()
            if more is None or len(found) + len(more) > most + 1:
                return None
            if found and found[-1].number == more[0].number and found[-1].offset + found[-1].length == more[0].offset:
                more[0] = Place(more[0].number, found[-1].offset, found.pop().length + more[0].length)
            found += more
        return found if len(found) <= most else None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 only at the end."""
        at = 0
        while at < len(buffer) and self.prepare(len(buffer) - at, force=True, ahead=False):
            at += self.weave(buffer[at:])
        return at

    def prepare(self, want: int, *, force: bool, ahead: bool) -> bool:
        """Hold the frames of the next window, of up to `want` bytes; False at the end, or without room (`force` makes it)."""
        window = self._next
        if window is None:
            while self._plan is None or not self._plan.left:
                if not self._left:
                    return False
                self._plan = self._make_plan()
            window = self._plan.window(want)
        window.held = self.packs.frames.hold(window.frames, force=force, ahead=ahead, stages=self._stages)
        self._next = None if window.held else window
        if window.held:
            self._windows.append(window)
        return window.held is not None

    @property
    def prepared(self) -> int:
        """Windows whose frames are held."""
        return len(self._windows)

    def weave(self, buffer: memoryview) -> int:
        """The bytes of the window that was prepared first, which fits; how many."""
        window = self._windows[0]
        assert window.held is not None
        frames = [self._view(window, i) for i in range(len(window.frames))]
        self._clock.start()
        gather(buffer[: window.size], frames, window.frame, window.source, window.length, window.skip)
        self._clock.tick("weave", window.size)
        del frames
        self.packs.frames.release(self._windows.popleft().held)  # type: ignore[arg-type]
        return window.size

    def _view(self, window: _Window, i: int) -> npt.NDArray[np.uint8]:
        """The plain bytes of a window's frame; of one that is damaged those that it needs, from other copies."""
        assert window.held is not None
        extent, place = window.held.places[i]
        try:
            return extent.view(place)
        except LaminaError as error:
            pieces = window.frame == i
            return self._chunks.mended(window.frames[i], window.source[pieces], window.length[pieces], error)

    def close(self) -> None:
        """Let go of all frames."""
        self._left, self._plan, self._next = 0, None, None
        while self._windows:
            self.packs.frames.release(self._windows.popleft().held)  # type: ignore[arg-type]

    def _make_plan(self) -> _Plan:
        segment, content = self._segment, self._content
        while True:
            want = min(PLAN, self._left)
            rows, skips, lengths, *places = self._weaver.plan(want, PIECES, segment.lengths, segment.at, segment.skip,
                                                              content.lengths, content.at, content.skip)
            touched = segment.advance(*places[:2]), content.advance(*places[2:])
            if len(rows):
                break
            if not self._weaver.idle:
                self._next_block("a recipe names fewer bytes than its spans")
            elif self._spans:
                self._weaver.spans(*self._spans.popleft())
            else:
                self._next_block("a recipe ends before its blob")
        self._left -= int(lengths.sum(dtype=np.int64))
        return _Plan(self.packs, np.concatenate(touched), rows, skips, lengths)

    def _next_block(self, lacking: str) -> None:
        block = next(self._blocks, None)
        if block is None:
            raise StoreDamaged(lacking, self._where, "run lamina verify")
        self._content.add(self._places(block.content, block.content_lengths))
        self._segment.add(self._places(block.segment, block.segment_lengths))
        if len(block.span_segment):
            self._spans.append((block.span_segment, block.span_content))

    def _places(self, ids: npt.NDArray[np.uint8], lengths: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
        if not len(ids):
            return np.empty((0, 4), np.uint32)
        places = self._chunks.places(ids, self._where)
        if not np.array_equal(places[:, 3], lengths):
            raise StoreDamaged("a recipe and a pack disagree on a chunk's length", self._where, "run lamina verify")
        return places


_Item = tuple[npt.NDArray[np.uint8], int] | BaseException | None  # a buffer and its bytes, a failure, or the end


class ReadAhead:
    """A blob's bytes, made ready and verified by threads of its own: a `Reader`.

    Held against the descriptor, if there is one, as `VerifyingReader` does it: 0 says that all is verified.
    Nothing begins before the first read.  What has failed goes on failing.
    """

    def __init__(self, reader: BlobReader, descriptor: Descriptor | None = None, stages: StageSink | None = None) -> None:
        self._reader, self.verifies = reader, descriptor
        self._check = Check(descriptor) if descriptor is not None else None
        self._stages = stages
        self._free: queue.SimpleQueue[npt.NDArray[np.uint8] | None] = queue.SimpleQueue()
        self._woven: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._item: _Item = None
        self._view = memoryview(b"")

    @property
    def size(self) -> int | None:
        """As the reader's."""
        return self._reader.size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 only at the end."""
        if not self._threads and not self._stopped:
            self._begin()
        if not self._view and not self._stopped:
            self._turn()
        if isinstance(self._item, BaseException):
            raise self._item
        count = min(len(buffer), len(self._view))
        buffer[:count] = self._view[:count]
        self._view = self._view[count:]
        return count

    def close(self) -> None:
        """Stops the threads."""
        self._view = memoryview(b"")
        self._end()
        self._reader.close()

    def _begin(self) -> None:
        self._memory = self._reader.packs.frames.lend(BUFFERS * WINDOW)
        for i in range(BUFFERS):
            self._free.put(self._memory[i * WINDOW : (i + 1) * WINDOW])
        self._reader.packs.frames.enter()
        self._threads = [threading.Thread(target=self._run, name="lamina-read", daemon=True),
                         threading.Thread(target=self._verify, name="lamina-verify", daemon=True)]
        for thread in self._threads:
            thread.start()

    def _turn(self) -> None:
        """Give back the buffer that is used up; take the next."""
        if isinstance(self._item, tuple):
            self._free.put(self._item[0])
        self._item = self._ready.get()
        if isinstance(self._item, tuple):
            self._view = memoryview(self._item[0])[: self._item[1]]
        else:
            self._end()

    def _end(self) -> None:
        """Stop the threads."""
        self._stopped = True
        if not self._threads:
            return
        self._free.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._reader.close()  # lets go of frames
        self._reader.packs.frames.leave()
        self._reader.packs.frames.give_back(self._memory)

    def _run(self) -> None:
        """Fill buffers."""
        end: _Item = None
        failure: BaseException | None = None
        reader = self._reader
        try:
            if self._check is not None:
                self._check.announced(reader.size)
            while True:
                try:
                    while failure is None and reader.prepared < AHEAD and reader.prepare(
                            WINDOW, force=not reader.prepared, ahead=True):
                        pass
                except Exception as error:  # of a later part: what comes before it is good
                    failure = error
                if not reader.prepared:
                    end = failure
                    break
                buffer = self._free.get()
                if buffer is None or self._stopped:
                    break
                self._woven.put((buffer, reader.weave(memoryview(buffer))))
        except BaseException as error:  # raised again by the consumer
            end = error
        self._woven.put(end)

    def _verify(self) -> None:
        """Hash them."""
        clock = Clock(self._stages)
        end: _Item = None
        try:
            while isinstance(item := self._woven.get(), tuple):
                clock.start()
                if self._check is not None and not self._stopped:
                    self._check.update(memoryview(item[0])[: item[1]])
                clock.tick("verify", item[1])
                self._ready.put(item)
            end = item
            if end is None and self._check is not None:
                self._check.finish()
        except BaseException as error:  # raised again by the consumer
            end = error
        self._ready.put(end)
