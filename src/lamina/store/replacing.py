"""Replacing packs by others: what the collector and the optimizer share (FORMAT.md, "Who may do what").

Mark what is live; write what is to stay into new packs; see that these can be read; publish them and condemn the old ones in
one transaction; delete files when no reader can be at them.  Only who holds `collect.lock` does this.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.errors import Conflict, LaminaError, NotFound, StoreDamaged
from lamina.storage import Backend
from lamina.storage.problems import storage_errors
from lamina.store import forks, layout
from lamina.store.codec import Compression
from lamina.store.copied import Copied
from lamina.store.copying import Moved
from lamina.store.duplicates import find_copies
from lamina.store.lease import Lease, dead_leases, oldest_start, reap
from lamina.store.marks import Marks
from lamina.store.packs import read_footer
from lamina.store.schema import CONDEMNED, LIVE, BlobRow, PackRow
from lamina.store.sink import FRAMES_IN_FLIGHT, ONE, WORKERS, PackSink, SealedPack

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex

CHECKPOINT_NAMES = 8192  # names of one journal record: at most 255 characters and a descriptor each, some 4 MB
LOCK = "collect.lock"


@dataclass(slots=True)
class Replaced:
    """What became of packs.  `pending`: bytes of condemned packs that an older reader still holds; `bytes_deleted`,
    `bytes_written`: of files that went, and of those that took their place."""

    packs_removed: int = 0
    pending: int = 0
    bytes_deleted: int = 0
    bytes_written: int = 0
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
    with storage_errors("open the collector's lock", store.state_dir / LOCK):
        fd = forks.open_lock(store.state_dir / LOCK)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(what, store.path, "wait for it to end") from None
        yield
    finally:
        forks.close_lock(fd)


@contextmanager
def alone(store: BlobStore, kind: str, result: Replaced | None = None, *, tidy: bool = True) -> Iterator[Lease]:
    """The lock, and a lease; with `tidy`, what dead ones left behind is cleared away.  `Conflict` if another one is at it.

    `result` is told of the bytes of packs that were left behind.
    """
    with locked(store):
        if not tidy:
            with Lease.acquire(store.catalog, store.state_dir, kind) as lease:
                yield lease
            return
        reap(store.catalog, store.state_dir, store.backend)
        store.catalog.tidy()
        with Lease.acquire(store.catalog, store.state_dir, kind) as lease:
            store.partials.tidy(lambda digest: store.catalog.blob(digest) is not None, time.time())
            dropped = drop_orphans(store, lease)
            if result is not None:
                result.bytes_deleted += dropped
            yield lease


def drop_orphans(store: BlobStore, own: Lease) -> int:
    """Delete packs that were sealed by a writer that died before it published them, or that a backup took out of the view.

    Their bytes.

    Only while no other writer is alive: a pack that is not in the catalog may be about to be.  The files are listed first,
    then the writers: who begins later has no file in the list, who ended has its packs in the catalog.  Who is taken for dead
    loses its lease first, so that it cannot publish what goes; and it is all done in transactions, which fail if another
    process has put a rebuilt catalog in place: that knows more packs.
    """
    files = list(store.backend.list("packs/"))
    dead = set(dead_leases(store.catalog, store.state_dir))
    if any(lease.kind != "read" and lease.id != own.id and lease.id not in dead for lease in store.catalog.leases()):
        return 0
    if oldest_start(store.catalog, store.state_dir) == 0:
        return 0  # somebody holds a lease whose row went with a lost catalog: it may be a writer
    orphans = [(name, size) for name, size in _unknown(store, files) if is_sealed(store.backend, name)]
    there = {name.rpartition("/")[2] for name, _ in files}
    if not orphans or any(pack.name not in there for pack in store.catalog.packs(LIVE)):
        return 0  # where a pack is missing the catalog may have it under another name
    with store.catalog.transaction() as tx:
        if lost := lost_commits(store, (name for name, _ in orphans)):
            raise StoreDamaged("the catalog has lost commits, whose packs are there", lost, "run lamina repair")
        for each in dead:
            tx.remove_lease(each)
    dropped = 0
    with store.catalog.transaction():
        partials = store.partials.named()
        for name, size in _unknown(store, orphans):
            pack = name.rpartition("/")[2]
            if pack in partials:  # among the temporaries a rebuild of the catalog does not look
                store.backend.withdraw(name, partials[pack])
            else:
                store.backend.delete(name)
                dropped += size
    return dropped


def _unknown(store: BlobStore, files: list[tuple[str, int]]) -> list[tuple[str, int]]:
    known = {pack.name for pack in store.catalog.packs()}
    return [(name, size) for name, size in files if name.rpartition("/")[2] not in known]


def lost_commits(store: BlobStore, unknown: Iterable[str]) -> str:
    """Of packs that the catalog does not know one whose journal has a number that was never drawn; '' if there is none.

    Numbers are drawn before a journal is written: so commits were lost, with SQLite's log.  (Once others have drawn as many it
    looks like a dead writer's.)  Not so of a backup that did not end: what it has brought is of a later view.
    """
    brought = Copied.read(store.state_dir).packs
    for name in unknown:
        if name.rpartition("/")[2] in brought:
            continue
        with suppress(LaminaError), store.backend.open(name) as handle:
            keys = [key for _, key in read_footer(handle).key_rows()]
            if any(isinstance(key.get("seq"), int) and key["seq"] > store.catalog.sequence() for key in keys):
                return name
    return ""


def is_sealed(backend: Backend, name: str) -> bool:
    """Whether a pack has its footer; one without it was damaged since, and a rebuilt catalog does not know it: for `repair`."""
    try:
        with backend.open(name) as handle:
            read_footer(handle)
    except NotFound:
        return True  # it has gone meanwhile
    except LaminaError:
        return False
    return True


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
        with store.catalog.transaction() as tx:  # which fails if a rebuilt catalog is in place: there it may be in use again
            store.drop_pack_file(pack.number, pack.name)
            tx.remove_packs([pack.number])
        result.packs_removed += 1
        result.bytes_deleted += pack.bytes


def mark(
    store: BlobStore, index: ChunkIndex, rows: Iterable[BlobRow], packs: list[PackRow], problems: list[str]
) -> Marks | None:
    """What these blobs need, settled; None if one is damaged: what it needs is not known, so nothing may go."""

    def is_sound(pack: int, record: int) -> bool:
        try:
            store.packs.stored(pack, record)
        except StoreDamaged as error:
            problems.append(str(error))
            return False
        return True

    marks, told = Marks(store), len(problems)
    for row in rows:
        try:
            marks.add(index, row)
        except (StoreDamaged, NotFound) as error:
            problems.append(f"blob {row.digest} is damaged ({error}): what it needs is not known, and nothing is freed; "
                            "run lamina repair, or remove the images that have it (lamina verify names them)")
    if len(problems) > told:
        return None
    return marks.settled(find_copies(store, index, (pack.number for pack in packs)), is_sound)


class Replacing:
    """Mark, write anew, condemn.  `replaced` is told of what is damaged, and of the bytes that are written."""

    def __init__(self, store: BlobStore, lease: Lease, replaced: Replaced) -> None:
        self._store, self._lease, self._replaced, self._problems = store, lease, replaced, replaced.problems
        self._sealed: list[SealedPack] = []
        self._moves: list[Moved] = []  # heads and documents that have been written anew

    def _marked(self) -> Marked | None:
        """Forget blobs that nothing leads to, and mark those that remain; None if one is damaged."""
        catalog = self._store.catalog
        with catalog.transaction() as tx:
            tx.expire_links(int(time.time()))
            tx.remove_blobs(tx.unreachable())
            marked_at = tx.seq
            rows, packs = list(catalog.blobs()), catalog.packs(LIVE)
        index = self._store.new_index()  # after the rows: it knows the packs of them all
        try:
            marks = mark(self._store, index, rows, packs, self._problems)
            return None if marks is None else Marked(marked_at, packs, marks)
        finally:
            index.close()

    def _replace(self, marked_at: int, manner: Manner, fill: Callable[[PackSink], Iterable[PackRow]]) -> set[int]:
        """`fill` writes what is live of some packs and says which are done with; the numbers of those that are condemned."""
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
            gone = self._condemn(done, marked_at, manner.level)
        except BaseException:
            sink.close()
            self._store.drop_unpublished((sealed.number, sealed.name.hex()) for sealed in self._sealed)
            raise
        sink.close()
        self._replaced.bytes_written += sum(sealed.bytes for sealed in self._sealed)
        return gone

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
        names = [{"name": ref.name, "digest": ref.digest, "media_type": ref.media_type, "size": ref.size, "time": ref.time,
                  **({"pinned": True} if ref.pinned else {})} for ref in refs]
        parts = max(1, -(-len(names) // CHECKPOINT_NAMES))
        for part in range(parts):
            some = names[part * CHECKPOINT_NAMES : (part + 1) * CHECKPOINT_NAMES]
            value = {"seq": seq, "checkpoint": True, "part": part, "parts": parts, "set": some}
            sink.record(layout.JOURNAL, json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), {"seq": seq})

    def _condemn(self, doomed: list[PackRow], marked_at: int, level: int) -> set[int]:
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
            tx.follow_blobs(self._moves, {pack.number for pack in doomed})
            tx.condemn_packs(gone)
        return gone
