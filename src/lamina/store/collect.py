"""The collector: the one who deletes (FORMAT.md, "Who may do what").  Readers and writers go on beside it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lamina.content.progress import Progress, Silent
from lamina.errors import Conflict, NotFound, StoreDamaged
from lamina.store import layout
from lamina.store.codec import Compression
from lamina.store.copying import Moved, copy_live
from lamina.store.lease import Lease, dead_leases, oldest_start, reap
from lamina.store.marks import Marks
from lamina.store.schema import CONDEMNED, LIVE, BlobRow, PackRow
from lamina.store.sink import PackSink, SealedPack

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex

SMALL = 4 << 20  # packs below this are merged ...
SMALL_PACKS = 16  # ... when there are this many
ROUND_BYTES = 256 << 20  # of packs that are copied before their originals go: the room that a collection needs
CHECKPOINT_NAMES = 8192  # names of one journal record: at most 255 characters and a descriptor each, some 4 MB


@dataclass(slots=True)
class Collected:
    """What a collection did.  `pending`: bytes of condemned packs that an older reader still holds."""

    packs_removed: int = 0
    bytes_freed: int = 0
    bytes_copied: int = 0
    pending: int = 0
    problems: list[str] = field(default_factory=list)


def collect(store: BlobStore, max_unused: float, progress: Progress | None) -> Collected:
    """One collection; `Conflict` if another one is running."""
    with _alone(store):
        reap(store.catalog, store.state_dir, store.backend)
        before = sum(size for _, size in store.backend.list("packs/"))
        result = Collected()
        with Lease.acquire(store.catalog, store.state_dir, "collect") as lease:
            _drop_orphans(store, lease)
            _Collection(store, lease, result, progress or Silent()).run(max_unused)
        _delete_condemned(store, result)
        after = sum(size for _, size in store.backend.list("packs/"))
        result.bytes_freed = max(0, before - after)
        return result


@contextmanager
def _alone(store: BlobStore) -> Iterator[None]:
    fd = os.open(store.state_dir / "collect.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another collection is running", store.path, "wait for it to end") from None
        yield
    finally:
        os.close(fd)


def _drop_orphans(store: BlobStore, own: Lease) -> None:
    """Delete packs that were sealed by a writer that died before it published them.

    Only while no other writer is alive: a pack that is not in the catalog may be about to be.  The files are listed first,
    then the writers: who begins later has no file in the list, who ended has its packs in the catalog.
    """
    files = [name for name, _ in store.backend.list("packs/")]
    dead = set(dead_leases(store.catalog, store.state_dir))
    if any(lease.kind != "read" and lease.id != own.id and lease.id not in dead for lease in store.catalog.leases()):
        return
    if oldest_start(store.catalog, store.state_dir) == 0:
        return  # somebody holds a lease whose row went with a lost catalog: it may be a writer
    known = {pack.name for pack in store.catalog.packs()}
    for name in files:
        if name.rpartition("/")[2] not in known:
            store.backend.delete(name)


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


def _oldest_reader(store: BlobStore, own: Lease | None) -> int | None:
    """As `oldest_start`, but for the collector itself: it reads no condemned pack."""
    oldest = oldest_start(store.catalog, store.state_dir)
    if own is None or oldest in (None, 0):
        return oldest
    return min((lease.start for lease in store.catalog.leases() if lease.id != own.id), default=None)


def _delete_condemned(store: BlobStore, result: Collected, own: Lease | None = None) -> None:
    """Delete the files of condemned packs that no reader can be at any more, then their rows."""
    oldest = _oldest_reader(store, own)
    result.pending = 0
    for pack in store.catalog.packs(CONDEMNED):
        if oldest is not None and oldest <= pack.changed:
            result.pending += pack.bytes
            continue
        store.drop_pack_file(pack.number, pack.name)
        with store.catalog.transaction() as tx:
            tx.remove_packs([pack.number])
        result.packs_removed += 1


class _Collection:
    """Mark, copy, condemn."""

    def __init__(self, store: BlobStore, lease: Lease, result: Collected, progress: Progress) -> None:
        self._store, self._lease, self._result, self._progress = store, lease, result, progress
        self._sealed: list[SealedPack] = []
        self._moves: list[Moved] = []

    def run(self, max_unused: float) -> None:
        """Rounds: packs without anything live first, which need no room; then a few at a time, deleted before the next."""
        catalog = self._store.catalog
        with catalog.transaction() as tx:
            tx.remove_blobs(tx.unreachable())
            marked_at = tx.seq
            rows, packs = list(catalog.blobs()), catalog.packs(LIVE)
        index = self._store.new_index()  # after the rows: it knows the packs of them all
        try:
            marks = Marks(self._store)
            if not self._mark(marks, index, rows):
                return
            for group in _rounds(self._choose(packs, marks, max_unused), marks):
                self._round(group, marks, marked_at)
                _delete_condemned(self._store, self._result, self._lease)
        finally:
            index.close()

    def _mark(self, marks: Marks, index: ChunkIndex, rows: list[BlobRow]) -> bool:
        """Mark all blobs; False if one is damaged: what it needs is not known, so nothing may go."""
        for row in rows:
            try:
                marks.add(index, row)
            except (StoreDamaged, NotFound) as error:
                self._result.problems.append(f"blob {row.digest} is damaged ({error}): nothing is freed until the images that "
                                             "have it are removed (lamina verify names them)")
        return not self._result.problems

    def _round(self, group: list[PackRow], marks: Marks, marked_at: int) -> None:
        """Copy some packs, check and publish the copies, and condemn the originals."""
        self._sealed, self._moves = [], []
        sink = PackSink(
            self._store.backend, self._lease.id, Compression(1), self._new_pack, lambda *_: None, self._sealed.append
        )
        try:
            done = [pack for pack in group if self._copy(sink, pack, marks)]
            self._checkpoint(sink)
            sink.seal()
            for sealed in self._sealed:
                self._store.packs.footer(sealed.number)  # no original goes for a copy that cannot be read
            self._condemn(done, marked_at)
        except BaseException:
            sink.close()
            self._store.drop_unpublished((sealed.number, sealed.name.hex()) for sealed in self._sealed)
            raise
        sink.close()

    def _new_pack(self, name: bytes) -> int:
        number = self._store.catalog.reserve_pack_number()
        self._store.pack_names[number] = name.hex()
        return number

    def _choose(self, packs: list[PackRow], marks: Marks, max_unused: float) -> list[PackRow]:
        """Packs to rewrite or drop.  A pack's journal is live until a checkpoint replaces it, at the price of a rewrite."""
        doomed, small = [], []
        for pack in packs:
            try:
                footer = self._store.packs.footer(pack.number)
            except StoreDamaged as error:
                self._result.problems.append(str(error))  # verify names what it costs; the collector lets it be
                continue
            live = marks.live_records(pack.number) | (footer.records["type"] == layout.JOURNAL)
            dead = int(footer.records["stored"][~live].sum(dtype=np.int64))
            if dead and dead > max_unused * pack.bytes:
                doomed.append(pack)
            elif pack.bytes < SMALL:
                small.append(pack)
        return doomed + (small if len(small) >= SMALL_PACKS else [])

    def _copy(self, sink: PackSink, pack: PackRow, marks: Marks) -> bool:
        """Copy what is live of a pack, frames as they are; False if it is damaged, and so has to stay."""
        self._progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)

        def watch(count: int) -> None:
            self._result.bytes_copied += count
            self._progress.advance(pack.name, count)

        try:
            self._moves += copy_live(self._store.packs, sink, pack.number, marks, watch)
        except StoreDamaged as error:
            self._result.problems.append(str(error))
            return False
        self._progress.done(pack.name, "copied")
        return True

    def _checkpoint(self, sink: PackSink) -> None:
        """A journal that names every name, so that the journals of the doomed packs may go."""
        catalog = self._store.catalog
        with catalog.transaction() as tx:
            seq = tx.next_seq()
            refs = catalog.refs()
            tx.set_checkpoint(seq)
        names = [{"name": ref.name, "digest": ref.digest, "media_type": ref.media_type, "size": ref.size, "time": ref.time}
                 for ref in refs]
        parts = max(1, -(-len(names) // CHECKPOINT_NAMES))
        for part in range(parts):
            some = names[part * CHECKPOINT_NAMES : (part + 1) * CHECKPOINT_NAMES]
            value = {"seq": seq, "checkpoint": True, "part": part, "parts": parts, "set": some}
            sink.record(layout.JOURNAL, json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), {"seq": seq})

    def _condemn(self, doomed: list[PackRow], marked_at: int) -> None:
        """Publish the copies and condemn the originals, but for those that a commit has relied on since the marking."""
        catalog = self._store.catalog
        with catalog.transaction() as tx:
            tx.check_lease(self._lease.id)
            now = {pack.number: pack for pack in catalog.packs(LIVE)}
            gone = {pack.number for pack in doomed if pack.number in now and now[pack.number].changed <= marked_at}
            for sealed in self._sealed:
                tx.add_pack(sealed.number, sealed.name.hex(), sealed.bytes, sealed.chunks)
            tx.move_blobs(self._moves)
            tx.condemn_packs(gone)
