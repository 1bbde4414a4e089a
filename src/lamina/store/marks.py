"""Which chunks and records are in use: one number a chunk of each pack, filled by streaming over recipes.

Memory: 4 bytes a chunk of the store for labels, 1 for marks (2 when they are settled); recipes pass by in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lamina._native.chunkindex import NONE
from lamina.errors import StoreDamaged
from lamina.store import layout
from lamina.store.duplicates import Copies, Sound, choose_copies
from lamina.store.index import ChunkIndex
from lamina.store.recipe import blocks
from lamina.store.schema import BlobRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
# Pack number and ordinals of chunks of one pack.
Rows = tuple[int, U32]


def record_bytes(records: npt.NDArray[Any]) -> int:
    """What these records take between a pack's header and its footer."""
    return int(records["stored"].sum(dtype=np.int64)) + layout.RECORD_HEADER.size * len(records)


def chunk_ids(store: BlobStore, index: ChunkIndex, row: BlobRow, *, entries: bool = True) -> Iterator[U8]:
    """The chunk ids of a blob, u8[n, 32] block by block: its recipe and (if wanted) entry blocks, contents and segments."""
    head = store.head_of_row(row)
    chunks = store.chunks(index)
    meta = [each[0] for each in head.recipe] + (head.entry_blocks if entries else [])
    yield np.frombuffer(b"".join(meta), np.uint8).reshape(-1, 32)
    for block in blocks(head, lambda block_id: chunks.chunk(block_id, row.digest)):
        yield block.content
        yield block.segment


def chunk_rows(store: BlobStore, index: ChunkIndex, row: BlobRow) -> Iterator[Rows]:
    """Where the chunks of a blob lie, block by block."""
    for ids in chunk_ids(store, index, row):
        yield from _located(index, ids, row.digest)


def _located(index: ChunkIndex, ids: U8, where: str) -> Iterator[Rows]:
    if not len(ids):
        return
    packs, ordinals = index.find(ids)
    if (packs == NONE).any():
        raise StoreDamaged("a recipe names chunks that are nowhere", where, "run lamina verify")
    for number in np.unique(packs):
        yield int(number), ordinals[packs == number]


class Marks:
    """Chunks and records of the packs that are in use.

    Of a chunk with several copies the one that the index names is marked first; `settled` says which are to stay.
    """

    def __init__(self, store: BlobStore, chunks: dict[int, npt.NDArray[np.bool_]] | None = None,
                 records: dict[int, set[int]] | None = None) -> None:
        self._store = store
        self._chunks = chunks or {}
        self._records = records or {}

    def chunks(self, number: int) -> npt.NDArray[np.bool_]:
        """One truth value a chunk of a pack."""
        found = self._chunks.get(number)
        if found is None:
            found = self._chunks[number] = np.zeros(len(self._store.packs.footer(number).ids), np.bool_)
        return found

    def add(self, index: ChunkIndex, row: BlobRow) -> int:
        """Mark a blob or document, and all chunks of it; plain bytes of chunks that were not marked before."""
        self._records.setdefault(row.pack, set()).add(row.record)
        new = 0
        if row.kind == "document":
            return new
        for number, ordinals in chunk_rows(self._store, index, row):
            marks = self.chunks(number)
            fresh = np.unique(ordinals[~marks[ordinals]])
            marks[fresh] = True
            new += int(self._store.packs.footer(number).places["length"][fresh].sum(dtype=np.int64))
        return new

    def settled(self, copies: Copies, sound: Sound | None = None) -> Marks:
        """The same, but for chunks with several copies: one of each is in use, whichever was marked (see `duplicates`)."""
        settled = Marks(self._store, {number: marks.copy() for number, marks in self._chunks.items()},
                        {number: set(records) for number, records in self._records.items()})
        marked = np.zeros(len(copies.chunk), np.bool_)
        packs = [int(number) for number in np.unique(copies.pack)]
        for number in packs:
            rows = copies.pack == number
            marked[rows] = self.chunks(number)[copies.ordinal[rows]]
        wanted = copies.where(np.isin(copies.chunk, copies.chunk[marked]))
        for number in packs:
            settled.chunks(number)[copies.ordinal[copies.pack == number]] = False
        needed = np.zeros(len(wanted.chunk), np.bool_)
        for number in np.unique(wanted.pack):
            rows = wanted.pack == number
            needed[rows] = settled.live_records(int(number))[wanted.record[rows]]
        chosen = wanted.where(choose_copies(wanted, needed, sound))
        for number in np.unique(chosen.pack):
            settled.chunks(int(number))[chosen.ordinal[chosen.pack == number]] = True
        return settled

    def live_records(self, number: int) -> npt.NDArray[np.bool_]:
        """One truth value a record of a pack: a frame with a marked chunk, or a marked head or document."""
        footer = self._store.packs.footer(number)
        live = np.zeros(len(footer.records), np.bool_)
        live[footer.places["record"][self.chunks(number)]] = True
        live[list(self._records.get(number, ()))] = True
        return live

    def dead_bytes(self, number: int) -> int:
        """Stored bytes, with their headers, of a pack's frames, heads and documents that are not in use."""
        records = self._store.packs.footer(number).records
        dead = ~self.live_records(number) & (records["type"] != layout.JOURNAL)
        return record_bytes(records[dead])


class Labels:
    """For each chunk, which of some owners have it: chunks with the same owners have the same label."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._labels: dict[int, npt.NDArray[np.uint32]] = {}
        self.sets: list[frozenset[str]] = [frozenset()]
        self._numbers: dict[frozenset[str], int] = {frozenset(): 0}

    def add(self, index: ChunkIndex, row: BlobRow, owners: Iterable[str]) -> None:
        """All chunks of a blob belong to these owners, too."""
        mine = frozenset(owners)
        for number, ordinals in chunk_rows(self._store, index, row):
            labels = self._labels.get(number)
            if labels is None:
                labels = self._labels[number] = np.zeros(len(self._store.packs.footer(number).ids), np.uint32)
            for old in np.unique(labels[ordinals]):
                rows = ordinals[labels[ordinals] == old]
                labels[rows] = self._number(self.sets[int(old)] | mine)

    def _number(self, owners: frozenset[str]) -> int:
        number = self._numbers.get(owners)
        if number is None:
            number = self._numbers[owners] = len(self.sets)
            self.sets.append(owners)
        return number

    def bytes_by_set(self) -> list[tuple[frozenset[str], int]]:
        """(owners, plain bytes of the chunks that exactly they have)."""
        sums: npt.NDArray[Any] = np.zeros(len(self.sets), np.int64)
        for number, labels in self._labels.items():
            lengths = self._store.packs.footer(number).places["length"].astype(np.int64)
            np.add.at(sums, labels, lengths)
        return [(owners, int(sums[i])) for i, owners in enumerate(self.sets) if owners]
