"""A session: one writer's work, invisible until it commits, gone without a trace if it does not."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lamina import oci
from lamina.content import Reader, Resumable, Taken
from lamina.content.inflate import InflatingReader, peek, sniff
from lamina.content.progress import Progress, Silent
from lamina.content.referrers import Subjects
from lamina.content.verify import BytesReader, VerifyingReader, read_all
from lamina.digest import Digest
from lamina.errors import (
    DigestMismatch,
    LaminaError,
    LeaseLost,
    LimitExceeded,
    NotFound,
    SizeMismatch,
    StorageError,
    StoreDamaged,
)
from lamina.oci import Descriptor
from lamina.store import layout, room
from lamina.store.codec import Compression
from lamina.store.copying import copy_live
from lamina.store.gathered import DOCUMENT_LIMIT, Gathered, Name
from lamina.store.ingest import Ingest, Ingested
from lamina.store.journalling import FROM, Journal, Journals
from lamina.store.lanes import run_lanes
from lamina.store.lease import Lease
from lamina.store.marks import Marks
from lamina.store.publish import publish
from lamina.store.recipe import Head
from lamina.store.resuming import Resumed
from lamina.store.schema import BlobRow, PackRow, rank
from lamina.store.sink import PackSink, SealedPack
from lamina.store.stages import Stages
from lamina.store.stats import LayerStats, SessionStats
from lamina.store.tuning import Tuning

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex

AGAIN = "what had come of it is thrown away: get it again"
TENDING = 0.05  # seconds that a commit gives to the merging of index files


@dataclass(frozen=True, slots=True)
class Job:
    """A blob to bring in, and how its bytes are had."""

    descriptor: Descriptor
    open: Callable[[], Reader]


class _TooLong(SizeMismatch):
    """More bytes came than were announced."""


def _is_document(descriptor: Descriptor) -> bool:
    """Whether it is kept whole: manifests and indexes, and configs that are not beyond all measure."""
    media_type = descriptor.media_type
    return (
        oci.is_manifest(media_type)
        or oci.is_index(media_type)
        or (oci.is_config(media_type) and descriptor.size <= DOCUMENT_LIMIT)
    )


def _is_more(descriptor: Descriptor, row: BlobRow) -> bool:
    """Whether the bytes are wanted as more than they were taken for: see `rank`."""
    return _is_document(descriptor) and rank("document", descriptor.media_type) > rank(row.kind, row.media_type)


class Session:
    """A `Target` and an `Intake` over the store.  Pushes may come from several threads, and blobs run side by side.

    `lenient`, a registry's: a manifest whose config is none, or does not fit its layers, is kept all the same, but is no image.

    Leaving the context without `commit` undoes everything; but what has come of blobs with resumable readers is put aside, and
    a later session that is given them begins where that ends (FORMAT.md, "Partials").
    """

    def __init__(
        self, store: BlobStore, compression: Compression, progress: Progress | None = None, *, verify: bool = False,
        lenient: bool = False, apart: bool = False, tuning: Tuning | None = None,
    ) -> None:
        self._store, self._verify, self._lenient, self._tuning = store, verify, lenient, tuning or Tuning()
        self._apart = apart
        self._progress = progress or Silent()
        self._lock = threading.RLock()
        self.stats = SessionStats()
        self._given = Gathered(served=lenient)
        self._held: set[str] = set()
        self._wasted = False  # something was taken in that did not prove right
        self._left_out: set[str] = set()
        self._sealed: dict[int, SealedPack] = {}
        self._own: set[int] = set()
        self._over = False
        self._index: ChunkIndex | None = None
        self._indexing = threading.Lock()  # held for moments, but for the opening
        self._pushing: dict[str, threading.Event] = {}  # blobs on their way in, by digest
        self.lease = Lease.acquire(store.catalog, store.state_dir, "write")
        try:
            self.sink = PackSink(store.backend, self.lease.id, compression, self._new_pack, self._on_placed, self._on_sealed,
                                 stages=self.stats.stages, workers=self._tuning.workers)
        except BaseException:
            self.lease.release()
            raise
        self._ingest: Ingest | None = None
        self._journals = Journals(store.partials, self.lease.id, self.sink, store.packs.footer, self._own.__contains__)

    # -- packs

    def _new_pack(self, name: bytes) -> int:
        number = self._store.catalog.reserve_pack_number()
        self._own.add(number)
        self._store.pack_names[number] = name.hex()
        return number

    def _on_placed(self, number: int, ids: npt.NDArray[np.uint8], first: int) -> None:
        self.index.add(number, ids, first)

    def _on_sealed(self, pack: SealedPack) -> None:
        with self._indexing:
            self._sealed[pack.number] = pack
            if self._index is not None:
                self._index.sealed(pack.number, pack.name)

    @property
    def index(self) -> ChunkIndex:
        """The chunk index, opened when the first chunk is looked for or placed: tags and documents need none (a third of the
        CPU time of pushing a manifest)."""
        with self._indexing:
            if self._index is None:
                self._index = self._store.new_index(empty=self._apart)
                for pack in self._sealed.values():  # documents only, so far
                    self._index.sealed(pack.number, pack.name)
            return self._index

    @property
    def ingest(self) -> Ingest:
        """The pipeline, made when the first blob comes: a tag needs none."""
        with self._lock:
            if self._ingest is None:
                self._require()
                self._store.backend.hold_reserve()
                self._ingest = Ingest(self.sink, self.index, self._own.__contains__, self._tuning.cutting,
                                      parts=self._store.version >= 2, piece=self._tuning.piece)
            return self._ingest

    # -- Source

    def resolve(self, reference: str) -> Descriptor:
        """A name as this session leaves it, or a digest."""
        name = self._given.name(reference)
        if name is not None:
            if name.descriptor is None:
                raise NotFound("no such tag", reference)
            return name.descriptor
        row = self._given.blobs.get(reference)
        if row is not None:
            return Descriptor(row.media_type, Digest(row.digest), row.size)
        return self._store.resolve(reference)

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        """The names of the store as this session leaves them."""
        names: dict[str, Descriptor | None] = dict(self._store.references())
        for name in self._given.names:
            names[name.name] = name.descriptor
        return [(name, descriptor) for name, descriptor in names.items() if descriptor is not None]

    def fetch(self, descriptor: Descriptor) -> Reader:
        """A blob of the store or of this session."""
        if descriptor.digest in self._given.texts:
            return BytesReader(self._given.texts[descriptor.digest])
        row = self._given.blobs.get(descriptor.digest)
        if row is None:
            row = self._store.catalog.blob(descriptor.digest)
            if row is None:
                raise NotFound("no such blob", descriptor.digest)
            self._store.refresh(self.index)  # it may have been committed after this session began
            return self._store.reader_of_row(row, self.index)
        with self._lock:
            self.sink.seal()  # what is read must lie in a sealed pack
        return self._store.reader_of_row(row, self.index)

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """What has that digest as its subject, in the store or in this session."""
        own = [self._given.blobs[child] for parent, child in list(self._given.edges) if parent == descriptor.digest]
        rows = [*own, *self._store.referrer_rows(descriptor.digest)]
        found = {row.digest: Descriptor(row.media_type, Digest(row.digest), row.size) for row in rows}
        return list(Subjects().referring(self, found.values(), descriptor))

    # -- Target

    def exists(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there; from then on it stays until this session ends."""
        own = self._given.blobs.get(descriptor.digest)
        if own is not None:
            return own.size == descriptor.size and not _is_more(descriptor, own)
        if self._verify and not (oci.is_manifest(descriptor.media_type) or oci.is_index(descriptor.media_type)):
            return False
        found = self._hold(descriptor.digest, descriptor.size)
        if found and _is_document(descriptor):
            row = self._store.catalog.blob(descriptor.digest)
            return row is not None and not _is_more(descriptor, row)
        if found and oci.is_layer(descriptor.media_type):
            self.stats.exists(descriptor.digest, descriptor.size)
            self._progress.done(descriptor.digest, "exists")
        return found

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        """Take in one blob or manifest."""
        self.lease.check_own()
        if _is_document(descriptor):
            with self._lock:
                self._push_document(descriptor, reader)
        else:
            with self._alone(descriptor.digest):
                self._push_blob(descriptor, reader)

    def bring(self, jobs: Sequence[Job]) -> None:
        """Take in blobs that manifests are going to name, several at a time; each digest once.

        A job that fails is left out: the push of that blob, which its manifest needs, meets the reason again.
        `StorageError` before the first if there is no room: what comes compressed is kept as it comes, all but all of it new.
        """
        if jobs:
            compressed = [job.descriptor.size for job in jobs if oci.layer_compression(job.descriptor.media_type)]
            self._require(0 if self.reads_all else sum(compressed))
        run_lanes(jobs, self._bring_one, self._stop, self._tuning.lanes)

    def _require(self, least: int = 0) -> None:
        room.require(self._store.backend, least + room.FLOOR, "take in new layers", self._store.path)

    def _bring_one(self, job: Job) -> None:
        reader = job.open()
        try:
            self.push(job.descriptor, reader)
        finally:
            reader.close()
        with self._lock:
            self._given.unclaimed.add(job.descriptor.digest)

    def _stop(self) -> None:
        if self._ingest is not None:
            self._ingest.stop()

    def claim(self, digests: Iterable[str]) -> None:
        """These are wanted, though no manifest of this session names them."""
        with self._lock:
            self._given.claim(digests)

    def brought(self, digest: str) -> bool:
        """Whether this session has taken that blob or document in."""
        return digest in self._given.blobs

    def savepoint(self) -> Gathered:
        """What manifests have been pushed so far; see `rollback`."""
        with self._lock:
            return self._given.savepoint()

    def rollback(self, to: Gathered) -> None:
        """Forget the manifests and names pushed since; blobs that nothing names any more go when the session commits."""
        with self._lock:
            self._given.rollback(to)

    def tag(self, descriptor: Descriptor, reference: str) -> None:
        """Let a name lead to what has been pushed, or is there; `NotFound`."""
        if self._find(descriptor.digest) is None:
            raise NotFound("what a name should lead to is not there", descriptor.digest, "push it first")
        self._given.names.append(Name(reference, descriptor, int(time.time())))

    # -- Intake

    def known(self, digest: Digest) -> Taken | None:
        """The blob of that digest, plain or as it came."""
        row = self._given.blobs.get(digest)
        if row is None and not self._verify and self._hold(digest):
            row = self._store.catalog.blob(digest)
        return None if row is None else Taken(Digest(row.digest), row.size)

    def intake(self, reader: Reader, *, plain: bool, expect: Digest | None = None, algorithm: str = "sha256") -> Taken:
        """Take in one blob of unknown name or size; without `expect` it is named by this algorithm."""
        self.lease.check_own()
        if plain:
            first, reader = peek(reader)
            kind = sniff(first)
            reader = InflatingReader(reader, kind, expect or "a layer as it came in") if kind else reader
        with self._proving():
            algorithm = expect.algorithm if expect is not None else algorithm
            label = expect or "layer"
            taken = self._take(reader, algorithm, label, reader.size)
            digest = taken.digests[algorithm]
            if expect is not None and digest != expect:
                raise DigestMismatch(f"the content has the digest {digest}", expect, "get it again")
            with self._lock:
                if digest not in self._given.blobs:  # else it may have been claimed already
                    self._given.unclaimed.add(digest)
                self._keep(taken, digest, "layer", "")
            return Taken(digest, taken.head.size, taken.cut)

    def leave_out(self, repository: str, digest: Digest, kind: str) -> None:
        """A repository of a registry has not what a manifest names that comes now: it counts as not there; see `links`."""
        self._given.gaps.append((repository, digest, kind))
        self._left_out.add(digest)

    def link(self, repository: str, digest: Digest) -> None:
        """Let a repository of a registry have a blob of this session or of the store; see `links`."""
        self.claim([digest])
        self._given.links.append((repository, digest))

    # -- names

    def untag(self, name: str, expected: tuple[str, int] | None = None) -> None:
        """A name leads nowhere any more.

        `expected`: a digest and a time of naming; the commit fails (`Conflict`) if it has others by then, or is pinned.
        """
        self._given.names.append(Name(name, None, int(time.time()), expected))

    def root(self, descriptor: Descriptor) -> None:
        """Keep an image without a name."""
        self.tag(descriptor, f"@{descriptor.digest}")

    def drop_root(self, digest: str) -> None:
        """Keep it no more."""
        self.untag(f"@{digest}")

    def mark_made(self, descriptor: Descriptor) -> None:
        """The manifest is one that Lamina made itself: local until a push."""
        self._given.made.add(descriptor.digest)

    def pin(self, name: str, pinned: bool) -> None:
        """Let no rule take a name away that is there, or let go of it; `NotFound` at the commit."""
        self._given.pins[name] = pinned

    # -- the end

    def commit(self) -> None:
        """Publish all in one transaction.  After this nothing more can be pushed."""
        self.lease.check_own()
        with self._lock, self._losing():
            if self._verify:  # what the store has is not unclaimed: it was read again, though its manifest was not
                self._given.unclaimed = {digest for digest in self._given.unclaimed if self._store.catalog.blob(digest) is None}
            if self._given.unclaimed or self._wasted:
                self._drop_unclaimed()
            relied = self._ingest.relied if self._ingest is not None else set()
            if self._ingest is not None:
                self._store.backend.hold_reserve()  # who has opened the store on a full disk meanwhile gave it away
            publish(self._store, self, self._given, relied)
            self._over = True
            with contextlib.suppress(OSError, LaminaError):  # what is left is cleared away by a collection
                self._journals.finish(discard=True)
                self._store.partials.done(self._given.blobs, self.lease.id)
            self.stats.stored = self.sink.stored
            self.stats.finish()
            # It is committed, whatever becomes of the rest: the lease of a catalog that is locked is dead all the same, and who
            # opens the index next does without the file, or writes it.
            with contextlib.suppress(OSError, LaminaError), contextlib.ExitStack() as stack:
                stack.callback(self._close)
                if self._index is not None and not self._apart:  # one that knows no packs would find all files useless
                    self._index.flush(seconds=TENDING)

    def packs(self) -> list[PackRow]:
        """Rows of the packs sealed so far."""
        return [PackRow(p.number, p.name.hex(), p.bytes, p.chunks, "live", 0) for p in self._sealed.values()]

    def owns(self, number: int) -> bool:
        """Whether a pack is of this session."""
        return number in self._own

    @property
    def reads_all(self) -> bool:
        """Whether it takes in what the store knows, too (`verify`)."""
        return self._verify

    def unsealed(self) -> set[int]:
        """Numbers of own packs that cannot be read yet."""
        return self._own - set(self._sealed)

    def heads(self) -> Iterable[Head]:
        """Heads of the blobs that this session has brought."""
        for row in self._given.blobs.values():
            if row.kind != "document":
                yield self._store.head_of_row(row)

    def abort(self) -> None:
        """Undo: nothing of this session was visible, and its packs go, the newest first: a journal before what it names.

        Those that partials name are put aside.
        """
        with self._lock:
            if self._over or self.lease.inherited:
                return
            self._over = True
            with contextlib.ExitStack() as stack:
                stack.callback(self._close)
                self._stop()
                self.sink.close(self._journals.kept)
                packs = [(pack.number, pack.name.hex()) for pack in reversed(self._sealed.values())]
                self._store.drop_unpublished(packs, self._journals.kept())
                self._store.partials.drop_empty(self.lease.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _close(self) -> None:
        """All of it, whatever fails on the way."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.lease.release)
            if self._index is not None:
                stack.callback(self._index.close)
            stack.callback(self._journals.finish)
            stack.callback(self.sink.close)
            if self._ingest is not None:
                stack.callback(self._ingest.close)

    # -- inside

    def _hold(self, digest: str, size: int | None = None) -> bool:
        """Whether it is stored (with that size); from now on it stays."""
        catalog = self._store.catalog
        row = catalog.blob(digest)
        if row is None or size not in (None, row.size):
            return False
        if digest in self._held:
            return True
        with catalog.transaction() as tx:
            tx.check_lease(self.lease.id)  # a hold without a lease would never end
            if catalog.blob(digest) is None:
                return False
            tx.hold(self.lease.id, digest)
        self._held.add(digest)
        return True

    @contextlib.contextmanager
    def _proving(self) -> Iterator[None]:
        """A blob that fails in here leaves frames that nothing names."""
        try:
            yield
        except BaseException:
            self._wasted = True
            raise

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """What fails for want of the lease says so: who took it for dead has cleared away the packs."""
        try:
            yield
        except (StorageError, StoreDamaged) as error:
            if self.lease.lost():
                raise LeaseLost("the lease of this session is gone", self.lease.id, "run the command again") from error
            raise

    @contextlib.contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """One push of a blob at a time."""
        mine = threading.Event()
        while True:
            with self._lock:
                other = self._pushing.setdefault(digest, mine)
            if other is mine:
                break
            other.wait()
        try:
            yield
        finally:
            with self._lock:
                del self._pushing[digest]
            mine.set()

    def _drop_unclaimed(self) -> None:
        """Blobs of a stream that no manifest has named go before anything is published, and so do their frames.

        So do the frames of blobs that did not prove right.
        """
        for digest in self._given.unclaimed:
            del self._given.blobs[digest]
        self.sink.seal()
        kept = self._journals.kept(self._given.blobs)
        marks = Marks(self._store)
        for row in self._given.blobs.values():
            if row.kind != "document":
                marks.add(self.index, row)
        for pack in list(self._sealed.values()):
            if marks.live_records(pack.number).all():
                continue
            for digest, number, record in copy_live(self._store.packs, self.sink, pack.number, marks, lambda _: None):
                self._given.blobs[digest] = self._given.blobs[digest]._replace(pack=number, record=record)
            self.sink.seal()
            self.index.forget(pack.number)
            self._own.discard(pack.number)
            del self._sealed[pack.number]
            with self._store.catalog.transaction():  # as in `drop_unpublished`; a catalog that was rebuilt ends the session
                self._store.drop_pack_file(pack.number, pack.name.hex(), kept.get(pack.name.hex()))

    def _find(self, digest: str) -> BlobRow | None:
        if digest in self._left_out:
            return None
        own = self._given.blobs.get(digest)
        return own if own is not None or not self._hold(digest) else self._store.catalog.blob(digest)

    def _text(self, digest: str) -> bytes:
        own = self._given.texts.get(digest)
        if own is not None:
            return own
        row = self._given.blobs.get(digest)
        if row is None:
            return self._store.document(digest)
        if row.size > DOCUMENT_LIMIT:
            raise LimitExceeded(f"a config of {row.size} bytes is too large", digest, f"at most {DOCUMENT_LIMIT} are read")
        return read_all(self.fetch(Descriptor(row.media_type, Digest(digest), row.size)), DOCUMENT_LIMIT)

    def _push_document(self, descriptor: Descriptor, reader: Reader) -> None:
        if descriptor.size > DOCUMENT_LIMIT:
            raise LimitExceeded(f"a document of {descriptor.size} bytes is too large", descriptor.digest,
                                f"at most {DOCUMENT_LIMIT} are read")
        data = read_all(VerifyingReader(reader, descriptor), descriptor.size)
        if self._given.document(descriptor, data, self._find, self._text, lenient=self._lenient):
            self._wasted = True

    def _push_blob(self, descriptor: Descriptor, reader: Reader) -> None:
        with self._proving(), contextlib.ExitStack() as stack:
            journal = None
            if isinstance(reader, Resumable) and descriptor.size > FROM:
                reader, journal = self._resume(descriptor, reader, stack)
            try:
                taken = self._take(reader, descriptor.digest.algorithm, descriptor.digest, descriptor.size, journal)
                digest = taken.digests[descriptor.digest.algorithm]
                if taken.head.size < descriptor.size:  # what has come may be right: it is kept
                    what = f"{taken.head.size} bytes instead of {descriptor.size}"
                    raise SizeMismatch(what, descriptor.digest, "get it again")
                if digest != descriptor.digest:
                    hint = AGAIN if journal else "get it again"
                    raise DigestMismatch(f"the content has the digest {digest}", descriptor.digest, hint)
            except (_TooLong, DigestMismatch):
                if journal is not None:
                    self._forget(descriptor.digest)
                raise
            kind = "layer" if oci.is_layer(descriptor.media_type) else "blob"
            with self._lock:
                self._keep(taken, digest, kind, descriptor.media_type)

    def _resume(
        self, descriptor: Descriptor, reader: Resumable, stack: contextlib.ExitStack
    ) -> tuple[Reader, Callable[[int], Journal]]:
        """The blob's reader, which begins with what came before, if there is something; and what makes its journal."""
        digest, size = descriptor.digest, descriptor.size
        self._journals.wait_for(digest)  # an earlier try of this session
        old = self._store.partials.furthest(digest, size, self.lease.id)
        found: Reader = reader
        if old is not None:
            chunks = self._store.chunks(self.index)
            found = stack.enter_context(contextlib.closing(Resumed(
                old[0], size, reader, self._store.backend, lambda chunk_id: chunks.chunk(chunk_id, digest),
                lambda status: self._progress.state(digest, status))))
        return found, lambda lane: self._journals.begin(digest, size, lane, old)

    def _forget(self, digest: str) -> None:
        """What came of a blob is not what it should be: the next try is to begin from its beginning."""
        self._journals.wait_for(digest)
        for each in self._store.partials.of(digest, self.lease.id):
            self._store.partials.drop(each)

    def _take(
        self, reader: Reader, algorithm: str, label: str, size: int | None, journal: Callable[[int], Journal] | None = None
    ) -> Ingested:
        started = time.monotonic()
        self._progress.start(label, label, size)
        stages = Stages(self.stats.stages)
        taken = self.ingest.take(reader, [algorithm], self._watch(label, size), stages, journal)
        seconds = time.monotonic() - started
        digest = taken.digests[algorithm]
        with self._lock:
            self.stats.loaded(LayerStats(digest, taken.head.size, taken.new, taken.head.entries, seconds, "loaded", stages))
        self._progress.done(label, "loaded")
        return taken

    def _watch(self, label: str, size: int | None) -> Callable[[memoryview], None]:
        seen = 0

        def watch(view: memoryview) -> None:
            nonlocal seen
            seen += len(view)
            if size is not None and seen > size:
                raise _TooLong(f"more than the {size} bytes announced", label, "get it again")
            self._progress.advance(label, len(view))
            if seen == size:
                self._progress.state(label, "verifying")

        return watch

    def _keep(self, taken: Ingested, digest: Digest, kind: str, media_type: str) -> None:
        """Write the head of a blob that has proved right."""
        if digest in self._given.blobs:
            return
        head = taken.head
        head.digest, head.media_type = digest, media_type
        pack, record = self.sink.record(layout.HEAD, head.encode(), {"digest": digest, "kind": kind, "size": head.size})
        self._given.blobs[digest] = BlobRow(
            digest, head.sha256, kind, media_type, head.size, pack, record, head.diff_id or None,
            head.plain_size if head.diff_id else None, head.entries, head.file_bytes,
        )
