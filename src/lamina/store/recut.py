"""Cutting frames again whose footer is lost: where their chunks begin is told by the ids and lengths that recipes have."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina._native.blake3many import hash_many
from lamina._native.cdc import Cutter
from lamina.store import layout
from lamina.store.ingest import CUTTING, SEAMLESS

U8 = npt.NDArray[np.uint8]


class Recutter:
    """Chunks that recipes name and that are nowhere else, in the order of their streams.  Some 300 bytes each.

    A frame holds chunks in the order in which a stream brought them.  So the one expected next is tried first, then all lengths
    that are looked for (one pass over the longest), then the same from the frame's end.  What is between, which no recipe names
    any more, is cut by the chunker's rules, of which one finds its end unless a file ended there.
    """

    def __init__(self) -> None:
        self._number: dict[bytes, int] = {}
        self._ids: list[bytes] = []
        self._lengths: list[int] = []
        self._distinct: list[int] = []
        self._next = 0
        self._cutters = Cutter(*CUTTING), Cutter(*SEAMLESS)

    def add(self, ids: U8, lengths: npt.NDArray[np.uint32]) -> None:
        """The next chunks of a stream."""
        for row, length in enumerate(lengths.tolist()):
            chunk_id = ids[row].tobytes()
            if length and chunk_id not in self._number:
                self._number[chunk_id] = len(self._ids)
                self._ids.append(chunk_id)
                self._lengths.append(length)
        self._distinct = []

    def cut(self, plain: memoryview) -> tuple[U8, npt.NDArray[np.void]]:
        """The chunks of a frame: ids and places (PLACE); what none of those is is left out."""
        if not self._distinct:
            self._distinct = sorted(set(self._lengths))
        found: list[tuple[int, int, bytes]] = []
        at, end, stuck = 0, len(plain), False
        while at < end:
            if (chunk := self._forward(plain[at:end])) is not None:
                found.append((at, *chunk))
                at += chunk[0]
                continue
            if not stuck:
                stuck = True
                while at < end and (chunk := self._backward(plain[at:end])) is not None:
                    end -= chunk[0]
                    found.append((end, *chunk))
            at += self._between(plain[at:end])
        places = np.zeros(len(found), layout.PLACE)
        ids = np.empty((len(found), 32), np.uint8)
        for row, (offset, length, chunk_id) in enumerate(sorted(found)):
            places[row] = 0, offset, length
            ids[row] = np.frombuffer(chunk_id, np.uint8)
        return ids, places

    def _between(self, plain: memoryview) -> int:
        """Bytes before the next chunk that is known, by either rule."""
        nearest = len(plain)
        for cutter in self._cutters:
            at = 0
            for length in cutter.cut(plain).tolist():
                at += length
                if at >= nearest:
                    break
                if self._forward(plain[at:]) is not None:
                    nearest = at
        return nearest

    def _forward(self, plain: memoryview) -> tuple[int, bytes] | None:
        """The chunk with which these bytes begin."""
        if self._next < len(self._ids):
            length, chunk_id = self._lengths[self._next], self._ids[self._next]
            if length <= len(plain) and blake3(plain[:length]).digest() == chunk_id:
                self._next += 1
                return length, chunk_id
        hasher, done = blake3(), 0
        for length in self._distinct:
            if length > len(plain):
                break
            hasher.update(plain[done:length])
            done = length
            if (chunk := self._known(hasher.digest(), length)) is not None:
                return chunk
        return None

    def _backward(self, plain: memoryview) -> tuple[int, bytes] | None:
        """The chunk with which these bytes end."""
        count = bisect_left(self._distinct, len(plain) + 1)
        lengths = np.array(self._distinct[:count], np.int64)
        for length, chunk_id in zip(lengths.tolist(), hash_many(plain, len(plain) - lengths, lengths), strict=True):
            if (chunk := self._known(chunk_id.tobytes(), length)) is not None:
                return chunk
        return None

    def _known(self, chunk_id: bytes, length: int) -> tuple[int, bytes] | None:
        number = self._number.get(chunk_id)
        if number is None or self._lengths[number] != length:
            return None
        self._next = number + 1
        return length, chunk_id
