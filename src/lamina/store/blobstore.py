"""The open store.  What numpy and zstd are needed for is imported when it is asked for: listing images does without."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lamina.content.referrers import Subjects, is_document
from lamina.content.verify import BytesReader, VerifyingReader, read_all
from lamina.digest import Digest
from lamina.errors import LeaseLost, NotFound, StorageError, StoreDamaged
from lamina.jsonlimits import MAX_BYTES
from lamina.oci import Descriptor
from lamina.storage.local import VERSION, LocalBackend
from lamina.storage.problems import storage_errors
from lamina.store.catalog import Catalog
from lamina.store.lease import Lease, reap
from lamina.store.peek import CATALOG
from lamina.store.schema import LIVE, BlobRow

if TYPE_CHECKING:
    from lamina._native.tarscan import EntryColumns
    from lamina.content import Reader
    from lamina.content.progress import Progress, StageSink
    from lamina.store.assemble import Place
    from lamina.store.backup import BackedUp
    from lamina.store.budget import Shrinking
    from lamina.store.collect import Collected
    from lamina.store.index import ChunkIndex
    from lamina.store.optimize import Optimized
    from lamina.store.packs import ChunkReader, Packs
    from lamina.store.partials import Partials
    from lamina.store.receiving import Receiving
    from lamina.store.recipe import Head
    from lamina.store.repair import Mended
    from lamina.store.session import Session
    from lamina.store.tuning import Tuning
    from lamina.store.uploads import UploadJournal
    from lamina.store.usage import Reclaimable, Usage
    from lamina.store.verify import Verified
    from lamina.store.verifylog import Scope


class BlobStore:
    """A store that is open; a context manager that closes it.  Usable from several threads."""

    def __init__(self, path: Path, backend: LocalBackend, catalog: Catalog, state_dir: Path, version: int = VERSION) -> None:
        self.version = version  # of the format
        self.path, self.backend, self.catalog, self.state_dir = path, backend, catalog, state_dir
        self.pack_names: dict[int, str] = {}  # of sessions of this process, before the catalog knows them
        self.notes: list[str] = []  # what had to be mended to open it
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, create: bool = True, timeout: float = 30.0) -> Self:
        """Open the store in that directory, made if it is missing (`NotFound` without `create`).

        A catalog that is lost or damaged is rebuilt from the packs, a lost format file is written anew; `notes` says so.
        `StoreTooNew`, `StoreError`, `StoreLocked`.
        """
        backend = LocalBackend(path)
        notes = []
        if create:
            try:
                backend.read_format()
            except NotFound:
                if _is_filled(backend):
                    notes.append("the format file of the store was missing: a new one was written, and the store has a new id")
            backend.initialise()
        version = backend.read_format().version
        state_dir = backend.state_dir()
        backend.ease()
        catalog_path = path / CATALOG
        try:
            catalog = Catalog.open(catalog_path, timeout)
        except StoreDamaged as error:
            from lamina.store.rebuild import rebuild

            catalog = rebuild(backend, catalog_path, timeout)
            if _is_filled(backend):
                notes.append(f"{error.what}: it was made anew from the packs, 'lamina repair' says whether all is there")
        store = cls(path, backend, catalog, state_dir, version)
        store.notes = notes
        return store

    def close(self) -> None:
        """Let go of all files."""
        if "packs" in self.__dict__:
            self.packs.close()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- sessions

    def session(self, *, compression: str = "zstd:1", progress: Progress | None = None, verify: bool = False,
                lenient: bool = False, apart: bool = False, tuning: Tuning | None = None) -> Session:
        """A writer's session (see there); what dead ones left behind is cleared away first."""
        from lamina.store.codec import Compression
        from lamina.store.session import Session

        parsed = Compression.parse(compression)
        reap(self.catalog, self.state_dir, self.backend)
        return Session(self, parsed, progress, verify=verify, lenient=lenient, apart=apart, tuning=tuning)

    def reading(self, stages: StageSink | None = None) -> Reading:
        """A reader's session: what is there now stays until it ends.  `stages` is told where the time of its blobs goes."""
        return Reading(self, stages)

    # -- what the catalog knows

    def resolve(self, reference: str) -> Descriptor:
        """What a full name or a digest leads to; `NotFound`."""
        ref = self.catalog.ref(reference)
        if ref is not None:
            return Descriptor(ref.media_type, Digest(ref.digest), ref.size)
        row = self.catalog.blob(reference) if ":" in reference and "/" not in reference else None
        if row is None:
            raise NotFound("no such tag or digest", reference)
        return Descriptor(row.media_type, Digest(row.digest), row.size)

    def references(self) -> Iterator[tuple[str, Descriptor]]:
        """All names, roots without a name (`@digest`) too."""
        for ref in self.catalog.refs():
            yield ref.name, Descriptor(ref.media_type, Digest(ref.digest), ref.size)

    def document(self, digest: str) -> bytes:
        """A manifest, index or config, verified; `NotFound`, `StoreDamaged`."""
        row = self.catalog.blob(digest)
        if row is None:
            raise NotFound("no such manifest or config", digest)
        if row.text is not None and Digest.of(row.text.encode(), Digest(row.digest).algorithm) == row.digest:
            return row.text.encode()
        with self.reading() as reading:  # not UTF-8, altered in the catalog, or taken for a layer when it came
            return read_all(reading.fetch(Descriptor(row.media_type, Digest(row.digest), row.size)), MAX_BYTES)

    def link(self, repository: str, digest: str) -> bool:
        """Let a repository of a registry have a blob that is there; False if it is not."""
        with self.catalog.transaction() as tx:
            row = self.catalog.blob(digest)
            if row is None:
                return False
            tx.link([(repository, row.digest)], int(time.time()))
        return True

    def referrer_rows(self, digest: str) -> list[BlobRow]:
        """The manifests and indexes that may have this digest as their subject: those that hang on it."""
        rows = map(self.catalog.blob, self.catalog.children(digest))
        return [row for row in rows if row is not None and is_document(row.media_type)]

    # -- blobs

    @cached_property
    def partials(self) -> Partials:
        """What is kept of downloads that were interrupted."""
        from lamina.store.partials import Partials

        return Partials(self.state_dir, self.backend)

    @cached_property
    def uploads(self) -> UploadJournal:
        """Where uploads to registries are that may have been interrupted."""
        from lamina.store.uploads import UploadJournal

        return UploadJournal(self.state_dir / "uploads")

    @cached_property
    def receiving(self) -> Receiving:
        """What has arrived of uploads to a registry of ours."""
        from lamina.store.receiving import Receiving

        return Receiving(self.state_dir)

    @cached_property
    def packs(self) -> Packs:
        """The packs, by their numbers."""
        from lamina.store.packs import Packs

        return Packs(self.backend, self._pack_name)

    def fresh_packs(self) -> Packs:
        """The packs, nothing of which has been read yet; the caller closes them."""
        from lamina.store.packs import Packs

        return Packs(self.backend, self._pack_name)

    def _pack_name(self, number: int) -> str:
        name = self.pack_names.get(number)
        if name is None:
            row = self.catalog.pack(number)
            if row is None:
                raise StoreDamaged(f"the catalog knows no pack {number}", self.path, "run lamina verify")
            name = self.pack_names[number] = row.name
        return name

    def new_index(self, *, empty: bool = False) -> ChunkIndex:
        """The chunk index as it is now.  Each session has one of its own: it must not know another's unpublished chunks.

        One that is `empty` knows what its session tells it, until it is refreshed.
        """
        from lamina.store.index import ChunkIndex

        folder = self.state_dir / "index"
        with storage_errors("open the chunk index", folder):
            index = ChunkIndex(folder, self.packs.ids)
        if not empty:
            self.refresh(index)
        return index

    def refresh(self, index: ChunkIndex) -> None:
        """Tell an index which packs are live."""
        from lamina.store.index import LivePack

        live = self.catalog.packs(LIVE)
        index.refresh({bytes.fromhex(pack.name): LivePack(pack.number, pack.chunks) for pack in live})

    def chunks(self, index: ChunkIndex) -> ChunkReader:
        """Chunks by id, through this index."""
        from lamina.store.packs import ChunkReader

        return ChunkReader(self.packs, index)

    def head_of_row(self, row: BlobRow) -> Head:
        """The head of a blob."""
        from lamina.store.recipe import Head

        return Head.decode(self.packs.record(row.pack, row.record), row.digest)

    def reader_of_row(
        self, row: BlobRow, index: ChunkIndex, descriptor: Descriptor | None = None, stages: StageSink | None = None
    ) -> Reader:
        """The bytes of a blob or document; with a descriptor, verified as they are read."""
        if row.kind == "document":
            return _verified(BytesReader(self._document_of_row(row)), descriptor)
        from lamina.store.assemble import WINDOW, BlobReader, ReadAhead

        blob = BlobReader(self.head_of_row(row), self.chunks(index), self.packs, stages)
        return ReadAhead(blob, descriptor, stages) if blob.size > WINDOW else _verified(blob, descriptor)

    def part_of_row(self, row: BlobRow, index: ChunkIndex, start: int, stop: int, stages: StageSink | None = None) -> Reader:
        """The bytes of a blob from `start` to `stop` (not included)."""
        from lamina.store.assemble import WINDOW, BlobReader, ReadAhead

        blob = BlobReader(self.head_of_row(row), self.chunks(index), self.packs, stages)
        blob.narrow(start, stop)
        return ReadAhead(blob, None, stages) if blob.size > WINDOW else blob

    def places_of_row(self, row: BlobRow, index: ChunkIndex, most: int) -> list[Place] | None:
        """Where a blob lies as it is, in at most so many pieces; None if it does not."""
        from lamina.store.assemble import BlobReader

        if row.kind == "document":
            return None
        return BlobReader(self.head_of_row(row), self.chunks(index), self.packs).places(most)

    def _document_of_row(self, row: BlobRow) -> bytes | memoryview:
        """A document from its pack, or if that is damaged the catalog's text of it; `StoreDamaged`."""
        try:
            return self.packs.record(row.pack, row.record)
        except (StoreDamaged, StorageError):
            text = self.catalog.document(row.digest)
            if text is None or Digest.of(text.encode(), Digest(row.digest).algorithm) != row.digest:
                raise
            return text.encode()

    def entries(self, digest: str) -> Iterator[EntryColumns]:
        """The entry table of a layer, block by block; `NotFound`."""
        from lamina.store.entries import decode_block, joined

        with self.reading() as reading:
            row = self.catalog.blob(digest)
            if row is None or row.kind == "document":
                raise NotFound("no such layer", digest)
            chunks = self.chunks(reading.index)
            for block, _ in joined(self.head_of_row(row).entry_blocks, lambda block_id: chunks.chunk(block_id, digest)):
                yield decode_block(block)

    def drop_pack_file(self, number: int, name: str, owner: str | None = None) -> None:
        """Delete the file of a pack that was never published, or that the collector is done with.

        With an `owner` (a lease, whose partial names it) it becomes a temporary again instead.
        """
        from lamina.store.packs import pack_path

        self.packs.forget(number)
        self.pack_names.pop(number, None)
        if owner is None:
            self.backend.delete(pack_path(name))
        else:
            self.backend.withdraw(pack_path(name), owner)

    def drop_unpublished(self, packs: Iterable[tuple[int, str]], kept: Mapping[str, str] | None = None) -> None:
        """Delete the files of packs (number, name) of a writer that gave up; those in `kept` (name: lease) are put aside.

        Those that the catalog knows stay: an interrupt may come when the transaction is through, and before its caller knows.
        """
        given = list(packs)
        if not given:
            return
        with suppress(LeaseLost):
            # A commit whose sync failed stays in SQLite's log until another one is written over it, and after a crash it is
            # read from there as if it had come to its end.  Until then these packs are needed.
            self.catalog.next_seq()
            # In a transaction: it fails if another process has put a rebuilt catalog in place, which may have adopted these
            # packs and let others rely on them, and it keeps a rebuild away meanwhile.  What is left is an orphan at worst.
            with self.catalog.transaction():
                published = {pack.name for pack in self.catalog.packs()}
                for number, name in given:
                    if name not in published:
                        self.drop_pack_file(number, name, (kept or {}).get(name))

    # -- upkeep

    def collect(self, *, max_unused: float = 0.05, max_unused_bytes: int | None = None, dry_run: bool = False,
                first: Callable[[], None] | None = None, progress: Progress | None = None) -> Collected:
        """Free what nothing refers to, beside readers and writers; with `dry_run` only say what that would be.

        Packs whose dead part is at most `max_unused` are left as they are; or (with `max_unused_bytes`, which counts instead)
        those with the smallest dead part, as long as not more is dead in all of them.  `first` is called when no other
        collection is in the way, and may let names go.
        """
        from lamina.store.choosing import Unused
        from lamina.store.collect import collect, foresee

        unused = Unused(max_unused, max_unused_bytes)
        return foresee(self, unused) if dry_run else collect(self, unused, progress, first)

    def optimize(
        self, *, level: int = 9, budget: float | None = None, memory: int = 300 << 20, progress: Progress | None = None
    ) -> Optimized:
        """Store what is in use anew, smaller, beside readers and writers.

        `budget`: seconds after which no more is begun; `memory`: bytes, which decide on the size of frames.
        """
        from lamina.store.optimize import optimize

        return optimize(self, level, budget, memory, progress)

    def backup(self, path: Path, progress: Progress | None = None) -> BackedUp:
        """Copy what is new since the last backup into a directory, beside readers and writers; see `lamina.store.backup`."""
        from lamina.store.backup import backup

        return backup(self, path, progress)

    def verify(self, digests: Iterable[str] | None = None, progress: Progress | None = None, *,
               scope: Scope | None = None, resume: bool = False) -> Verified:
        """Read everything (what the scope says, or these manifests' graphs) back and check it.

        `resume`: go on with the run that was interrupted.
        """
        from lamina.store.verify import verify

        return verify(self, digests, progress, scope, resume)

    def usage(self) -> Usage:
        """What the store holds, exactly, by streaming over recipes."""
        from lamina.store.usage import usage

        return usage(self)

    def new_bytes(self, digests: Iterable[str], *, beside: Iterable[str]) -> int:
        """Plain bytes of the chunks that these blobs have and those beside them have not."""
        from lamina.store.usage import new_bytes

        return new_bytes(self, digests, beside)

    def reclaimable(self, names: Iterable[str]) -> Reclaimable:
        """What removing these names would free."""
        from lamina.store.usage import reclaimable

        return reclaimable(self, names)

    def shrink(self, steps: Sequence[Sequence[str]], budget: int) -> Shrinking:
        """How many of some steps (names that go with each) bring the packs below `budget` bytes."""
        from lamina.store.budget import shrink

        return shrink(self, steps, budget)

    def mend(self, progress: Progress | None = None, *, dry_run: bool = False) -> Mended:
        """Bring what is whole of damaged packs into new ones; see `lamina.store.repair`."""
        from lamina.content.progress import Silent
        from lamina.store.repair import mend

        return mend(self, progress or Silent(), dry_run=dry_run)

    def rebuild_catalog(self) -> None:
        """Put a catalog made from the packs in place of the one that is open, which is damaged or wrong."""
        from lamina.store.rebuild import rebuild

        catalog = rebuild(self.backend, self.path / CATALOG, 30.0, wrong=True)
        old, self.catalog = self.catalog, catalog
        old.close()
        self.packs.close()
        self.pack_names.clear()

    def info(self) -> dict[str, Any]:
        """Where the store is and what it is."""
        fmt = self.backend.read_format()
        from lamina.store.verifylog import last_ended

        packs = self.catalog.packs(LIVE)
        verified = last_ended(self.state_dir).complete
        last = datetime.fromtimestamp(verified, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "path": str(self.path),
            "format": fmt.version,
            "id": fmt.id,
            "packs": len(packs),
            "chunks": sum(pack.chunks for pack in packs),
            "stored_bytes": sum(pack.bytes for pack in packs),
            "partial_downloads_bytes": self.partials.size(),
            "quarantine_bytes": sum(size for _, size in self.backend.list("quarantine/")),
            "free_bytes": self.backend.free_space(),
            **({"last_verified": last} if verified else {}),
        }


