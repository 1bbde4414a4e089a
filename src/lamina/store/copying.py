"""Copying what is live of a pack: frames, heads and documents as they lie, nothing decompressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lamina.store import layout
from lamina.store.marks import Marks

if TYPE_CHECKING:
    from lamina.store.packs import Packs
    from lamina.store.sink import PackSink

Moved = tuple[str, int, int]  # digest, pack number, record number


ALL = (*layout.FRAMES, layout.HEAD, layout.DOCUMENT)  # journals are replaced by a checkpoint


def copy_live(
    packs: Packs, sink: PackSink, number: int, marks: Marks, watch: Callable[[int], None], kinds: tuple[int, ...] = ALL
) -> list[Moved]:
    """Copy the live records of these kinds; where the pack's heads and documents are now.

    `watch` is told the bytes of each record.  `StoreDamaged` if a record is.
    """
    footer = packs.footer(number)
    keys = dict(footer.key_rows())
    live = marks.live_records(number) & np.isin(footer.records["type"], kinds)
    order = np.argsort(footer.places["record"], kind="stable")
    bounds = np.searchsorted(footer.places["record"][order], np.arange(len(footer.records) + 1))
    moved: list[Moved] = []
    for record in np.flatnonzero(live):
        row, stored = packs.stored(number, int(record))
        kind, plain, encoded = int(row["type"]), int(row["plain"]), (int(row["codec"]), stored)
        if kind in layout.FRAMES:
            rows = order[bounds[record] : bounds[record + 1]]
            sink.verbatim(kind, encoded, plain, footer.ids[rows], footer.places[rows])
        else:
            key = keys[int(record)]
            moved.append((key["digest"], *sink.verbatim_record(kind, encoded, plain, key)))
        watch(len(stored))
    return moved
