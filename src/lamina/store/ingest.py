"""The way in: a stream's bytes become chunks in packs, a recipe and an entry table.

One thread reads ahead, one hashes, this one scans, cuts, names and looks up (native, a few calls a buffer), workers
compress and one writes (`sink`).  Memory: the buffers of the pool, the frames in flight, a block of recipe and entries;
about 60 MB with two workers, whatever comes.
"""

from __future__ import annotations

import contextlib
import hashlib
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
from lamina.store.entries import encode_blocks
from lamina.store.index import ChunkIndex
from lamina.store.inflated import Inflater
from lamina.store.recipe import Head, RecipeWriter
from lamina.store.sink import PackSink
from lamina.store.stream import BODY, LAG, BufferPool, Consumer, Filled

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# Chosen by the table in FORMAT.md; a promise: other sizes would find less of what older versions stored.
MIN_CHUNK, AVG_CHUNK, MAX_CHUNK = 16 << 10, 64 << 10, 256 << 10


@dataclass(slots=True)
class Ingested:
    """A blob whose chunks are in packs; nothing names it yet.  `digests` by algorithm, always with sha256."""

    head: Head
    digests: dict[str, Digest]
    new: int
    problem: Exception | None
    cut: bool  # a tar that ends in the middle of a file


class Ingest:
    """One session's pipeline.  One `take` at a time.

    `relied` gathers the numbers of packs of others in which known chunks were found.
    """

    def __init__(self, sink: PackSink, index: ChunkIndex, own: Callable[[int], bool]) -> None:
        self._sink, self.index, self._own = sink, index, own
        self.cutter = Cutter(MIN_CHUNK, AVG_CHUNK, MAX_CHUNK)
        self._pool = BufferPool(Splitter(self.cutter, BODY).headroom)
        self.relied: set[int] = set()
        self._new = 0

    def take(
        self, reader: Reader, algorithms: Iterable[str], watch: Callable[[memoryview], None] | None = None
    ) -> Ingested:
        """Read a stream to its end and store what is new of it."""
        before = self._new
        first, reader = peek(reader)
        with contextlib.closing(_Blob(self, sniff(first), {"sha256", *algorithms})) as blob:
            for filled in self._pool.read(reader, watch):
                blob.feed(filled)
                self.index.flush()  # when packs sealed meanwhile have filled the delta: memory stays bounded
            return blob.finish(lambda: self._new - before)

    def meta(self, data: bytes) -> bytes:
        """Store a recipe block or entry block, unless it is known; its chunk id."""
        chunk_id = blake3(data).digest()
        ids = np.frombuffer(chunk_id, np.uint8).reshape(1, 32)
        claim = self.index.claim(ids)
        self._rely(claim.packs)
        if len(claim.new):
            self._sink.meta(data, ids[0])
        return chunk_id

    def store(self, kind: int, source: U8, offsets: I64, lengths: I64) -> U8:
        """Name the chunks of one buffer and store the new ones; their ids."""
        ids = hash_many(source, offsets, lengths)
        claim = self.index.claim(ids)
        self._rely(claim.packs)
        if len(claim.new):
            rows = np.asarray(claim.new, np.int64)
            self._sink.place(kind, source, offsets, lengths, rows, ids)
            self._new += int(lengths[rows].sum())
        return ids

    def _rely(self, packs: npt.NDArray[np.uint32]) -> None:
        # Not np.unique: it imports numpy.ma, 20 ms of every command's start.
        self.relied.update(number for number in set(packs.tolist()) if number != NONE and not self._own(number))


class _Blob:
    """One stream on its way in: a hasher in its own thread, for a compressed one an inflater in another."""

    def __init__(self, ingest: Ingest, kind: Kind, algorithms: set[str]) -> None:
        self._ingest = ingest
        self._hashes = {name: hashlib.new(name) for name in algorithms}
        self._splitter = Splitter(ingest.cutter, BODY, opaque=bool(kind), entries=not kind)
        self._recipe = RecipeWriter(ingest.meta)
        self._head = Head(Digest("sha256:" + "0" * 64), "", 0)
        self._reach = 0  # where the last file's content should end
        self._side = Inflater(kind, self._entries) if kind else None
        self._hasher = Consumer("lamina-hash", self._hash)

    def feed(self, filled: Filled) -> None:
        """Take the next buffer; those before the last `LAG` are done with when this returns."""
        view = filled.view
        self._hasher.give(view)
        if self._side is not None:
            self._side.give(view)
        self._head.size += filled.count
        splitter, recipe, store = self._splitter, self._recipe, self._ingest.store
        contents, content_lengths, segments, segment_lengths = splitter.feed(filled.buffer, filled.count, filled.last)
        if len(contents):
            recipe.content(store(layout.CONTENT, filled.buffer, contents, content_lengths), content_lengths)
        if len(segments):
            source = splitter.segment_bytes()
            recipe.segment(store(layout.SEGMENT, source, segments, segment_lengths), segment_lengths)
        if splitter.spans_ready:
            recipe.spans(*splitter.take_spans())
        if splitter.scanner.entries_due or filled.last:
            columns = splitter.scanner.take_entries()
            if columns is not None:
                self._entries(columns)
        self._hasher.wait(LAG)
        if self._side is not None:
            self._side.wait(LAG)

    def finish(self, new: Callable[[], int]) -> Ingested:
        """All has been fed: the head, digests, and what `new` says when the last block is stored."""
        self._hasher.wait()
        head, side = self._head, self._side
        if side is not None:
            side.finish()
        digests = {name: Digest.done(name, each) for name, each in self._hashes.items()}
        head.recipe = self._recipe.finish()
        scanner = self._splitter.scanner if side is None else side.scanner
        head.entries, head.file_bytes = scanner.entry_count, scanner.file_bytes
        head.sha256 = head.digest = digests["sha256"]
        if side is None:
            head.diff_id, head.plain_size = digests["sha256"], head.size
        elif side.diff_id:
            head.diff_id, head.plain_size = side.diff_id, side.plain_size
        cut = head.plain_size >= 0 and self._reach > head.plain_size
        return Ingested(head, digests, new(), None if side is None else side.problem, cut)

    def close(self) -> None:
        """Stop the threads."""
        self._hasher.end()
        if self._side is not None:
            self._side.end()

    def _hash(self, view: memoryview) -> None:
        for each in self._hashes.values():
            each.update(view)

    def _entries(self, columns: EntryColumns) -> None:
        with np.errstate(over="ignore"):  # a hostile size: then it wraps to below, and the tar is taken as it is
            self._reach = max(self._reach, int((columns.offset + columns.stored).max(initial=0)))
        self._head.entry_blocks.extend(self._ingest.meta(block) for block in encode_blocks(columns))
