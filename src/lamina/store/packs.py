"""Reading packs: footers, records, chunks by id.  Every stored byte is checked before anyone sees its plain bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina._native.chunkindex import NONE
from lamina.errors import LaminaError, NotFound, StoreDamaged
from lamina.storage import Backend, ReadHandle
from lamina.store import layout
from lamina.store.codec import decode
from lamina.store.frames import Frame, Frames, Key
from lamina.store.index import ChunkIndex

K = TypeVar("K")
V = TypeVar("V")

HANDLES = 64  # open packs at a time
META_CACHE = 8 << 20  # plain bytes of frames read one by one that are kept: recipe and entry blocks
FOOTERS = 4096  # footers kept mapped; their pages are the file's


def pack_path(name: str) -> str:
    """Where the pack with this name (hex) lies."""
    return f"packs/{name[:2]}/{name}"


def read_footer(handle: ReadHandle) -> layout.Footer:
    """The footer of an open pack, checked; `StoreDamaged`."""
    size = handle.size
    where = handle.name
    tail_size = layout.TAIL.size
    if size < layout.HEADER.size + tail_size:
        raise StoreDamaged("a pack is too short", where, "run lamina verify")
    raw = bytearray(tail_size)
    handle.pread_into(memoryview(raw), size - tail_size)
    tail = layout.Tail.parse(bytes(raw), size, where)
    if tail.name.hex() != where.rpartition("/")[2]:
        raise StoreDamaged("a pack has another pack's name", where, "run lamina verify")
    return layout.Footer(tail, handle.map(tail.at, sum(tail.columns)), where)


class _Lru(Generic[K, V]):
    """The entries used last, up to a weight in all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: K) -> V | None:
        found = self._items.get(key)
        if found is None:
            return None
        self._items.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        self.pop(key)
        self._items[key] = (value, weight)
        self._weight += weight
        while self._weight > self._limit and len(self._items) > 1:
            self.pop(next(iter(self._items)))

    def pop(self, key: K) -> None:
        found = self._items.pop(key, None)
        if found is not None:
            self._weight -= found[1]

    def clear(self) -> None:
        for key in list(self._items):
            self.pop(key)


class Packs:
    """The sealed packs of a store.  Usable from several threads.

    `name_of(number)` gives a pack's name (hex), `StoreDamaged` for a number that is no pack.
    """

    def __init__(self, backend: Backend, name_of: Callable[[int], str]) -> None:
        self._backend, self._name_of = backend, name_of
        self._lock = threading.RLock()
        self._handles: _Lru[int, ReadHandle] = _Lru(HANDLES)
        self._footers: _Lru[int, layout.Footer] = _Lru(FOOTERS)
        self._frames: _Lru[tuple[int, int], bytes | memoryview] = _Lru(META_CACHE)
        self.frames = Frames(self)
        self.bytes_read = 0

    def footer(self, number: int) -> layout.Footer:
        """The footer of a pack; `StoreDamaged`."""
        with self._lock:
            found = self._footers.get(number)
            if found is None:
                found = read_footer(self.handle(number))
                self._footers.put(number, found)
            return found

    def ids(self, number: int) -> npt.NDArray[np.uint8]:
        """The id column of a pack."""
        return self.footer(number).ids

    def stored(self, number: int, record: int) -> tuple[np.void, bytes]:
        """(row of the footer, stored bytes) of a record, its checksum found right; `StoreDamaged`."""
        footer = self.footer(number)
        if record >= len(footer.records):
            raise StoreDamaged(f"record {record} is not there", footer.where, "run lamina verify")
        row = footer.records[record]
        data = memoryview(bytearray(int(row["stored"])))
        got = self.handle(number).pread_into(data, int(row["offset"]))
        if got != len(data) or layout.checksum(data) != int(row["checksum"]):
            raise StoreDamaged(f"record {record} does not match its checksum", footer.where, "run lamina verify")
        self.count(len(data))
        return row, bytes(data)

    def record(self, number: int, record: int) -> bytes | memoryview:
        """The plain bytes of a record; frames are cached."""
        key = (number, record)
        with self._lock:
            found = self._frames.get(key)
        if found is not None:
            return found
        row, stored = self.stored(number, record)
        plain = decode(int(row["codec"]), stored, int(row["plain"]), self.footer(number).where)
        if int(row["type"]) in layout.FRAMES:
            with self._lock:
                self._frames.put(key, plain, len(plain))
        return plain

    def count(self, stored: int) -> None:
        """So many stored bytes were read."""
        with self._lock:
            self.bytes_read += stored

    def locate(self, number: int, records: npt.NDArray[np.uint32]) -> list[Frame]:
        """These records of a pack as frames, for `frames`; `StoreDamaged`."""
        footer = self.footer(number)
        if len(records) and int(records.max()) >= len(footer.records):
            raise StoreDamaged(f"record {int(records.max())} is not there", footer.where, "run lamina verify")
        rows = footer.records[records]
        columns = [rows[name].tolist() for name in ("offset", "stored", "plain", "codec", "checksum")]
        return [Frame(number, *row, footer.where) for row in zip(records.tolist(), *columns, strict=True)]  # type: ignore[call-arg]

    def forget(self, number: int) -> None:
        """A pack is gone, or is to be read afresh."""
        self.frames.forget(number)
        with self._lock:
            self._handles.pop(number)
            self._footers.pop(number)

    def close(self) -> None:
        """Let go of all files."""
        self.frames.clear()
        with self._lock:
            self._handles.clear()
            self._footers.clear()
            self._frames.clear()

    def handle(self, number: int) -> ReadHandle:
        """A pack, open; `StoreDamaged`."""
        # A handle that falls out of the cache is closed when its last reader lets go of it, not under its hands.
        with self._lock:
            found = self._handles.get(number)
            if found is None:
                path = pack_path(self._name_of(number))
                try:
                    found = self._backend.open(path)
                except NotFound as error:
                    raise StoreDamaged("a pack is missing", path, "run lamina verify") from error
                self._handles.put(number, found)
            return found


