"""Chunks that lie in several frames, and which of the frames are to serve them.

Two writers at once, or a session whose pack was condemned, write a chunk that is there already; a collection copies both.  One
copy is enough.  Which one must not depend on what an index happens to name, or two collections would disagree, and what one
has kept the next would throw away.

The rule: of the frames that hold nothing that only they have, the youngest (highest pack, then record) goes first, if all that
is wanted of it lies in others that stay.  In the end every frame that stays has a chunk that no other one has, so that a
collection which keeps these frames alone comes to the same answer the next time.

Memory: 16 bytes a copy of a chunk that has several, some 100 while they are put in order; and what one batch of look-ups takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina._native.chunkindex import NONE
from lamina.errors import StoreDamaged

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex

BATCH = 1 << 16  # ids of one look-up: 2 MiB

Bools = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
Sound = Callable[[int, int], bool]  # (pack, record): whether its stored bytes are whole


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of chunks that have several, in the order of packs and ordinals: of which chunk (a number), and where."""

    chunk: U32
    pack: U32
    record: U32
    ordinal: U32

    def where(self, rows: Bools) -> Copies:
        """Some of them."""
        return Copies(self.chunk[rows], self.pack[rows], self.record[rows], self.ordinal[rows])


def find_copies(store: BlobStore, index: ChunkIndex, packs: Iterable[int]) -> Copies:
    """All copies in these packs of chunks that have more than one.

    The index names one copy of each chunk, and always the same: a chunk that it finds elsewhere than where it was read is a
    second copy of what it names.  A pack whose footer cannot be read has none.
    """
    found: list[npt.NDArray[np.uint64]] = [np.zeros((0, 2), np.uint64)]
    for number in packs:
        try:
            ids = store.packs.footer(number).ids
        except StoreDamaged:
            continue
        for start in range(0, len(ids), BATCH):
            named, ordinals = index.find(ids[start : start + BATCH])
            mine = np.arange(start, start + len(named), dtype=np.uint32)
            rows = np.flatnonzero((named != NONE) & ((named != number) | (ordinals != mine)))
            if len(rows):
                here = _place(np.full(len(rows), number, np.uint32), mine[rows])
                found.append(np.stack([_place(named[rows], ordinals[rows]), here], axis=1))
    pairs = np.concatenate(found)
    first, chunk = np.unique(pairs[:, 0], return_inverse=True)
    places = np.concatenate([first, pairs[:, 1]])
    order = np.argsort(places, kind="stable")
    number_of = np.concatenate([np.arange(len(first)), chunk.reshape(-1)])[order].astype(np.uint32)
    pack, ordinal = (places[order] >> np.uint64(32)).astype(np.uint32), places[order].astype(np.uint32)
    return Copies(number_of, pack, _records(store, pack, ordinal), ordinal)


def _place(packs: U32, ordinals: U32) -> npt.NDArray[np.uint64]:
    return packs.astype(np.uint64) << np.uint64(32) | ordinals


def _records(store: BlobStore, packs: U32, ordinals: U32) -> U32:
    records = np.zeros(len(packs), np.uint32)
    for number in np.unique(packs):
        rows = packs == number
        records[rows] = store.packs.footer(int(number)).places["record"][ordinals[rows]]
    return records


def choose_copies(wanted: Copies, needed: Bools, sound: Sound | None) -> Bools:
    """Which of these copies of chunks that are wanted are to be in use: one of each chunk.

    `needed`: those in frames that hold something that is wanted and is nowhere else.  `sound` is asked about frames for whose
    sake others would go; a damaged one serves only what is whole nowhere.
    """
    frame = np.unique(_place(wanted.pack, wanted.record), return_inverse=True)[1].reshape(-1)
    damaged: set[int] = set()
    while True:
        serving = _serving(wanted.chunk, np.isin(frame, list(damaged)))
        kept = _kept(wanted.chunk, frame, needed, serving)
        chosen = _first(wanted.chunk, serving & kept[frame])
        if sound is None:
            return chosen
        relied = chosen & np.isin(wanted.chunk, wanted.chunk[~kept[frame]])
        fresh = {int(frame[row]) for row in _first_of_frame(frame, relied)
                 if int(frame[row]) not in damaged and not sound(int(wanted.pack[row]), int(wanted.record[row]))}
        if not fresh:
            return chosen
        damaged |= fresh


def _serving(chunk: U32, damaged: Bools) -> Bools:
    """Copies that may serve: whole ones, and damaged ones of chunks that have no other."""
    whole = np.zeros(int(chunk.max(initial=0)) + 1, np.bool_)
    whole[chunk[~damaged]] = True
    return ~damaged | ~whole[chunk]


def _kept(chunk: U32, frame: I64, needed: Bools, serving: Bools) -> Bools:
    """For each frame, whether it stays.  Python once a frame that may go, numpy for its chunks."""
    frames = int(frame.max(initial=-1)) + 1
    fixed = np.zeros(frames, np.bool_)
    fixed[frame[needed]] = True
    pairs = np.unique(np.stack([frame, chunk], axis=1)[serving], axis=0)  # a chunk twice in a frame counts once
    left = np.bincount(pairs[:, 1], minlength=int(chunk.max(initial=0)) + 1)
    bounds = np.searchsorted(pairs[:, 0], np.arange(frames + 1))
    kept = np.ones(frames, np.bool_)
    for number in range(frames - 1, -1, -1):
        mine = pairs[bounds[number] : bounds[number + 1], 1]
        if not fixed[number] and (left[mine] > 1).all():
            kept[number] = False
            left[mine] -= 1
    return kept


def _first(chunk: U32, usable: Bools) -> Bools:
    """The first usable copy of each chunk."""
    chosen = np.zeros(len(chunk), np.bool_)
    rows = np.flatnonzero(usable)
    chosen[rows[np.unique(chunk[rows], return_index=True)[1]]] = True
    return chosen


def _first_of_frame(frame: I64, rows: Bools) -> I64:
    at = np.flatnonzero(rows)
    return at[np.unique(frame[at], return_index=True)[1]]
