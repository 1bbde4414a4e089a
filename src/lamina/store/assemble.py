"""The way out: from a blob head to the blob's bytes, in order, through a few buffers.

Chunks are looked up in batches, frames are read and decompressed once for all neighbours that lie in them, and the two
streams are interleaved natively.  `ReadAhead` does this in a thread of its own while the consumer hashes and writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lamina._native.weave import Weaver, gather
from lamina.content import Reader
from lamina.errors import StoreDamaged
from lamina.store.packs import ChunkReader, Packs
from lamina.store.recipe import Block, Head, blocks
from lamina.store.stream import BufferPool

WINDOW = 1 << 20  # bytes of each stream at hand: at least one chunk, and a look-up for some 16 of them at once


class _Window:
    """Bytes of one chunk stream: `buffer[at:end]` are the next ones."""

    def __init__(self, chunks: ChunkReader, packs: Packs, where: str) -> None:
        self._chunks, self._packs, self._where = chunks, packs, where
        self._rows: deque[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]] = deque()
        self.buffer = np.empty(WINDOW, np.uint8)
        self.at = self.end = 0

    def add(self, ids: npt.NDArray[np.uint8], lengths: npt.NDArray[np.uint32]) -> None:
        """More chunks of this stream."""
        if len(ids):
            self._rows.append((ids, lengths))

    @property
    def empty(self) -> bool:
        """Whether neither bytes nor chunks are left."""
        return self.at == self.end and not self._rows

    def refill(self) -> None:
        """Bring in as many whole chunks as fit."""
        rest = self.end - self.at
        self.buffer[:rest] = self.buffer[self.at : self.end]
        self.at, self.end = 0, rest
        while self._rows:
            ids, lengths = self._rows.popleft()
            ends = np.cumsum(lengths, dtype=np.int64)
            count = int(np.searchsorted(ends, WINDOW - self.end, side="right"))
            if count < len(ids):
                self._rows.appendleft((ids[count:], lengths[count:]))
            if count == 0:
                if self.end == 0:
                    raise StoreDamaged("a recipe names a chunk of impossible length", self._where, "run lamina verify")
                return
            self._bring(ids[:count], lengths[:count])

    def _bring(self, ids: npt.NDArray[np.uint8], lengths: npt.NDArray[np.uint32]) -> None:
        places = self._chunks.places(ids, self._where)
        if not np.array_equal(places[:, 3], lengths):
            raise StoreDamaged("a recipe and a pack disagree on a chunk's length", self._where, "run lamina verify")
        change = np.flatnonzero((places[1:, :2] != places[:-1, :2]).any(axis=1)) + 1
        for rows in np.split(np.arange(len(ids)), change):  # neighbours in one frame
            first = places[rows[0]]
            frame = self._packs.record(int(first[0]), int(first[1]))
            offsets = np.ascontiguousarray(places[rows, 2])
            self.end = gather(self.buffer, self.end, frame, offsets, np.ascontiguousarray(places[rows, 3]))


class BlobReader:
    """A blob's bytes by its head: a `Reader`.  What is damaged raises `StoreDamaged`; digests are the caller's to check."""

    def __init__(self, head: Head, chunks: ChunkReader, packs: Packs) -> None:
        self._size = head.size
        self._left = head.size
        self._blocks: Iterator[Block] = blocks(head, lambda block_id: chunks.chunk(block_id, head.digest))
        self._where = head.digest
        self._content = _Window(chunks, packs, head.digest)
        self._segment = _Window(chunks, packs, head.digest)
        self._spans: deque[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = deque()
        self._weaver = Weaver()

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 only at the end."""
        at = 0
        while at < len(buffer) and self._left:
            if self._weaver.idle and not self._next_spans():
                raise StoreDamaged("a recipe ends before its blob", self._where, "run lamina verify")
            before = at
            at, self._segment.at, self._content.at = self._weaver.weave(
                buffer,
                at,
                self._segment.buffer[: self._segment.end],
                self._segment.at,
                self._content.buffer[: self._content.end],
                self._content.at,
            )
            self._left -= at - before
            if at < len(buffer) and not self._weaver.idle:
                self._more()
        return at

    def close(self) -> None:
        """Nothing is held but memory."""
        self._left = 0

    def _next_spans(self) -> bool:
        while not self._spans:
            if not self._next_block():
                return False
        self._weaver.spans(*self._spans.popleft())
        return True

    def _more(self) -> None:
        """The weaver stands in the middle of a span: the window that it wants bytes of has run dry."""
        window = self._content if self._weaver.wants_content else self._segment
        while window.empty:
            if not self._next_block():
                raise StoreDamaged("a recipe names fewer bytes than its spans", self._where, "run lamina verify")
        window.refill()

    def _next_block(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self._content.add(block.content, block.content_lengths)
        self._segment.add(block.segment, block.segment_lengths)
        if len(block.span_segment):
            self._spans.append((block.span_segment, block.span_content))
        return True


class ReadAhead:
    """A reader whose bytes are made ready by a thread of its own."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pieces = BufferPool(0).read(reader)
        self._view = memoryview(b"")
        self._over = False
        self._failure: Exception | None = None

    @property
    def size(self) -> int | None:
        """As the reader's."""
        return self._reader.size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer; 0 only at the end."""
        if self._failure is not None:
            raise self._failure
        while not self._view and not self._over:
            try:
                piece = next(self._pieces)
            except Exception as error:
                self._failure = error
                raise
            self._view, self._over = piece.view, piece.last
        count = min(len(buffer), len(self._view))
        buffer[:count] = self._view[:count]
        self._view = self._view[count:]
        return count

    def close(self) -> None:
        """Stops the thread."""
        self._over, self._view = True, memoryview(b"")
        self._pieces.close()  # type: ignore[attr-defined]
        self._reader.close()
