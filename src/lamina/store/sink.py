"""Where a session's records go: frames are compressed on all cores and written to packs in their order.

The caller's thread lays chunks into frames and knows at once where each chunk will be (pack, ordinal); workers compress;
one writer thread appends the records in order, and seals a pack when it has grown to its size.  Frame buffers are few
and used again and again: fresh memory costs 2 CPU seconds a GB on a virtual machine (PEERS).
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina._native import weave
from lamina.errors import LimitExceeded, StoreDamaged
from lamina.storage import Backend
from lamina.store import layout
from lamina.store.codec import Compression
from lamina.store.openpack import OpenFrame, OpenPack, OpenRun
from lamina.store.spares import SPARES
from lamina.store.stages import Stages

PACK_BYTES = 64 << 20
PACK_CHUNKS = 1 << 18  # bounds the footer that is held until the pack is sealed: 44 bytes a chunk, 12 MiB
WORKERS = max(1, min(os.cpu_count() or 1, 8))
FRAMES_IN_FLIGHT = 24  # 24 MiB: what the workers finish while a pack is synced

ALONE = 16 << 10  # bytes from which on a chunk that is not compressed is a frame of its own: 64 bytes for 64 KiB

ONE = Compression(1)  # of what is small and read often: heads, documents
TABLES = Compression(5)  # of recipes and entry tables: 8 % less than at level 1, for 2.5 ms a megabyte instead of 0.8

Stored = bytes | memoryview
Encoded = tuple[int, Stored, int]  # codec, stored bytes, their checksum


class _Chunks(NamedTuple):
    """Chunks in a buffer: where each begins, how long it is, its id."""

    source: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Item:
    """A record on its way to a pack: to be compressed, or as it lies in another pack (`codec`).

    `length`: of the plain bytes; `slot`: a frame buffer to give back, or None for a place without one.
    """

    pack: OpenPack
    record: int
    kind: int
    data: Stored
    length: int
    rows: int
    slot: npt.NDArray[np.uint8] | None
    compression: Compression = ONE
    codec: int | None = None


def _encode(item: _Item, stages: Stages) -> Encoded:
    """In a worker: compress, and sum up what will be stored."""
    with stages.timed("compress", item.length):
        codec, stored = (item.codec, item.data) if item.codec is not None else item.compression.encode(memoryview(item.data))
    with stages.timed("checksum", len(stored)):
        return codec, stored, layout.checksum(stored)


@dataclass(frozen=True, slots=True)
class SealedPack:
    """What the catalog needs to know of a finished pack."""

    number: int
    name: bytes
    bytes: int
    chunks: int


class PackSink:
    """Takes frames and records, in order, from any thread.

    Chunks of each `lane` (a stream's thread) lie in frames of their own, so that neighbours in a stream stay neighbours.
    Who looks up what is known and then places the rest holds `lock` meanwhile.

    `new_number(name)` gives the number of a new pack; `on_placed(pack, ids, first ordinal)` is called by the caller's thread
    as chunks get their places, `on_sealed` by the writer thread.
    """

    def __init__(
        self,
        backend: Backend,
        owner: str,
        compression: Compression,
        new_number: Callable[[bytes], int],
        on_placed: Callable[[int, npt.NDArray[np.uint8], int], None],
        on_sealed: Callable[[SealedPack], None],
        *,
        frame_bytes: int = layout.FRAME_BYTES,
        workers: int = 0,
        in_flight: int = FRAMES_IN_FLIGHT,
        stages: Stages | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self._backend, self._owner, self._compression = backend, owner, compression
        self._frame_bytes, self._stages = frame_bytes, stages or Stages()
        self._new_number, self._on_placed, self._on_sealed = new_number, on_placed, on_sealed
        self._pack: OpenPack | None = None
        self._frames: dict[tuple[int, int], OpenFrame] = {}  # by kind and lane
        self._runs: dict[tuple[int, int], OpenRun] = {}  # likewise
        self._pool = ThreadPoolExecutor(workers or WORKERS, thread_name_prefix="lamina-compress")
        # Places for records in flight: buffers that have been made already, and None for those that have not.
        self._free: queue.SimpleQueue[npt.NDArray[np.uint8] | None] = queue.SimpleQueue()
        for _ in range(in_flight):
            self._free.put(None)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._closed = False
        self._open: list[OpenPack] = []
        self.stored = 0
        self._thread = threading.Thread(target=self._run, name="lamina-write", daemon=True)
        self._thread.start()

    # -- the caller's side

    def place(
        self,
        kind: int,
        source: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        ids: npt.NDArray[np.uint8],
        lane: int = 0,
        *,
        raw: bool = False,
    ) -> None:
        """Copy the chunks `rows` of `source` into frames of this kind.  They have their places when this returns.

        Chunks of one kind and lane lie together in the order in which they come, across blobs.  `raw`: they are not
        compressed, as without compression.
        """
        chunks = _Chunks(source, offsets, lengths, ids)
        with self.lock:
            if raw or self._compression.level == 0:
                alone = lengths[rows] >= ALONE
                self._place_alone((kind, lane), chunks, rows[alone])
                rows = rows[~alone]
            self._place((kind, lane), chunks, rows)

    def _place_alone(self, key: tuple[int, int], chunks: _Chunks, rows: npt.NDArray[np.int64]) -> None:
        """Chunks that are stored as they are become frames of their own: their ids are checksums already."""
        source, offsets, lengths, ids = chunks
        done = 0
        while done < len(rows):
            run = self._runs.get(key)
            if run is None:
                pack = self._current()
                run = self._runs[key] = OpenRun(pack, self._buffer(self._free.get()))
            until, run.used, places = weave.lay(run.buffer, run.used, source, offsets, lengths, rows, done, key[0], ids)
            if until > done:
                taken, pack = rows[done:until], run.pack
                records = np.zeros(until - done, layout.RECORD)
                records["offset"], records["stored"], records["plain"] = places, lengths[taken], lengths[taken]
                records["rows"], records["type"], records["codec"] = 1, key[0], layout.RAW
                records["checksum"] = ids[taken, :8].copy().view("<u8")[:, 0]
                numbers = np.arange(pack.records, pack.records + len(records), dtype=np.uint32)
                pack.records += len(records)
                run.parts.append((numbers, records))
                self._add_chunks(pack, numbers, ids[taken], np.zeros(len(taken), np.uint32), records["plain"])
                done = until
            if done < len(rows):
                if not run.used:
                    raise StoreDamaged("a chunk is larger than a frame", run.pack.name.hex(), "run lamina verify")
                self._finish_run(key)

    def _place(self, key: tuple[int, int], chunks: _Chunks, rows: npt.NDArray[np.int64]) -> None:
        source, offsets, lengths, ids = chunks
        done = 0
        while done < len(rows):
            frame = self._frame(key)
            until, frame.used, places = weave.fill(frame.buffer, frame.used, source, offsets, lengths, rows, done)
            if until > done:
                taken = rows[done:until]
                self._add_chunks(frame.pack, frame.record, ids[taken], places, lengths[taken].astype(np.uint32))
                frame.rows += until - done
                done = until
            if done < len(rows):
                if not frame.used:
                    raise StoreDamaged("a chunk is larger than a frame", frame.pack.name.hex(), "run lamina verify")
                self._finish_frame(key)

    def meta(self, data: bytes, chunk_id: npt.NDArray[np.uint8]) -> None:
        """Store one meta chunk in a frame of its own."""
        with self.lock:
            pack, slot, record = self._begin(reserve=0)
            self._add_chunks(pack, record, chunk_id.reshape(1, 32), np.zeros(1, np.uint32), np.array([len(data)], np.uint32))
            self._add(_Item(pack, record, layout.META, data, len(data), 1, slot, TABLES))

    def record(self, kind: int, data: bytes, key: dict[str, Any]) -> tuple[int, int]:
        """Store a head, document or journal.  Returns (pack number, record number)."""
        with self.lock:
            pack, slot, record = self._begin(reserve=0)
            pack.keys[record] = key
            self._add(_Item(pack, record, kind, data, len(data), 0, slot))
            return pack.number, record

    def verbatim(
        self,
        kind: int,
        encoded: tuple[int, bytes],
        plain: int,
        ids: npt.NDArray[np.uint8],
        places: npt.NDArray[Any],
    ) -> None:
        """Store a frame as it lies in another pack; `places` are the rows of its chunks there."""
        with self.lock:
            pack, slot, record = self._begin()
            self._add_chunks(pack, record, ids, places["offset"], places["length"])
            self._add(_Item(pack, record, kind, encoded[1], plain, len(ids), slot, codec=encoded[0]))

    def verbatim_record(self, kind: int, encoded: tuple[int, bytes], plain: int, key: dict[str, Any]) -> tuple[int, int]:
        """Store a head or document as it lies in another pack.  Returns (pack number, record number)."""
        with self.lock:
            pack, slot, record = self._begin(reserve=0)
            pack.keys[record] = key
            self._add(_Item(pack, record, kind, encoded[1], plain, 0, slot, codec=encoded[0]))
            return pack.number, record

    def seal(self) -> None:
        """Finish the pack that is open, and wait until everything is on disk."""
        with self.lock:
            self._check()
            self._rotate()
            reached = threading.Event()
            self._work.put(reached.set)
            reached.wait()
            self._check()

    def shrinks(self, sample: memoryview) -> bool:
        """Whether compression does anything for bytes like these."""
        return self._compression.level > 0 and self._compression.encode(sample)[0] != layout.RAW

    def open_packs(self) -> dict[int, OpenPack]:
        """Packs that are not sealed, by number; asked for with the lock held, they have all that has been placed."""
        return {pack.number: pack for pack in list(self._open)}

    def after(self, kind: int, lane: int, then: Callable[[], None]) -> None:
        """Finish what is open of that lane, and let the writer thread call `then` when all laid down so far is written."""
        with self.lock:
            if (kind, lane) in self._frames:
                self._finish_frame((kind, lane))
            if (kind, lane) in self._runs:
                self._finish_run((kind, lane))
            self._work.put(then)

    def fail(self, error: BaseException) -> None:
        """What has been written may not last: the next call raises this."""
        self._failure = self._failure or error

    def close(self, keep: Callable[[], Container[str]] = frozenset) -> None:
        """Stop the threads.  Packs that are not sealed are dropped, but for those (hex) that `keep` names then."""
        self._closed = True
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()
            self._pool.shutdown(cancel_futures=True)
        self._frames, self._runs = {}, {}
        for _ in range(self._free.qsize()):  # a session is in cycles, and stays until those are collected: without its buffers
            with suppress(queue.Empty):
                if (buffer := self._free.get_nowait()) is not None:
                    SPARES.give([buffer])
                self._free.put(None)
        if not self._open:
            return
        kept = keep()
        with ExitStack() as stack:  # one that cannot be removed must not keep the others
            for pack in self._open:
                stack.callback(pack.writer.leave if pack.name.hex() in kept else pack.writer.abort)
            self._open.clear()

    # -- inside

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ValueError("the session is over")

    def _current(self, reserve: int = PACK_BYTES) -> OpenPack:
        """The pack to write to.  A session of a few records (a tag) reserves no space: it must work on a full disk."""
        self._check()
        pack = self._pack
        if pack is not None and (pack.size_to_be >= PACK_BYTES or pack.chunks >= PACK_CHUNKS):
            self._rotate()
            pack = None
        if pack is None:
            name = secrets.token_bytes(16)
            text = name.hex()
            number = self._new_number(name)  # first: it may be refused, and then there is no file to take away
            writer = self._backend.create(f"packs/{text[:2]}/{text}", self._owner, reserve=reserve)
            header = layout.pack_header(name)
            pack = self._pack = OpenPack(number, name, writer, size=len(header))
            self._open.append(pack)
            self._work.put(lambda: writer.write(header))
        return pack

    def _begin(self, reserve: int = PACK_BYTES) -> tuple[OpenPack, npt.NDArray[np.uint8] | None, int]:
        """The pack to write to, a place in flight (waited for), and the number of a new record."""
        pack = self._current(reserve)  # may finish the open frames of a pack that is full
        slot = self._free.get()
        return pack, slot, pack.next_record()

    def _frame(self, key: tuple[int, int]) -> OpenFrame:
        frame = self._frames.get(key)
        if frame is None:
            pack, buffer, record = self._begin()
            frame = self._frames[key] = OpenFrame(pack, record, self._buffer(buffer))
        return frame

    def _buffer(self, slot: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
        if slot is None:
            slot = SPARES.take(self._frame_bytes)
        return np.empty(self._frame_bytes, np.uint8) if slot is None else slot

    def _finish_run(self, key: tuple[int, int]) -> None:
        run = self._runs.pop(key)
        run.pack.given_plain += run.used
        self._work.put(lambda: self._append_run(run))

    def _finish_frame(self, key: tuple[int, int]) -> None:
        frame = self._frames.pop(key)
        plain = memoryview(frame.buffer)[: frame.used]
        self._add(
            _Item(frame.pack, frame.record, key[0], plain, frame.used, frame.rows, frame.buffer, compression=self._compression)
        )

    def _add_chunks(
        self,
        pack: OpenPack,
        record: int | npt.NDArray[np.uint32],
        ids: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.uint32],
        lengths: npt.NDArray[np.uint32],
    ) -> None:
        rows = np.empty(len(ids), layout.PLACE)
        rows["record"], rows["offset"], rows["length"] = record, offsets, lengths
        self._on_placed(pack.number, ids, pack.place(ids, rows))

    def _add(self, item: _Item) -> None:
        """One record more, to a worker and then to the writer."""
        if item.length > layout.RECORD_LIMIT:  # no reader would take the pack
            raise LimitExceeded(f"a record of {item.length} bytes, more than {layout.RECORD_LIMIT}", item.pack.name.hex())
        item.pack.given_plain += item.length
        encoded = self._pool.submit(_encode, item, self._stages)
        self._work.put(lambda: self._append(item, encoded))

    def _rotate(self) -> None:
        for key in list(self._frames):
            self._finish_frame(key)
        for key in list(self._runs):
            self._finish_run(key)
        pack, self._pack = self._pack, None
        if pack is not None:
            self._work.put(lambda: self._finish(pack))

    # -- the writer thread

    def _run(self) -> None:
        """After a failure the queue is still drained, so that nobody waits for a frame buffer for ever."""
        while (step := self._work.get()) is not None:
            try:
                step()
            except BaseException as error:  # handed to the caller by the next _check
                self._failure = self._failure or error

    def _append(self, item: _Item, encoded: Future[Encoded]) -> None:
        try:
            codec, stored, check = encoded.result()
            if self._failure is not None:
                return
            pack = item.pack
            with self._stages.timed("write", len(stored)):
                pack.writer.write(layout.record_header(item.kind, codec, len(stored), item.length, item.rows, check))
                at = pack.size + layout.RECORD_HEADER.size
                pack.writer.write(stored)
            pack.written.put(item.record, (at, len(stored), item.length, item.rows, item.kind, codec, 0, check))
            pack.size = at + len(stored)
            pack.written_plain += item.length
        finally:
            self._free.put(item.slot)

    def _append_run(self, run: OpenRun) -> None:
        try:
            if self._failure is not None:
                return
            pack = run.pack
            with self._stages.timed("write", run.used):
                pack.writer.write(memoryview(run.buffer)[: run.used])
            for numbers, records in run.parts:
                records["offset"] += pack.size
                pack.written.put(numbers, records)
            pack.size += run.used
            pack.written_plain += run.used
        finally:
            self._free.put(run.buffer)

    def _finish(self, pack: OpenPack) -> None:
        if self._failure is not None:
            return
        zeros = layout.padding(pack.size)
        ids = np.concatenate(pack.ids) if pack.ids else np.empty((0, 32), np.uint8)
        places = np.concatenate(pack.places) if pack.places else np.empty(0, layout.PLACE)
        records = pack.written.rows(pack.records)
        keys = layout.encode_keys([pack.keys[record] for record in sorted(pack.keys)])
        parts = [zeros, *layout.footer(pack.name, pack.size + len(zeros), records, ids, places, keys)]
        with self._stages.timed("sync", sum(len(part) for part in parts)):
            for part in parts:
                pack.writer.write(part)
            pack.writer.seal()
        pack.sealed = True
        self._open.remove(pack)
        size = pack.size + sum(len(part) for part in parts)
        self.stored += size
        self._on_sealed(SealedPack(pack.number, pack.name, size, len(ids)))
