"""The way in: a stream's bytes become chunks in packs, a recipe and an entry table.

Several streams may be on their way at once, each in a *lane*: a thread that reads ahead, scans and cuts (`cutting`), and
the caller's, which names and looks up (native, a few calls a buffer).  One thread hashes all streams side by side
(`hashing`), workers compress and one writes (`sink`).  Memory: a lane's buffers, some 26 MB; the frames in flight; a block
of recipe and entries a lane; about 110 MB with two lanes and two workers, whatever comes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina._native.blake3many import hash_many
from lamina._native.cdc import Cutter
from lamina._native.chunkindex import NONE
from lamina._native.split import Splitter
from lamina._native.tarscan import EntryColumns
from lamina.content import Reader
from lamina.content.inflate import Kind, peek, sniff
from lamina.digest import Digest
from lamina.store import layout
from lamina.store.cutting import Cutting
from lamina.store.entries import encode_blocks, parts
from lamina.store.hashing import HashHub
from lamina.store.index import ChunkIndex
from lamina.store.inflated import PIECE, Inflater
from lamina.store.journalling import Journal
from lamina.store.recipe import Head, RecipeWriter
from lamina.store.sink import PackSink
from lamina.store.stages import Stages
from lamina.store.stream import BODY, BUFFERS, LAG, BufferPool, Filled

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# Chosen by the table in FORMAT.md; a promise: other sizes would find less of what older versions stored.
CUTTING = 16 << 10, 64 << 10, 256 << 10  # least, average, most bytes of a chunk
SEAMLESS = 256 << 10, 512 << 10, 512 << 10  # the same, of a gzip stream without seams: there is nothing to find
SAMPLE = 64 << 10  # bytes of a compressed blob that tell whether to compress it again


@dataclass(slots=True)
class Ingested:
    """A blob whose chunks are in packs; nothing names it yet.  `digests` by algorithm, always with sha256."""

    head: Head
    digests: dict[str, Digest]
    new: int
    problem: Exception | None
    cut: bool  # a tar that ends in the middle of a file


class Lane:
    """What one stream at a time needs on its way: buffers, and frames of its own in the sink."""

    def __init__(self, number: int, headroom: int) -> None:
        self.number = number
        self.pool = BufferPool(headroom)


class Ingest:
    """One session's pipeline.  `take` may be called by several threads; each call occupies a lane.

    `parts`: entry tables are kept so that layers may share parts of them, as a store of version 2 has it.
    `relied` gathers the numbers of packs of others in which known chunks were found.
    """

    def __init__(self, sink: PackSink, index: ChunkIndex, own: Callable[[int], bool],
                 cutting: tuple[int, int, int] | None = None, *, parts: bool = True, piece: int = 0) -> None:
        self._sink, self.index, self._own = sink, index, own
        self.cutter = Cutter(*(cutting or CUTTING))
        self.seamless = Cutter(*(cutting or SEAMLESS))
        self.hub = HashHub()
        self.parts, self.piece = parts, piece or BODY
        self.relied: set[int] = set()
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []  # those that are free
        self._made = 0
        self._stopped = False

    def take(
        self,
        reader: Reader,
        algorithms: Iterable[str],
        watch: Callable[[memoryview], None] | None = None,
        stages: Stages | None = None,
        journal: Callable[[int], Journal] | None = None,
    ) -> Ingested:
        """Read a stream to its end and store what is new of it; with `journal`, of a compressed one a journal is kept."""
        first, reader = peek(reader)
        self._check()
        kind = sniff(first)
        lane = self._enter()
        try:
            with contextlib.ExitStack() as stack:
                kept = journal(lane.number) if journal is not None and kind else None
                if kept is not None:
                    stack.callback(kept.end)
                blob = stack.enter_context(
                    contextlib.closing(_Blob(self, lane, kind, {"sha256", *algorithms}, stages or Stages(), kept)))
                piece, buffers = (self.piece, BUFFERS) if kept is None else (kept.piece, kept.buffers)
                pieces = stack.enter_context(  # closed before the lane is used again
                    contextlib.closing(lane.pool.read(reader, watch, blob.stages, piece, buffers, self._check, blob.cutting)))
                for filled in pieces:
                    self._check()
                    blob.feed(filled)
                    self.index.grow()  # when packs sealed meanwhile have filled the delta: memory stays bounded
                return blob.finish()
        finally:
            with self._lock:
                self._lanes.append(lane)

    def stop(self) -> None:
        """Every `take` that is under way ends at its next buffer, or soon if none comes, with `Interrupted`."""
        self._stopped = True

    def _check(self) -> None:
        if self._stopped:
            raise Interrupted("the session has ended")

    def close(self) -> None:
        """Stop the hashing, and let go of buffers (a session is in cycles: it stays until the collector of cycles comes).

        No `take` may be under way.
        """
        self.hub.close()
        for lane in self._lanes:
            lane.pool.close()
        self._lanes.clear()

    def _enter(self) -> Lane:
        with self._lock:
            if self._lanes:
                return self._lanes.pop()
            self._made += 1
            return Lane(self._made - 1, Splitter(self.seamless, BODY).headroom)

    def meta(self, data: bytes) -> bytes:
        """Store a recipe block or entry block, unless it is known; its chunk id."""
        chunk_id = blake3(data).digest()
        ids = np.frombuffer(chunk_id, np.uint8).reshape(1, 32)
        with self._sink.lock:
            claim = self.index.claim(ids)
            self._rely(claim.packs)
            if len(claim.new):
                self._sink.meta(data, ids[0])
        return chunk_id

    def store(
        self, kind: int, source: U8, offsets: I64, lengths: I64, lane: int, stages: Stages, *,
        raw: bool = False, journal: Journal | None = None,
    ) -> tuple[U8, int]:
        """Name the chunks of one buffer and store the new ones; their ids, and the bytes of the new ones.

        `raw`: without trying to compress them; `journal` is told where they lie.
        """
        size = int(lengths.sum())
        with stages.timed("id", size):
            ids = hash_many(source, offsets, lengths)
        with self._sink.lock:  # what another lane has placed is known from here on
            with stages.timed("look-up", size):
                claim = self.index.claim(ids)
                self._rely(claim.packs)
            rows = np.asarray(claim.new, np.int64)
            new = int(lengths[rows].sum())
            if new:
                with stages.timed("lay", new):
                    self._sink.place(kind, source, offsets, lengths, rows, ids, lane, raw=raw)
            if journal is not None:
                journal.add(ids, lengths, *self.index.lookup(ids))
        return ids, new

    def shrinks(self, sample: memoryview) -> bool:
        """Whether compression does anything for bytes like these."""
        return self._sink.shrinks(sample)

    def _rely(self, packs: npt.NDArray[np.uint32]) -> None:
        # Not np.unique: it imports numpy.ma, 20 ms of every command's start.
        self.relied.update(number for number in set(packs.tolist()) if number != NONE and not self._own(number))


class Interrupted(Exception):
    """A session ended while a stream was on its way into it."""


class _Blob:
    """One stream on its way in, for a compressed one with an inflater in a thread of its own."""

    def __init__(self, ingest: Ingest, lane: Lane, kind: Kind, algorithms: set[str], stages: Stages,
                 journal: Journal | None = None) -> None:
        self._ingest, self._lane, self.stages, self._journal = ingest, lane, stages, journal
        self._raw: bool | None = None if kind else False  # not known yet of a compressed one
        self.cutting = Cutting(kind, ingest.cutter, ingest.seamless, stages)
        self._recipe = RecipeWriter(ingest.meta)
        self._head = Head(Digest("sha256:" + "0" * 64), "", 0)
        self._reach = 0  # where the last file's content should end
        self._new = 0
        self._side = Inflater(kind, self._entries, stages, ingest.hub, min(PIECE, ingest.piece // 2)) if kind else None
        self._hasher = ingest.hub.stream(algorithms, stages)

    def feed(self, filled: Filled) -> None:
        """Take the next buffer; those before the last `LAG` are done with when this returns."""
        view = filled.view
        self._hasher.give(view)
        if self._side is not None:
            self._side.give(view)
        self._head.size += filled.count
        if self._raw is None:  # hardly ever does compressing once more gain anything: gzip -0
            self._raw = not self._ingest.shrinks(view[filled.count // 2 :][:SAMPLE])
        cut, recipe = filled.cut, self._recipe
        assert cut is not None
        if len(cut.contents):
            recipe.content(self._store(layout.CONTENT, filled.buffer, cut.contents, cut.content_lengths), cut.content_lengths)
        if len(cut.segments):
            recipe.segment(self._store(layout.SEGMENT, cut.source, cut.segments, cut.segment_lengths), cut.segment_lengths)
        if cut.spans is not None:
            recipe.spans(*cut.spans)
        if cut.entries is not None:
            self._entries(cut.entries)
        self._hasher.wait(LAG)
        if self._side is not None:
            self._side.wait(LAG)
        if self._journal is not None:
            self._journal.step()

    def finish(self) -> Ingested:
        """All has been fed: the head and the digests."""
        head, side = self._head, self._side
        digests = self._hasher.digests()
        if side is not None:
            side.finish()
        head.recipe = self._recipe.finish()
        scanner = self.cutting.scanner if side is None else side.scanner
        head.entries, head.file_bytes = scanner.entry_count, scanner.file_bytes
        head.sha256 = head.digest = digests["sha256"]
        if side is None:
            head.diff_id, head.plain_size = digests["sha256"], head.size
        elif side.diff_id:
            head.diff_id, head.plain_size = side.diff_id, side.plain_size
        cut = head.plain_size >= 0 and self._reach > head.plain_size
        return Ingested(head, digests, self._new, None if side is None else side.problem, cut)

    def close(self) -> None:
        """Stop the threads."""
        self._hasher.end()
        if self._side is not None:
            self._side.end()

    def _store(self, kind: int, source: U8, offsets: I64, lengths: I64) -> U8:
        ids, new = self._ingest.store(kind, source, offsets, lengths, self._lane.number, self.stages, raw=bool(self._raw),
                                      journal=self._journal)
        self._new += new
        return ids

    def _entries(self, columns: EntryColumns) -> None:
        with np.errstate(over="ignore"):  # a hostile size: then it wraps to below, and the tar is taken as it is
            self._reach = max(self._reach, int((columns.offset + columns.stored).max(initial=0)))
        for block in encode_blocks(columns):
            self._head.entry_blocks.extend(map(self._ingest.meta, parts(block) if self._ingest.parts else [block]))
