"""Frames checked where they are decompressed anyway: every chunk against its id while blobs are read back.

`Looked.watch` is called by the threads that read frames.  What nobody reads is for the caller to read at the end.
Memory: two bytes a record of the packs that are to be looked at, and the bounds of the records of `_GROUPS` packs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from lamina._native.blake3many import hash_many
from lamina.content.progress import Progress
from lamina.errors import StoreDamaged
from lamina.store import layout
from lamina.store.frames import Extent, Frames
from lamina.store.packcheck import Damage, Grouped, check_record
from lamina.store.packs import Packs
from lamina.store.schema import PackRow
from lamina.store.storedcheck import mismatched

ARENA = 64 << 20  # frames of three blobs side by side: each needs some 16 MiB to read hardly any twice
_GROUPS = 64

Wanted = npt.NDArray[np.bool_]


class Looked:
    """Which records of some packs are still to be looked at, and what was wrong with those that were.

    `packs` is a view of the store of its own, so that nothing is taken for good because it was read before.
    """

    def __init__(self, packs: Packs, progress: Progress, key: str) -> None:
        self.packs = packs
        packs.frames = Frames(packs, ARENA, watch=self.watch)
        self.damage: list[Damage] = []
        self.pending: dict[int, Wanted] = {}  # by pack number
        self.changed: set[int] = set()  # packs of which something was looked at; the caller clears it
        self._wanted: dict[int, Wanted] = {}
        self._rows: dict[int, PackRow] = {}
        self._groups: OrderedDict[int, Grouped] = OrderedDict()
        self._lock = threading.Lock()
        self._progress, self._key = progress, key

    def want(self, pack: PackRow, records: Wanted) -> None:
        """These records of a pack are to be looked at."""
        self._rows[pack.number] = pack
        self._wanted[pack.number], self.pending[pack.number] = records.copy(), records

    def looked(self, number: int) -> Wanted:
        """Those of them that were."""
        return self._wanted[number] & ~self.pending[number]

    def watch(self, extent: Extent) -> None:
        """Of frames that were read well, those that are to be looked at; one with a wrong chunk fails."""
        number = extent.frames[0].number
        pending = self.pending.get(number)
        if pending is None:
            return
        mine = [i for i, frame in enumerate(extent.frames) if pending[frame.record] and i not in extent.failures]
        if not mine:
            return
        footer, grouped = self.packs.footer(number), self._grouped(number)
        parts = [grouped.rows(extent.frames[i].record) for i in mine]
        rows = np.concatenate(parts)
        starts = np.repeat([extent.starts[i] for i in mine], [len(part) for part in parts])
        places = footer.places[rows]
        ids = hash_many(extent.memory, places["offset"] + starts, places["length"].astype(np.int64))
        bad = (ids != footer.ids[rows]).any(axis=1)
        for i in mine:
            if bad.any() and bad[np.isin(rows, grouped.rows(extent.frames[i].record))].any():
                what = f"record {extent.frames[i].record} holds other chunks than its pack says"
                extent.failures[i] = StoreDamaged(what, footer.where, "run lamina repair")
            else:
                self._done(number, extent.frames[i].record, extent.frames[i].stored)

    def _done(self, number: int, record: int, stored: int) -> None:
        with self._lock:
            if not self.pending[number][record]:
                return  # two readers at once: it had been let go of in between
            self.pending[number][record] = False
            self.changed.add(number)
        self._progress.advance(self._key, stored)

    def _grouped(self, number: int) -> Grouped:
        with self._lock:
            found = self._groups.get(number)
            if found is None:
                found = self._groups[number] = Grouped(self.packs.footer(number))
                if len(self._groups) > _GROUPS:
                    self._groups.popitem(last=False)
            return found

    def look_stored(self, number: int) -> None:
        """At the stored bytes of all records of a pack that are still to be looked at, and no further."""
        pack, footer = self._rows[number], self.packs.footer(number)
        for record, wrong in mismatched(self.packs, number, self.pending[number]):
            if wrong:  # by itself once more, to say what is wrong with it
                check_record(self.packs, pack, footer, record, None, self._grouped(number).rows(record), self.damage)
            self._done(number, record, int(footer.records[record]["stored"]))

    def look(self, number: int) -> None:
        """At all records of a pack that are still to be looked at: frames on several cores, then the others.

        What is wrong with one is told in `damage`.
        """
        pending, pack, footer = self.pending[number], self._rows[number], self.packs.footer(number)
        frames = np.isin(footer.records["type"], layout.FRAMES)
        located = self.packs.locate(number, np.flatnonzero(frames & pending).astype(np.uint32))
        for _ in self.packs.frames.each(located):
            pass  # `watch` has seen it
        for record in np.flatnonzero(pending).tolist():
            check_record(self.packs, pack, footer, record, None, self._grouped(number).rows(record), self.damage)
            self._done(number, record, int(footer.records[record]["stored"]))
