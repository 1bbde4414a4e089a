"""How many plain bytes layers bring that others have not: what is common is found by chunk, not by layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina.errors import NotFound
from lamina.store.recipe import blocks

if TYPE_CHECKING:
    from lamina.store import BlobStore, Reading

# The distinct chunks of a layer: the first 8 bytes of each id, in order (among 10 million chunks two share them with
# a chance of 3 in a million; this is for figures only), and their lengths.
Chunks = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]

_ID, _KEY = 32, 8
_KEPT = 64 << 20  # bytes of such columns kept in memory: 5 million chunks, some 300 GB of layers


class NewBytes:
    """Counts within one reading of a store; the chunks of a layer are listed once, as long as memory lasts."""

    def __init__(self, store: BlobStore, reading: Reading) -> None:
        self._store, self._reading = store, reading
        self._chunks: OrderedDict[str, Chunks] = OrderedDict()
        self._bytes = 0

    def count(self, layers: Iterable[str], beside: Iterable[str]) -> int:
        """Plain bytes of the distinct chunks of `layers` that are in no layer of `beside` (digests)."""
        parts = [self._layer(digest) for digest in dict.fromkeys(layers)]
        if not parts:
            return 0
        keys, lengths = _distinct(np.concatenate([part[0] for part in parts]),
                                  np.concatenate([part[1] for part in parts]))
        for digest in dict.fromkeys(beside):
            fresh = ~np.isin(keys, self._layer(digest)[0], assume_unique=True)
            keys, lengths = keys[fresh], lengths[fresh]
        return int(lengths.sum(dtype=np.int64))

    def _layer(self, digest: str) -> Chunks:
        known = self._chunks.get(digest)
        if known is None:
            known = self._chunks[digest] = self._read(digest)
            self._bytes += _size(known)
            while self._bytes > _KEPT and len(self._chunks) > 1:
                self._bytes -= _size(self._chunks.popitem(last=False)[1])
        else:
            self._chunks.move_to_end(digest)
        return known

    def _read(self, digest: str) -> Chunks:
        row = self._store.catalog.blob(digest)
        if row is None or row.kind == "document":
            raise NotFound("a layer of the image is missing", digest, "run 'lamina verify'")
        reader = self._store.chunks(self._reading.index)
        keys: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        lengths: list[npt.NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        for block in blocks(self._store.head_of_row(row), lambda block_id: reader.chunk(block_id, digest)):
            keys += [_keys(block.content), _keys(block.segment)]
            lengths += [block.content_lengths.copy(), block.segment_lengths.copy()]
        return _distinct(np.concatenate(keys), np.concatenate(lengths))


def _keys(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(ids.reshape(-1, _ID)[:, :_KEY]).view(np.uint64).reshape(-1)


def _distinct(keys: npt.NDArray[np.uint64], lengths: npt.NDArray[np.uint32]) -> Chunks:
    unique, first = np.unique(keys, return_index=True)
    return unique, lengths[first]


def _size(chunks: Chunks) -> int:
    return chunks[0].nbytes + chunks[1].nbytes
