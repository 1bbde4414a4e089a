"""Replacing packs by others: what the collector and the optimizer share (FORMAT.md, "Who may do what").

Mark what is live; write what is to stay into new packs; see that these can be read; publish them and condemn the old ones in
one transaction; delete files when no reader can be at them.  Only who holds `collect.lock` does this.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.errors import Conflict, NotFound, StoreDamaged
from lamina.store import layout
from lamina.store.codec import Compression
from lamina.store.copying import Moved
from lamina.store.lease import Lease, dead_leases, oldest_start, reap
from lamina.store.marks import Marks
from lamina.store.schema import CONDEMNED, LIVE, BlobRow, PackRow
from lamina.store.sink import FRAMES_IN_FLIGHT, ONE, WORKERS, PackSink, SealedPack

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex

CHECKPOINT_NAMES = 8192  # names of one journal record: at most 255 characters and a descriptor each, some 4 MB
LOCK = "collect.lock"


@dataclass(slots=True)
class Replaced:
    """What became of packs.  `pending`: bytes of condemned packs that an older reader still holds."""

    packs_removed: int = 0
    pending: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Marked:
    """The packs that are live at sequence number `at`, and which of their chunks and records are in use."""

    at: int
    packs: list[PackRow]
    marks: Marks


@dataclass(frozen=True, slots=True)
class Manner:
    """How new packs are written.  `level` is noted of them, if they are the optimizer's."""

    compression: Compression = ONE
    workers: int = WORKERS
    in_flight: int = FRAMES_IN_FLIGHT
    level: int = 0


@contextmanager
def locked(store: BlobStore, what: str = "another collection or optimization is running") -> Iterator[None]:
    """Keep collectors, optimizers and backups into the store away; `Conflict` (`what`) if one is at it."""
    fd = os.open(store.state_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(what, store.path, "wait for it to end") from None
        yield
    finally:
        os.close(fd)


@contextmanager
def alone(store: BlobStore, kind: str) -> Iterator[Lease]:
    """The lock, and a lease; what dead ones left behind is cleared away.  `Conflict` if another one is at it."""
    with locked(store):
        reap(store.catalog, store.state_dir, store.backend)
        with Lease.acquire(store.catalog, store.state_dir, kind) as lease:
            store.partials.tidy(lambda digest: store.catalog.blob(digest) is not None, time.time())
            drop_orphans(store, lease)
            yield lease


def drop_orphans(store: BlobStore, own: Lease) -> None:
    """Delete packs that were sealed by a writer that died before it published them, or that a backup took out of the view.

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
    partials = store.partials.named()
    for name in files:
        pack = name.rpartition("/")[2]
        if pack in known:
            continue
        if pack in partials:  # among the temporaries a rebuild of the catalog does not look
            store.backend.withdraw(name, partials[pack])
        else:
            store.backend.delete(name)


def _oldest_reader(store: BlobStore, own: Lease | None) -> int | None:
    """As `oldest_start`, but for the collector itself: it reads no condemned pack."""
    oldest = oldest_start(store.catalog, store.state_dir)
    if own is None or oldest in (None, 0):
        return oldest
    return min((lease.start for lease in store.catalog.leases() if lease.id != own.id), default=None)


def delete_condemned(store: BlobStore, result: Replaced, own: Lease | None = None) -> None:
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


class Replacing:
    """Mark, write anew, condemn.  `problems` are told of what is damaged."""

    def __init__(self, store: BlobStore, lease: Lease, problems: list[str]) -> None:
        self._store, self._lease, self._problems = store, lease, problems
        self._sealed: list[SealedPack] = []
        self._moves: list[Moved] = []  # heads and documents that have been written anew

    def _marked(self) -> Marked | None:
        """Forget blobs that nothing leads to, and mark those that remain; None if one is damaged.

        What a damaged one needs is not known, so nothing may go.
        """
        catalog = self._store.catalog
        with catalog.transaction() as tx:
            tx.remove_blobs(tx.unreachable())
            marked_at = tx.seq
            rows, packs = list(catalog.blobs()), catalog.packs(LIVE)
        index = self._store.new_index()  # after the rows: it knows the packs of them all
        try:
            marks = Marks(self._store)
            sound = [self._mark(marks, index, row) for row in rows]
            return Marked(marked_at, packs, marks) if all(sound) else None
        finally:
            index.close()

    def _mark(self, marks: Marks, index: ChunkIndex, row: BlobRow) -> bool:
        try:
            marks.add(index, row)
        except (StoreDamaged, NotFound) as error:
            self._problems.append(f"blob {row.digest} is damaged ({error}): nothing is freed until the images that "
                                  "have it are removed (lamina verify names them)")
            return False
        return True

    def _replace(self, marked_at: int, manner: Manner, fill: Callable[[PackSink], Iterable[PackRow]]) -> None:
        """`fill` writes what is live of some packs and says which are done with; these are condemned."""
        self._sealed, self._moves = [], []
        sink = PackSink(
            self._store.backend, self._lease.id, manner.compression, self._new_pack, lambda *_: None, self._sealed.append,
            frame_bytes=manner.compression.frame_bytes, workers=manner.workers, in_flight=manner.in_flight,
        )
        try:
            done = list(fill(sink))
            self._checkpoint(sink)
            sink.seal()
            for sealed in self._sealed:
                self._store.packs.footer(sealed.number)  # no original goes for a copy that cannot be read
            self._condemn(done, marked_at, manner.level)
        except BaseException:
            sink.close()
            self._store.drop_unpublished((sealed.number, sealed.name.hex()) for sealed in self._sealed)
            raise
        sink.close()

    def _new_pack(self, name: bytes) -> int:
        number = self._store.catalog.reserve_pack_number()
        self._store.pack_names[number] = name.hex()
        return number

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

    def _condemn(self, doomed: list[PackRow], marked_at: int, level: int) -> None:
        """Publish the copies and condemn the originals, but for those that a commit has relied on since the marking."""
        catalog = self._store.catalog
        with catalog.transaction() as tx:
            tx.check_lease(self._lease.id)
            now = {pack.number: pack for pack in catalog.packs(LIVE)}
            gone = {pack.number for pack in doomed if pack.number in now and now[pack.number].changed <= marked_at}
            for sealed in self._sealed:
                tx.add_pack(sealed.number, sealed.name.hex(), sealed.bytes, sealed.chunks)
                if level:
                    tx.note_level(sealed.number, level)
            tx.move_blobs(self._moves)
            tx.condemn_packs(gone)
