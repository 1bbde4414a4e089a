"""How many of some steps, each of which lets names go, bring a store below a budget; by one pass over the recipes.

Every chunk, head and document has the number of the step that it goes with: the last that takes something away which needs it.
Sums by number give the size after each step, and one that may fit is then settled exactly, as a collection would
(`duplicates`).

Memory: 4 bytes a chunk for numbers, 1 for the marks of one cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lamina.errors import NotFound, StoreDamaged
from lamina.store import layout
from lamina.store.collect import ROUND_BYTES
from lamina.store.duplicates import find_copies
from lamina.store.layout import HEADER, RECORD, RECORD_HEADER, TAIL
from lamina.store.marks import Marks, chunk_rows
from lamina.store.schema import LIVE, BlobRow, PackRow
from lamina.store.sink import PACK_BYTES

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore, Reading

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

ROW_BYTES = 32 + layout.PLACE.itemsize  # of a chunk in a footer
NAME_BYTES = 640  # at most, mostly: of a name in a checkpoint


@dataclass(frozen=True, slots=True)
class Shrinking:
    """`steps`: how many are to be taken; `unused_freed`: bytes of records that a collection frees then, to the byte, those that
    are dead before among them; `size`: of the pack files afterwards, at most; `fits`: whether that is within the budget."""

    steps: int
    unused_freed: int
    size: int
    fits: bool


def shrink(store: BlobStore, steps: Sequence[Sequence[str]], budget: int) -> Shrinking:
    """The least number of steps (names that go with each) after which a collection leaves `budget` bytes of packs.

    All of them, if that is not enough.  `StoreDamaged` if what a blob needs cannot be found out.
    """
    with store.reading() as reading:
        ranking = _Ranking(reading, steps)
        return ranking.cut(budget)


class _Ranking:
    """With which step each chunk and record goes: 1 to n, n + 1 for what stays, 0 for what nothing refers to now."""

    def __init__(self, reading: Reading, steps: Sequence[Sequence[str]]) -> None:
        self._reading, self._store, self._steps = reading, reading.store, len(steps)
        self._chunks: dict[int, U32] = {}
        self._records: dict[int, dict[int, int]] = {}
        last = self._last_needed(steps)
        rows = [(row, max(last.get(row.digest, 0), last.get(row.sha256, 0))) for row in self._store.catalog.blobs()]
        self._packs = self._store.catalog.packs(LIVE)
        for row, rank in rows:
            if rank:
                self._add(row, rank)
        self._copies = find_copies(self._store, reading.index, (pack.number for pack in self._packs))

    def _last_needed(self, steps: Sequence[Sequence[str]]) -> dict[str, int]:
        """Digest -> number, for all that is reachable."""
        catalog = self._store.catalog
        refs = {ref.name: ref.digest for ref in catalog.refs()}
        leaving = {name for names in steps for name in names}
        groups = [[refs[name] for name in names if name in refs] for names in steps]
        groups.append([*catalog.held(), *(digest for name, digest in refs.items() if name not in leaving)])
        last: dict[str, int] = {}
        for rank, digests in enumerate(groups, 1):  # later ones count: what is written last stays
            last.update(dict.fromkeys(catalog.reachable_from(digests), rank))
        return last

    def _add(self, row: BlobRow, rank: int) -> None:
        self._records.setdefault(row.pack, {})[row.record] = rank
        if row.kind == "document":
            return
        try:
            for number, ordinals in chunk_rows(self._store, self._reading.index, row):
                ranks = self._ranks(number)
                ranks[ordinals] = np.maximum(ranks[ordinals], np.uint32(rank))
        except (StoreDamaged, NotFound) as error:
            raise StoreDamaged(f"blob {row.digest} is damaged ({error}): what it needs is not known, and nothing can be freed",
                               hint="run lamina repair, or remove the images that have it") from error

    def _ranks(self, number: int) -> U32:
        found = self._chunks.get(number)
        if found is None:
            found = self._chunks[number] = np.zeros(len(self._store.packs.footer(number).ids), np.uint32)
        return found

    def cut(self, budget: int) -> Shrinking:
        """The answer."""
        sizes = self._sizes()
        steps = int(np.argmax(sizes <= budget)) if (sizes <= budget).any() else self._steps
        found = self._exactly(steps, budget)
        # The sums count copies that the index names, and a rewrite that may not be due: it may be a step more, or fewer.
        while not found.fits and found.steps < self._steps:
            found = self._exactly(found.steps + 1, budget)
        while found.fits and found.steps and (less := self._exactly(found.steps - 1, budget)).fits:
            found = less
        return found

    def _sizes(self) -> I64:
        """Bytes of the files after 0 steps, 1 step, ..."""
        freed: I64 = np.zeros(self._steps + 2, np.int64)
        for pack in self._packs:
            ranks = self._record_ranks(pack.number)
            records = self._store.packs.footer(pack.number).records
            ours = records["type"] != layout.JOURNAL
            weights = _weights(records)
            np.add.at(freed, ranks[ours], weights[ours])
            # The pack's own header, footer and journal go when all that it has is gone; one that has nothing else stays.
            freed[int(ranks[ours].max(initial=0)) if ours.any() else -1] += pack.bytes - int(weights[ours].sum())
        total = int(freed.sum())
        return total + self._overhead(total) - np.cumsum(freed)[: self._steps + 1]

    def _record_ranks(self, number: int) -> I64:
        footer = self._store.packs.footer(number)
        ranks: I64 = np.zeros(len(footer.records), np.int64)
        np.maximum.at(ranks, footer.places["record"], self._ranks(number).astype(np.int64))
        for record, rank in self._records.get(number, {}).items():
            ranks[record] = max(int(ranks[record]), rank)
        return ranks

    def _overhead(self, size: int) -> int:
        """At most, of packs that are written anew: their own bytes, and a checkpoint for each round."""
        rounds, packs = size // ROUND_BYTES + 2, size // PACK_BYTES + 2
        return (rounds * NAME_BYTES * (len(self._store.catalog.refs()) + 1)
                + (rounds + packs) * (HEADER.size + TAIL.size + 64))

    def _exactly(self, steps: int, budget: int) -> Shrinking:
        """As a collection would find it."""
        chunks = {number: ranks > steps for number, ranks in self._chunks.items()}
        records = {number: {record for record, rank in ranks.items() if rank > steps}
                   for number, ranks in self._records.items()}
        marks = Marks(self._store, chunks, records).settled(self._copies)
        dead = sum(marks.dead_bytes(pack.number) for pack in self._packs)
        size = sum(self._left(pack, marks) for pack in self._packs)
        size += self._overhead(size) if dead else 0
        return Shrinking(steps, dead, size, size <= budget)

    def _left(self, pack: PackRow, marks: Marks) -> int:
        """What stays of a pack, or of what is copied from it."""
        records = self._store.packs.footer(pack.number).records
        ours = records["type"] != layout.JOURNAL
        live = marks.live_records(pack.number) & ours
        return pack.bytes - int(_weights(records)[ours & ~live].sum()) if live.any() or not ours.any() else 0


def _weights(records: npt.NDArray[Any]) -> I64:
    """Bytes of each record in a file, its rows in the footer among them; at least."""
    rows: I64 = records["rows"].astype(np.int64)
    return records["stored"].astype(np.int64) + RECORD_HEADER.size + RECORD.itemsize + rows * ROW_BYTES