class ChunkReader:
    """Chunks by their ids: index, footer, frame; where a frame is damaged, another copy.  One thread at a time."""

    def __init__(self, packs: Packs, index: ChunkIndex) -> None:
        self._packs, self._index = packs, index

    def places(self, ids: npt.NDArray[np.uint8], where: str) -> npt.NDArray[Any]:
        """For u8[n, 32]: (pack, record, offset, length) u32 columns; `StoreDamaged` where a chunk is nowhere."""
        packs, ordinals = self._index.find(ids)
        missing = np.flatnonzero(packs == NONE)
        if len(missing):
            chunk = bytes(ids[missing[0]]).hex()
            raise StoreDamaged(f"{len(missing)} chunks are missing, the first is {chunk}", where, "run lamina verify")
        out = np.empty((len(ids), 4), np.uint32)
        out[:, 0] = packs
        for number in np.unique(packs):
            rows = packs == number
            place = self._packs.footer(int(number)).places[ordinals[rows]]
            out[rows, 1], out[rows, 2], out[rows, 3] = place["record"], place["offset"], place["length"]
        return out

    def chunk(self, chunk_id: bytes, where: str) -> bytes | memoryview:
        """One chunk, whole (recipe blocks, entry blocks)."""
        ids = np.frombuffer(chunk_id, np.uint8).reshape(1, 32)
        number, record, offset, length = (int(value) for value in self.places(ids, where)[0])
        try:
            return memoryview(self._packs.record(number, record))[offset : offset + length]
        except LaminaError as error:
            return self.copy(chunk_id, (number, record), error)

    def copy(self, chunk_id: bytes, but: Key, error: LaminaError) -> memoryview:
        """A chunk from another record than the one that is damaged; the error of that one if no other copy is whole."""
        _, numbers, ordinals = self._index.copies(np.frombuffer(chunk_id, np.uint8).reshape(1, 32))
        for number, ordinal in sorted(zip(numbers.tolist(), ordinals.tolist(), strict=True)):
            record, offset, length = (int(value) for value in self._packs.footer(number).places[ordinal])
            if (number, record) != but:
                with suppress(LaminaError):
                    plain = memoryview(self._packs.record(number, record))[offset : offset + length]
                    if blake3(plain).digest() == chunk_id:
                        return plain
        raise error

    def mended(self, frame: Frame, source: npt.NDArray[np.uint32], lengths: npt.NDArray[np.uint32],
               error: LaminaError) -> npt.NDArray[np.uint8]:
        """The plain bytes of a damaged frame, of other copies of its chunks, but for those outside of the pieces `source`,
        `lengths`; the error if one has no other copy."""
        footer = self._packs.footer(frame.number)
        plain = np.empty(frame.plain, np.uint8)
        rows = np.flatnonzero(footer.places["record"] == frame.record)
        begins, ends = footer.places["offset"][rows], footer.places["offset"][rows] + footer.places["length"][rows]
        for row, begin, end in zip(rows.tolist(), begins.tolist(), ends.tolist(), strict=True):
            if bool(((source < end) & (source + lengths > begin)).any()):
                plain[begin:end] = self.copy(bytes(footer.ids[row]), frame.key, error)
        return plain