def _is_filled(backend: LocalBackend) -> bool:
    """Whether there are packs."""
    return next(iter(backend.list("packs/")), None) is not None


def _verified(reader: Reader, descriptor: Descriptor | None) -> Reader:
    return reader if descriptor is None else VerifyingReader(reader, descriptor)


def _lease_to_read(store: BlobStore) -> Lease | None:
    """None where nothing can be written: whoever collects elsewhere may take packs away, which is told, for all is verified."""
    try:
        return Lease.acquire(store.catalog, store.state_dir, "read")
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return None
        raise


class Reading:
    """A reader's session, and a `Source` for several threads: it holds a lease, so that packs which it may read stay.

    Rows of the catalog are another matter: what it is going to read for long is to be kept by `keep`.
    """

    def __init__(self, store: BlobStore, stages: StageSink | None = None) -> None:
        self.store, self._stages = store, stages
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self.lease = _lease_to_read(store)

    @cached_property
    def index(self) -> ChunkIndex:
        """The chunk index as it was when it was first needed, after the lease began.

        What it is asked for is to be looked up in the catalog before: what comes later may lie in packs that it does not know.
        """
        return self.store.new_index()

    def resolve(self, reference: str) -> Descriptor:
        """What a full name or a digest leads to; `NotFound`."""
        return self.store.resolve(reference)

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        """All names."""
        return self.store.references()

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """What has that digest as its subject."""
        rows = self.store.referrer_rows(descriptor.digest)
        found = [Descriptor(row.media_type, Digest(row.digest), row.size) for row in rows]
        return list(Subjects().referring(self, found, descriptor))

    def fetch(self, descriptor: Descriptor) -> Reader:
        """A blob or manifest; size and digest are verified as its bytes leave."""
        if (row := self.store.catalog.blob(descriptor.digest)) is None:
            raise NotFound("no such blob", descriptor.digest)
        with self._lock:
            self._catch_up(row.pack)
        return self.store.reader_of_row(row, self.index, descriptor, self._stages)

    def fetch_part(self, digest: str, start: int, stop: int) -> Reader:
        """The bytes of a blob from `start` to `stop` (not included), by frames that match their checksums; `NotFound`."""
        if (row := self.store.catalog.blob(digest)) is None:
            raise NotFound("no such blob", digest)
        if row.kind == "document":
            whole = self.fetch(Descriptor(row.media_type, Digest(row.digest), row.size))
            return BytesReader(read_all(whole, MAX_BYTES)[start:stop])
        with self._lock:
            self._catch_up(row.pack)
        return self.store.part_of_row(row, self.index, start, stop, self._stages)

    def places(self, digest: str, most: int) -> list[Place] | None:
        """Where a blob lies as it is, in at most so many pieces; None if it does not (some of it is compressed); `NotFound`."""
        if (row := self.store.catalog.blob(digest)) is None:
            raise NotFound("no such blob", digest)
        with self._lock:
            self._catch_up(row.pack)
        return self.store.places_of_row(row, self.index, most)

    def keep(self, *digests: str) -> None:
        """These, and all that they lead to, stay until this ends, though their names be removed; `NotFound`, `LeaseLost`."""
        catalog = self.store.catalog
        if self.lease is None:
            return
        with catalog.transaction() as tx:
            tx.check_lease(self.lease.id)
            for digest in digests:
                if catalog.blob(digest) is None:
                    raise NotFound("what was named has been removed meanwhile", digest)
            tx.hold(self.lease.id, *digests)

    def _catch_up(self, number: int) -> None:
        """See that the index knows what the commit knew that put a head into this pack."""
        if number not in self._known:
            self._known = {pack.number for pack in self.store.catalog.packs(LIVE)} | {number}
            self.store.refresh(self.index)

    def close(self) -> None:
        """End the lease."""
        if "index" in self.__dict__:
            self.index.close()
        if self.lease is not None:
            self.lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
