"""The collector: the one who deletes (FORMAT.md, "Who may do what").  Readers and writers go on beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lamina.content.progress import Progress, Silent
from lamina.errors import StorageError, StoreDamaged
from lamina.store import room
from lamina.store.choosing import SMALL, Unused, choose, copied_bytes
from lamina.store.copying import copy_live
from lamina.store.lease import Lease
from lamina.store.marks import Marks
from lamina.store.replacing import Manner, Replaced, Replacing, alone, delete_condemned, mark
from lamina.store.schema import LIVE, PackRow
from lamina.store.sink import PackSink

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

ROUND_BYTES = 256 << 20  # of packs that are copied before their originals go: the room that a collection needs


@dataclass(slots=True)
class Collected(Replaced):
    """What a collection did, or would do.

    `unused_freed`: stored bytes, with their headers, of frames, heads and documents that nothing refers to, in packs that are
    in use no more; what `Reclaimable.frame_bytes` foretells.  `bytes_freed`: by how much the files have shrunk, which differs
    by headers, footers and journals, and by what is `pending`; of a dry run 0.
    """

    bytes_freed: int = 0
    bytes_copied: int = 0
    unused_freed: int = 0


def collect(store: BlobStore, unused: Unused, progress: Progress | None, first: Callable[[], None] | None = None) -> Collected:
    """One collection; `Conflict` if another one is running.

    `first` is called before anything is marked, when it is sure that no other one is in the way.
    """
    result = Collected()
    with alone(store, "collect", result) as lease:
        if first is not None:
            first()
        _Collection(store, lease, result, progress or Silent()).run(unused)
        delete_condemned(store, result, lease)
        with suppress(StorageError):  # it is still full
            store.backend.hold_reserve()
    result.bytes_freed = max(0, result.bytes_deleted - result.bytes_written)
    return result


def foresee(store: BlobStore, unused: Unused) -> Collected:
    """What a collection would do now; nothing is changed."""
    result = Collected()
    with store.reading() as reading:
        dropped = store.catalog.unreachable()
        rows, packs = [row for row in store.catalog.blobs() if row.digest not in dropped], store.catalog.packs(LIVE)
        marks = mark(store, reading.index, rows, packs, result.problems)
        if marks is not None:
            chosen = choose(store, packs, marks, unused, result.problems)
            result.packs_removed = len(chosen)
            result.bytes_copied = copied_bytes(store, chosen, marks)
            result.unused_freed = sum(marks.dead_bytes(pack.number) for pack in chosen)
    return result


def _rounds(packs: list[PackRow], marks: Marks) -> Iterator[list[PackRow]]:
    """Packs that need no copying at once, the others by `ROUND_BYTES`.

    Each round leaves a small pack with a checkpoint, so small ones go with the others.
    """
    copied = [pack for pack in packs if pack.bytes < SMALL or marks.live_records(pack.number).any()]
    numbers = {pack.number for pack in copied}
    if dead := [pack for pack in packs if pack.number not in numbers]:
        yield dead
    while copied:
        group, size = [copied[0]], copied[0].bytes
        while len(group) < len(copied) and size + copied[len(group)].bytes <= ROUND_BYTES:
            size += copied[len(group)].bytes
            group.append(copied[len(group)])
        yield group
        copied = copied[len(group) :]


class _Collection(Replacing):
    """Mark, copy, condemn."""

    def __init__(self, store: BlobStore, lease: Lease, result: Collected, progress: Progress) -> None:
        super().__init__(store, lease, result)
        self._result, self._progress = result, progress

    def run(self, unused: Unused) -> None:
        """Rounds: packs without anything live first, which need no room; then a few at a time, deleted before the next.

        `StorageError` when there is no room for another one; what the ones before freed stays free.
        """
        marked = self._marked()
        if marked is None:
            return
        for chosen in _rounds(self._choose(marked.packs, marked.marks, unused), marked.marks):
            group = chosen
            while group:
                some = room.as_many(self._store.backend, group, partial(self._live, marked.marks), "collect", self._store.path)
                self._round(some, marked.marks, marked.at)
                delete_condemned(self._store, self._result, self._lease)
                group = group[len(some) :]

    def _live(self, marks: Marks, pack: PackRow) -> int:
        """Stored bytes of what is to be copied of a pack."""
        return copied_bytes(self._store, [pack], marks)

    def _round(self, group: list[PackRow], marks: Marks, marked_at: int) -> None:
        """Copy some packs, check and publish the copies, and condemn the originals."""
        gone = self._replace(marked_at, Manner(), lambda sink: [pack for pack in group if self._copy(sink, pack, marks)])
        self._result.unused_freed += sum(marks.dead_bytes(pack.number) for pack in group if pack.number in gone)

    def _choose(self, packs: list[PackRow], marks: Marks, unused: Unused) -> list[PackRow]:
        """Packs to rewrite or drop.  A pack's journal is live until a checkpoint replaces it, at the price of a rewrite."""
        return choose(self._store, packs, marks, unused, self._problems)

    def _copy(self, sink: PackSink, pack: PackRow, marks: Marks) -> bool:
        """Copy what is live of a pack, frames as they are; False if it is damaged, and so has to stay."""
        self._progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)

        def watch(count: int) -> None:
            self._result.bytes_copied += count
            self._progress.advance(pack.name, count)

        try:
            self._moves += copy_live(self._store.packs, sink, pack.number, marks, watch)
        except StoreDamaged as error:
            self._problems.append(str(error))
            return False
        self._progress.done(pack.name, "copied")
        return True
