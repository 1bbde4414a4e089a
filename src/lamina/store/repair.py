"""Repair, first part: what is whole of damaged packs goes into new ones, and the old ones go to quarantine.

It goes by the collector's rules: new packs are published and damaged ones condemned in one transaction; readers that began
before it keep the files for as long as their leases last.  `restore.py` puts back what was lost, `lacking.py` says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.content.progress import Progress
from lamina.digest import Digest
from lamina.errors import LaminaError, NotFound, StoreTooNew
from lamina.mediatypes import is_index, is_manifest
from lamina.oci import Descriptor
from lamina.store import layout, quarantine
from lamina.store.gathered import Name
from lamina.store.lacking import Lack, lacking
from lamina.store.lease import Lease
from lamina.store.names import names_of
from lamina.store.packcheck import Damage, check_pack
from lamina.store.packs import pack_path
from lamina.store.publish import journal
from lamina.store.rebuild import is_newer, note_document
from lamina.store.replacing import Manner, Replaced, Replacing, alone, delete_condemned, is_sealed
from lamina.store.rescue import Rescue
from lamina.store.schema import LIVE, BlobRow, PackRow, RefRow
from lamina.store.sink import PackSink

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex


@dataclass(slots=True)
class Mended(Replaced):
    """`damaged`: packs (hex) with anything wrong, and what; `copied`: chunks of them that are in new packs; `put_aside`: packs
    in quarantine now; `names`: those that were found again.

    `gone`: blobs of which nothing is left that could be mended; `lacking`: all that names lead to and that is not whole.
    """

    damaged: dict[str, list[str]] = field(default_factory=dict)
    copied: int = 0
    put_aside: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    gone: dict[str, Descriptor] = field(default_factory=dict)
    lacking: dict[str, Lack] = field(default_factory=dict)


class _Dry(Exception):
    """All has been tried; nothing is to be published."""


def mend(store: BlobStore, progress: Progress, *, dry_run: bool) -> Mended:
    """Look at every pack, and bring what is whole of damaged ones into new packs; `Conflict` if a collection is running.

    With `dry_run` it is all done but for the end: what was written is thrown away.
    """
    result = Mended()
    with alone(store, "repair", tidy=not dry_run) as lease:
        work = _Repair(store, lease, result, progress, dry_run)
        if not work.run() or not dry_run:
            index = store.new_index()
            try:
                gone = {digest: one for digest, one in result.gone.items() if store.catalog.blob(digest) is None}
                result.lacking = lacking(store, index, store.catalog.blobs(), gone)
            finally:
                index.close()
        if not dry_run:
            delete_condemned(store, result, lease)
    return result


class _Repair(Replacing):
    """One run."""

    def __init__(self, store: BlobStore, lease: Lease, result: Mended, progress: Progress, dry_run: bool) -> None:
        super().__init__(store, lease, result)
        self._result, self._progress, self._dry = result, progress, dry_run
        self._names: list[Name] = []
        self._pins: dict[str, bool] = {}
        self._rescue: Rescue

    def run(self) -> bool:
        """Whether there was anything to mend."""
        known = [pack for pack in self._store.catalog.packs(LIVE) if self._is_damaged(pack)]
        strays = list(self._strays())
        if not known and not strays:
            return False
        with suppress(_Dry):
            self._replace(0, Manner(), lambda sink: self._fill(sink, known, strays))
        return True

    def _is_damaged(self, pack: PackRow) -> bool:
        damage: list[Damage] = []
        check_pack(self._store, pack, damage, self._progress)
        if damage:
            if is_there(self._store, pack.name) and is_newer(self._store.backend, pack_path(pack.name)):
                raise StoreTooNew("a pack has an unknown format version", pack_path(pack.name), "use a newer lamina")
            self._result.damaged[pack.name] = list(dict.fromkeys(each.what for each in damage))
        return bool(damage)

    def _strays(self) -> Iterator[str]:
        """Files in `packs/` that the catalog does not know, because it was rebuilt when they had no footer any more."""
        known = {pack.name for pack in self._store.catalog.packs()}
        for path, _ in sorted(self._store.backend.list("packs/")):
            name = path.rpartition("/")[2]
            if name not in known and len(name) == 32 and not is_sealed(self._store.backend, path):
                self._result.damaged[name] = ["a pack without a footer that the catalog does not know"]
                yield name

    def _fill(self, sink: PackSink, known: list[PackRow], strays: list[str]) -> list[PackRow]:
        doomed = {pack.number for pack in known}
        self._rescue = rescue = Rescue(self._store, sink, doomed, lambda: self._index(doomed))
        for pack in known:
            if is_there(self._store, pack.name):
                self._progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)
                rescue.pack(pack.name, stray=False)
                self._progress.done(pack.name, "salvaged")
        for name in strays:
            rescue.pack(name, stray=True)
        rescue.finish()
        self._result.copied = rescue.copied
        return known

    def _index(self, doomed: set[int]) -> ChunkIndex:
        """What can be found in whole packs, and in those that have been written anew."""
        from lamina.store.index import ChunkIndex, LivePack

        index = ChunkIndex(self._store.state_dir / "index", self._store.packs.ids)
        live = {bytes.fromhex(pack.name): LivePack(pack.number, pack.chunks)
                for pack in self._store.catalog.packs(LIVE) if pack.number not in doomed}
        live |= {sealed.name: LivePack(sealed.number, sealed.chunks) for sealed in self._sealed}
        index.refresh(live)
        return index

    def _checkpoint(self, sink: PackSink) -> None:
        """And behind it a journal of the names that were found again: those that are not older than the last checkpoint in the
        packs that a rebuild could read."""
        catalog = self._store.catalog
        since, removed = catalog.complete_until(), catalog.removed()
        there = {ref.name for ref in catalog.refs()}
        found = names_of(each for each in self._rescue.journals if int(each["seq"]) > since)
        self._names = [Name(ref.name, Descriptor(ref.media_type, Digest(ref.digest), ref.size), ref.time)
                       for ref in found.values() if ref.name not in there and removed.get(ref.name, 0) < ref.seq
                       and self._rescue.has(ref.digest)]
        self._pins = {name.name: True for name in self._names if found[name.name].pinned}
        if self._dry:
            return
        super()._checkpoint(sink)
        if self._names:
            self._seq = self._store.catalog.next_seq()
            data = journal(self._seq, self._names, self._pins)
            sink.record(layout.JOURNAL, data, {"seq": self._seq})

    def _rows(self, doomed: set[int]) -> Iterator[BlobRow]:
        """The catalog's blobs as they are going to be."""
        for row in self._store.catalog.blobs():
            place = self._rescue.places.get(row.digest)
            if row.pack not in doomed:
                yield row
            elif place is not None:
                yield row._replace(pack=place[0], record=place[1])

    def _condemn(self, doomed: list[PackRow], marked_at: int, level: int) -> set[int]:
        """Publish what was salvaged, forget what was lost, condemn the damaged: who relies on those resolves again."""
        store, rescue, numbers = self._store, self._rescue, {pack.number for pack in doomed}
        lost = [row for row in store.catalog.blobs() if row.pack in numbers and row.digest not in rescue.places]
        self._result.gone = {row.digest: Descriptor(row.media_type, Digest(row.digest), row.size) for row in lost}
        self._result.gone |= rescue.named
        self._result.names = sorted(name.name for name in self._names)
        if self._dry:
            index = self._index(numbers)
            try:
                self._result.lacking = lacking(store, index, self._rows(numbers), self._result.gone)
            finally:
                index.close()
            raise _Dry
        names = [each.name for each in doomed if is_there(store, each.name)] + rescue.strays
        for pack in names:
            quarantine.keep_pack(store.backend, pack)
        self._result.put_aside = names
        with store.catalog.transaction() as tx:
            tx.check_lease(self._lease.id)
            for sealed in self._sealed:
                tx.add_pack(sealed.number, sealed.name.hex(), sealed.bytes, sealed.chunks)
            moves = [(row.digest, *rescue.places[row.digest]) for row in store.catalog.blobs()
                     if row.pack in numbers and row.digest in rescue.places]
            tx.move_blobs(moves)
            tx.remove_blobs(row.digest for row in lost)
            new = [row for row in rescue.rows.values() if tx.add_blob(row)]
            for row in new:
                with suppress(LaminaError):
                    if row.kind == "document":
                        note_document(store.catalog, tx, row, rescue.texts[row.digest], self._text)
            for name in self._names:
                descriptor = name.descriptor
                assert descriptor is not None
                tx.set_ref(RefRow(name.name, descriptor.digest, descriptor.media_type, descriptor.size, self._seq, name.time,
                                  name.name in self._pins))
            tx.condemn_packs(numbers)
            tx.note_complete()
        for pack in rescue.strays:
            store.backend.delete(pack_path(pack))
        return numbers

    def _text(self, digest: str) -> bytes:
        return self._rescue.texts.get(digest) or self._store.document(digest)


def is_there(store: BlobStore, name: str) -> bool:
    """Whether a pack has a file; one that cannot be opened for another reason (`StorageError`) is not to be given up."""
    try:
        store.backend.open(pack_path(name)).close()
    except NotFound:
        return False
    return True


def complete_documents(store: BlobStore) -> None:
    """Edges and images of manifests that were not whole when the catalog was rebuilt, and are now."""
    images = {image.manifest for image in store.catalog.images()}
    for row in list(store.catalog.blobs("document")):
        if row.digest not in images and (is_manifest(row.media_type) or is_index(row.media_type)):
            with suppress(LaminaError):
                data = store.document(row.digest)
                with store.catalog.transaction() as tx:
                    note_document(store.catalog, tx, row, data, store.document)
