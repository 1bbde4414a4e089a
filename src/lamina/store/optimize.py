"""The optimizer: stores what is live anew, in larger frames and at a higher level, with like beside like (FORMAT.md).

It goes by the collector's rules and holds the collector's lock.  What the collector cannot do, it does on the way: dead chunks
in frames with live ones are left behind.  Every chunk is held against its id before it is compressed: damage stays where it
is, and is named.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina._native.blake3many import hash_many
from lamina.content.progress import Progress, Silent
from lamina.errors import StoreDamaged
from lamina.store import layout, room
from lamina.store.codec import Compression, decode
from lamina.store.copying import copy_live
from lamina.store.lease import Lease
from lamina.store.neighbours import Neighbours
from lamina.store.replacing import Manner, Marked, Replaced, Replacing, alone, delete_condemned
from lamina.store.schema import LIVE, PackRow
from lamina.store.sink import WORKERS, PackSink

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

LEVEL = 9  # FORMAT.md has the table: above it 1 % costs twice the time, up to 16
MEMORY = 300 << 20
BASE = 150 << 20  # of that: the interpreter and its libraries, the cache below, the plan of a sweep
CACHE = 48 << 20  # plain bytes of old frames at hand: one and a half of each layer that goes by, for 32 layers
ROUND_BYTES = 4 << 30  # plain, of what is rewritten before its originals go: half a minute on two cores, 1 GiB of room
FIRST_ROUND = 256 << 20  # with a budget: to see how fast it goes; and the least
ROUND_CHUNKS, SWEEP_CHUNKS = 1 << 20, 1 << 22  # 24 and 20 bytes each
DEAD = 0.05  # of its plain bytes: an optimized pack that has more is done again
KEPT_AS_THEY_ARE = (layout.META, layout.HEAD, layout.DOCUMENT)


@dataclass(slots=True)
class Optimized(Replaced):
    """What an optimization did.

    `before`, `after`: bytes of the packs in use; `dead`: plain bytes of chunks left behind; `packs`: how many were replaced,
    `left`: bytes of those that there was no time for.
    """

    before: int = 0
    after: int = 0
    dead: int = 0
    packs: int = 0
    left: int = 0
    seconds: float = 0.0


def optimize(store: BlobStore, level: int, budget: float | None, memory: int, progress: Progress | None) -> Optimized:
    """One run; `Conflict` if another one, or a collection, is running.  `budget` in seconds, `memory` in bytes."""
    started = time.monotonic()
    result = Optimized()
    with alone(store, "optimize") as lease:
        delete_condemned(store, result, lease)  # the room that they take is needed
        result.before = _in_use(store)
        rounds = _Clock(started, budget)
        _Optimization(store, lease, result, manner(level, memory), rounds, progress or Silent()).run()
        delete_condemned(store, result, lease)
        result.after = _in_use(store)
    result.seconds = time.monotonic() - started
    return result


def _in_use(store: BlobStore) -> int:
    return sum(pack.bytes for pack in store.catalog.packs(LIVE))


def manner(level: int, memory: int) -> Manner:
    """Frames of 4 MiB; of 8 from 512 MiB of memory on, of 15 from 1 GiB on.  As many threads as have room beside each other."""
    frame_bytes = next(size << 20 for least, size in ((1024, 15), (512, 8), (0, 4)) if memory >= least << 20)
    compression = Compression(level, frame_bytes)
    each = compression.memory + 3 * frame_bytes  # one being compressed, what becomes of it, one that waits
    workers = max(1, min(WORKERS, (memory - BASE) // each))
    return Manner(compression, workers, 2 * workers + 1, level)


class _Clock:
    """How much to take on next."""

    def __init__(self, started: float, budget: float | None) -> None:
        self._deadline = None if budget is None else started + budget
        self._bytes, self._seconds = 0, 0.0

    def next_round(self) -> int:
        """Plain bytes that there is time for; 0 when it is up."""
        if self._deadline is None:
            return ROUND_BYTES
        left = self._deadline - time.monotonic()
        if left <= 0:
            return 0
        return min(ROUND_BYTES, max(FIRST_ROUND, int(left * self._bytes / self._seconds) if self._seconds else 0))

    def took(self, count: int, seconds: float) -> None:
        """A round is done."""
        self._bytes, self._seconds = count, seconds


class _Spoiled(Exception):
    """A pack turned out to be damaged while it was read: the round is to be done without it."""

    def __init__(self, pack: int, problem: str) -> None:
        super().__init__(problem)
        self.pack = pack


@contextmanager
def _spoiling(pack: int) -> Iterator[None]:
    try:
        yield
    except StoreDamaged as error:
        raise _Spoiled(pack, str(error)) from error


class _Optimization(Replacing):
    """Choose packs, plan a sweep, rewrite it round by round."""

    def __init__(
        self, store: BlobStore, lease: Lease, result: Optimized, manner: Manner, clock: _Clock, progress: Progress
    ) -> None:
        super().__init__(store, lease, result)
        self._result, self._manner, self._clock, self._progress = result, manner, clock, progress
        self._plain: dict[int, tuple[int, int]] = {}  # of contents and segments, live and dead, by pack

    def run(self) -> None:
        """All that is worth it, or as much as there is time for."""
        marked = self._marked()
        if marked is None:
            return
        chosen = self._choose(marked)
        while chosen and self._clock.next_round():
            sweep = _up_to(chosen, lambda pack: pack.chunks, SWEEP_CHUNKS)
            neighbours = Neighbours(self._store, marked.marks, sweep)
            chosen = chosen[len(sweep) :]
            while sweep and (limit := self._clock.next_round()):
                group = self._group(sweep, limit)
                sweep = sweep[len(group) :]
                self._round(group, marked, neighbours)
                delete_condemned(self._store, self._result, self._lease)
            chosen = sweep + chosen
        self._result.left = sum(pack.bytes for pack in chosen)

    def _choose(self, marked: Marked) -> list[PackRow]:
        """Packs that were not written at this level or a higher one, and those with much that is dead.

        Those that only have journals or documents are left to the collector, which merges them.
        """
        levels = self._store.catalog.pack_levels()
        chosen = []
        for pack in marked.packs:
            try:
                footer = self._store.packs.footer(pack.number)
            except StoreDamaged as error:
                self._problems.append(str(error))
                continue
            kind = footer.records["type"][footer.places["record"]]
            lengths = footer.places["length"].astype(np.int64)
            ours, live = kind <= layout.SEGMENT, marked.marks.chunks(pack.number)
            alive, dead = int(lengths[ours & live].sum()), int(lengths[ours & ~live].sum())
            self._plain[pack.number] = alive, dead
            done = levels.get(pack.number) or (LEVEL if _looks_done(footer) else 0)
            if alive + dead and (done < self._manner.level or dead > DEAD * (alive + dead)):
                chosen.append(pack)
        return chosen

    def _group(self, sweep: list[PackRow], limit: int) -> list[PackRow]:
        """The packs of one round, within bounds of time, memory and disk; one at least.  `StorageError` without room for that.

        It takes half of what is live at the very least: of real images two thirds.
        """
        group = _up_to(sweep, lambda pack: self._plain[pack.number][0], limit)
        group = _up_to(group, lambda pack: pack.chunks, ROUND_CHUNKS)
        alive, dead = self._plain[group[0].number]
        least = group[0].bytes * alive // max(1, alive + dead) // 2
        room.require(self._store.backend, least, "optimize", self._store.path)
        return _up_to(group, lambda pack: pack.bytes, self._store.backend.free_space())

    def _round(self, group: list[PackRow], marked: Marked, neighbours: Neighbours) -> None:
        """Rewrite some packs, but for those that are damaged."""
        started = time.monotonic()
        sound = [pack for pack in group if self._sound(pack, marked)]
        key = group[0].name
        self._progress.start(key, f"{len(sound)} packs", sum(self._plain[pack.number][0] for pack in sound))
        while sound:
            try:
                self._replace(marked.at, self._manner, partial(self._fill, sound, marked, neighbours, key))
                break
            except _Spoiled as spoiled:
                self._problems.append(str(spoiled))
                sound = [pack for pack in sound if pack.number != spoiled.pack]
        count = sum(self._plain[pack.number][0] for pack in sound)
        self._clock.took(count, time.monotonic() - started)
        self._result.packs += len(sound)
        self._result.dead += sum(self._plain[pack.number][1] for pack in sound)
        self._progress.done(key, "optimized")

    def _sound(self, pack: PackRow, marked: Marked) -> bool:
        """Whether all live records match their checksums: 1 s a GB, against a round that is done again."""
        try:
            for record in np.flatnonzero(marked.marks.live_records(pack.number)):
                self._store.packs.stored(pack.number, int(record))
        except StoreDamaged as error:
            self._problems.append(str(error))
            return False
        return True

    def _fill(
        self, packs: list[PackRow], marked: Marked, neighbours: Neighbours, key: str, sink: PackSink
    ) -> list[PackRow]:
        """Write all that is live of these packs to the sink."""
        frames = _Frames(self._store)
        for number, record, ordinals in _runs(self._store, neighbours.order(packs)):
            kind, source, offsets, lengths, ids = frames.chunks(number, record, ordinals)
            sink.place(kind, source, offsets, lengths, np.arange(len(ordinals)), ids)
            self._progress.advance(key, int(lengths.sum()))
        for pack in packs:
            with _spoiling(pack.number):
                self._moves += copy_live(self._store.packs, sink, pack.number, marked.marks, lambda _: None, KEPT_AS_THEY_ARE)
        return packs


def _up_to(packs: list[PackRow], weight: Callable[[PackRow], int], limit: int) -> list[PackRow]:
    """As many from the beginning as do not weigh more than the limit; one at least."""
    total = 0
    for count, pack in enumerate(packs):
        total += weight(pack)
        if count and total > limit:
            return packs[:count]
    return packs


def _looks_done(footer: layout.Footer) -> bool:
    """Whether most of it lies in frames larger than a session's: it was the optimizer's, whose note is lost."""
    plain = footer.records["plain"][footer.records["type"] <= layout.SEGMENT].astype(np.int64)
    return 2 * int(plain[plain > layout.FRAME_BYTES].sum()) > int(plain.sum())


def _runs(store: BlobStore, order: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int, npt.NDArray[np.uint32]]]:
    """(pack, record, ordinals): chunks that follow each other in the order and lie in one frame."""
    records = np.empty(len(order), np.uint32)
    for number in np.unique(order[:, 0]):
        rows = order[:, 0] == number
        records[rows] = store.packs.footer(int(number)).places["record"][order[rows, 1]]
    change = np.flatnonzero((np.diff(order[:, 0]) != 0) | (np.diff(records) != 0)) + 1
    bounds = [0, *change.tolist(), len(order)] if len(order) else []
    for start, end in pairwise(bounds):
        yield int(order[start, 0]), int(records[start]), order[start:end, 1]


class _Frames:
    """Old frames, the last ones at hand."""

    def __init__(self, store: BlobStore) -> None:
        self._packs = store.packs
        self._recent: OrderedDict[tuple[int, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._size = 0

    def chunks(self, number: int, record: int, ordinals: npt.NDArray[np.uint32]) -> tuple[
        int, npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]
    ]:
        """(kind, plain bytes of the frame, offsets, lengths, ids) of chunks that prove to be what their ids say; `_Spoiled`."""
        footer = self._packs.footer(number)
        places, ids = footer.places[ordinals], footer.ids[ordinals]
        offsets, lengths = places["offset"].astype(np.int64), places["length"].astype(np.int64)
        with _spoiling(number):
            frame = self._frame(number, record)
            if not np.array_equal(hash_many(frame, offsets, lengths), ids):
                raise StoreDamaged(f"record {record} holds other chunks than its pack says", footer.where, "run lamina verify")
        return int(footer.records["type"][record]), frame, offsets, lengths, ids

    def _frame(self, number: int, record: int) -> npt.NDArray[np.uint8]:
        key = number, record
        found = self._recent.get(key)
        if found is not None:
            self._recent.move_to_end(key)
            return found
        row, stored = self._packs.stored(number, record)
        plain = decode(int(row["codec"]), stored, int(row["plain"]), self._packs.footer(number).where)
        found = self._recent[key] = np.frombuffer(plain, np.uint8)
        self._size += len(found)
        while self._size > CACHE and len(self._recent) > 1:
            self._size -= len(self._recent.popitem(last=False)[1])
        return found
