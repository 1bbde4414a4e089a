"""Blobs read back side by side: their SHA-256 streams share one thread, which runs them interleaved (hashing.py).

Memory: `LANES` times `BUFFERS` buffers of 2 MiB, 18 MiB; and what the frames take (framecheck.py).
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from lamina.content.verify import read_all
from lamina.digest import Digest
from lamina.errors import DigestMismatch, LaminaError, SizeMismatch
from lamina.jsonlimits import MAX_BYTES
from lamina.store.assemble import WINDOW, BlobReader
from lamina.store.hashing import HashHub, Stream
from lamina.store.packs import ChunkReader, Packs
from lamina.store.proofs import proof_of
from lamina.store.recipe import Head
from lamina.store.schema import BlobRow
from lamina.store.stages import Stages

if TYPE_CHECKING:
    from lamina.store.blobstore import Reading

LANES: Final = 3  # two streams hash in the time of one; the third is there when one of them waits for its frames
BUFFERS: Final = 3
AHEAD: Final = 4  # windows of each lane whose frames are made ready


class Outcome(NamedTuple):
    """What became of a blob: whole, or the error that says what is wrong with it; `proof`: of a whole one (proofs.py)."""

    row: BlobRow
    error: LaminaError | None
    proof: bytes = b""


class Blobs:
    """The blobs of `rows`, read back by threads; `ended` has what became of each as they end, and None behind the last.

    `advance` is told of bytes, from any thread.
    """

    def __init__(self, reading: Reading, packs: Packs, rows: Iterable[BlobRow], advance: Callable[[int], None]) -> None:
        self._reading, self._packs, self._advance = reading, packs, advance
        self._index = reading.index  # before there are threads
        # The largest first: the last to end are short then, and versions of a layer run side by side and share frames.
        self._rows = deque(sorted(rows, key=lambda row: (-row.size, row.pack, row.record)))
        self.ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._hub = HashHub()
        self._stopped = False
        self._left = min(LANES, len(self._rows)) or 1
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name="lamina-blobs", daemon=True) for _ in range(self._left)]

    def __enter__(self) -> Blobs:
        self._packs.frames.enter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join()
        self._packs.frames.leave()
        self._hub.close()

    def _run(self) -> None:
        buffers = [memoryview(np.empty(WINDOW, np.uint8)) for _ in range(BUFFERS)]
        try:
            while not self._stopped:
                try:
                    row = self._rows.popleft()
                except IndexError:
                    break
                outcome = self._check(row, buffers)
                if not self._stopped:
                    self.ended.put(outcome)
        finally:
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self.ended.put(None)

    def _check(self, row: BlobRow, buffers: list[memoryview]) -> Outcome:
        try:
            if row.kind == "document":
                self._document(row)
                return Outcome(row, None)
            return Outcome(row, None, self._blob(row, buffers))
        except LaminaError as error:
            return Outcome(row, error)

    def _document(self, row: BlobRow) -> None:
        reader = self._reading.store.reader_of_row(row, self._index, None, None)
        data = read_all(reader, MAX_BYTES)
        _compare(row, len(data), str(Digest.of(data, Digest(row.digest).algorithm)))
        self._advance(len(data))

    def _blob(self, row: BlobRow, buffers: list[memoryview]) -> bytes:
        packs = self._packs
        stored = packs.record(row.pack, row.record)
        head = Head.decode(stored, row.digest)
        _compare(row, head.size, row.digest)
        digest = Digest(row.digest)
        reader = BlobReader(head, ChunkReader(packs, self._index), packs)
        stream = self._hub.stream({digest.algorithm}, Stages())
        try:
            count = self._pass(reader, stream, buffers)
            if not self._stopped:
                _compare(row, count, str(stream.digests()[digest.algorithm]))
        finally:
            stream.end()
            reader.close()
        return proof_of(row.digest, stored)

    def _pass(self, reader: BlobReader, stream: Stream, buffers: list[memoryview]) -> int:
        """All bytes of the blob through the buffers into the hash; how many there were."""
        done = 0
        for turn in range(1 << 62):
            while reader.prepared < AHEAD and reader.prepare(WINDOW, force=not reader.prepared, ahead=True):
                pass
            if not reader.prepared or self._stopped:
                return done
            stream.wait(len(buffers) - 1)
            buffer = buffers[turn % len(buffers)]
            count = reader.weave(buffer)
            stream.give(buffer[:count])
            self._advance(count)
            done += count
        return done


def _compare(row: BlobRow, size: int, digest: str) -> None:
    if size != row.size:
        raise SizeMismatch(f"blob has {size} bytes instead of {row.size}", row.digest)
    if digest != row.digest:
        raise DigestMismatch(f"blob has digest {digest}", row.digest)
