"""`repair`: damaged packs give what is whole of them, sources give the rest, and what is lost is told by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.content.copy import copy_graph
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.images.place import familiar
from lamina.images.remotes import Network
from lamina.images.repairsources import check, is_store, opened
from lamina.oci import Descriptor, is_index, is_manifest
from lamina.store import BlobStore, quarantine
from lamina.store.catalogdiff import differences, suspicion
from lamina.store.lacking import Lack, lacking
from lamina.store.repair import Mended, complete_documents
from lamina.store.restore import take_blobs, take_chunks, take_layers
from lamina.store.schema import RefRow

if TYPE_CHECKING:
    from lamina.content.progress import Progress


@dataclass(frozen=True, slots=True)
class Loss:
    """A blob that cannot be given back, and what is wrong with it."""

    digest: str
    size: int
    media_type: str
    what: str


@dataclass(slots=True)
class RepairResult:
    """`packs`: damaged ones (hex), with what was wrong; `chunks`: of them, that are in new packs; `quarantined`: packs put
    aside; `catalog`: why it was made anew, '' if it was not.

    `restored`: digests that sources gave back, `names`: names that are there again.  `lost`: what names (familiar, or
    `@digest`) still lack; `forgotten`: those of them that were removed.  `warnings`: what could not be used, one line each.
    """

    packs: dict[str, list[str]] = field(default_factory=dict)
    chunks: int = 0
    quarantined: list[str] = field(default_factory=list)
    catalog: str = ""
    restored: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    lost: dict[str, list[Loss]] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def repair(store: BlobStore, network: Network, sources: Sequence[str], *, dry_run: bool, forget: bool, compression: str,
           progress: Progress | None) -> RepairResult:
    """Repair all that can be; `Conflict` while a collection runs, `UsageError` for a source that is none."""
    for text in sources:
        check(text)
    work = _Repair(store, network, compression, progress, RepairResult())
    if not work.mend(dry_run):
        return work.result
    for text in () if dry_run else sources:
        if work.lacks or work.awaited():
            try:
                work.take(text)
            except LaminaError as error:
                work.result.warnings.append(str(error) if text in str(error) else f"{text}: {error}")
    if not dry_run:
        work.name_again()
    work.tell(forget=forget and not dry_run)
    return work.result


@dataclass(slots=True)
class _Repair:
    """One run; `lacks` is what is missing at this moment."""

    store: BlobStore
    network: Network
    compression: str
    progress: Progress | None
    result: RepairResult
    lacks: dict[str, Lack] = field(default_factory=dict)
    gone: dict[str, Descriptor] = field(default_factory=dict)

    def mend(self, dry_run: bool) -> bool:
        """Packs, then the catalog, which is held against them when they are whole.

        False in a dry run on a damaged catalog: what it says of the rest may be wrong, and may not be readable.
        """
        result = self.result
        result.catalog = suspicion(self.store)
        if result.catalog and dry_run:
            return False
        if result.catalog:
            self.store.rebuild_catalog()
        mended: Mended = self.store.mend(self.progress, dry_run=dry_run)
        result.packs, result.chunks, result.quarantined = mended.damaged, mended.copied, mended.put_aside
        result.names += [familiar(name) for name in mended.names]
        self.gone, self.lacks = mended.gone, mended.lacking
        if mended.damaged and dry_run:
            return True  # the packs cannot tell
        if found := differences(self.store):
            result.catalog = result.catalog or f"it says otherwise than the packs ({'; '.join(found)})"
            if not dry_run:
                self.store.rebuild_catalog()
                self.look()
        if not dry_run:
            complete_documents(self.store)
            self._take_readable()
        return True

    def _take_readable(self) -> None:
        """Entry tables can be made anew from the layers themselves."""
        lacks = {digest: lack for digest, lack in self.lacks.items() if lack.readable}
        if lacks:
            with self.store.session(compression=self.compression, progress=self.progress, verify=True) as session, \
                    self.store.reading() as reading:
                take_blobs(session, reading, lacks)
                session.commit()
            self.look()

    def look(self) -> None:
        """What is lacking now."""
        index = self.store.new_index()
        try:
            gone = {digest: one for digest, one in self.gone.items() if self.store.catalog.blob(digest) is None}
            self.lacks = lacking(self.store, index, self.store.catalog.blobs(), gone)
        finally:
            index.close()

    def take(self, text: str) -> None:
        """What one source has of what is lacking."""
        before = set(self.lacks)
        with self.store.session(compression=self.compression, progress=self.progress, verify=True) as session, \
                opened(text, self.network, session) as (source, roots):
            came = take_blobs(session, source, self.lacks)
            rest = {digest: lack for digest, lack in self.lacks.items() if digest not in came}
            if rest:
                take_layers(session, source, roots, rest)
            session.commit()
        self.look()
        if self.lacks and is_store(text):
            self._take_chunks(Path(text))
        if self.awaited() or any(is_manifest(lack.descriptor.media_type) or is_index(lack.descriptor.media_type)
                                 for lack in self.lacks.values()):
            self._take_graphs(text)
        complete_documents(self.store)
        self.look()
        self.result.restored += sorted(before - self.lacks.keys())

    def _take_chunks(self, path: Path) -> None:
        """Recipes first: they say what else is needed."""
        with BlobStore.open(path, create=False) as other, other.reading() as reading:
            for recipes in (True, False):
                with self.store.session(compression=self.compression, progress=self.progress) as session:
                    if take_chunks(self.store, session, reading, self.lacks.values(), recipes=recipes):
                        session.commit()
            self.look()

    def _take_graphs(self, text: str) -> None:
        """Manifests and indexes that are lost, with all that they name."""
        wanted = {lack.descriptor.digest: lack.descriptor for lack in self.lacks.values()
                  if is_manifest(lack.descriptor.media_type) or is_index(lack.descriptor.media_type)}
        wanted |= {ref.digest: _descriptor(ref) for ref in self.awaited()}  # type: ignore[misc]
        with self.store.session(compression=self.compression, progress=self.progress) as session, \
                opened(text, self.network, session) as (source, _):
            for descriptor in wanted.values():
                with suppress(LaminaError):
                    source.fetch(descriptor).close()
                    copy_graph(source, session, descriptor)
                    session.root(descriptor)
            session.commit()

    def awaited(self) -> list[RefRow]:
        """Names that went because their content was lost, and that nobody has given again."""
        there = {ref.name for ref in self.store.catalog.refs()}
        return [ref for lost in quarantine.lost_names(self.store.backend) for ref in lost.names if ref.name not in there]

    def name_again(self) -> None:
        """Give back those whose content is whole again, and clear away what has been done with."""
        awaited = {ref.name: ref for ref in self.awaited()}
        found = [ref for ref in awaited.values() if self.store.catalog.blob(ref.digest) is not None]
        if found:
            with self.store.session() as session:
                for ref in found:
                    session.tag(_descriptor(ref), ref.name)
                    if self.store.catalog.ref(f"@{ref.digest}") is not None and not ref.name.startswith("@"):
                        session.drop_root(ref.digest)
                session.commit()
            self._pin_again([ref.name for ref in found if ref.pinned])
            self.look()
            self.result.names += [familiar(ref.name) for ref in found]
        left = {ref.name for ref in self.awaited()}
        for lost in quarantine.lost_names(self.store.backend):
            if not any(ref.name in left for ref in lost.names):
                self.store.backend.delete(lost.file)

    def _pin_again(self, names: list[str]) -> None:
        if names:
            with self.store.session() as session:
                for name in names:
                    session.pin(name, True)
                session.commit()

    def tell(self, *, forget: bool) -> None:
        """What each name lacks; and remove those names, if that is asked for."""
        catalog = self.store.catalog
        by_digest = {name: lack for digest, lack in self.lacks.items()
                     for name in (digest, *([lack.row.sha256] if lack.row is not None else []))}
        doomed: list[RefRow] = []
        for ref in catalog.refs():
            losses = {lack.descriptor.digest: lack for digest in sorted(catalog.reachable_from([ref.digest]))
                      if (lack := by_digest.get(digest)) is not None and not lack.readable}
            if losses:
                doomed.append(ref)
                self.result.lost[familiar(ref.name)] = [
                    Loss(str(lack.descriptor.digest), lack.descriptor.size, lack.descriptor.media_type, lack.what)
                    for lack in losses.values()]
        for ref in self.awaited():
            self.result.lost.setdefault(familiar(ref.name), [Loss(ref.digest, ref.size, ref.media_type, "not there")])
        if forget and doomed:
            with self.store.session() as session:
                quarantine.keep_names(self.store.backend, doomed, session.lease.id)
                for ref in doomed:
                    session.untag(ref.name)
                session.commit()
            self.result.forgotten = [familiar(ref.name) for ref in doomed]


def _descriptor(ref: RefRow) -> Descriptor:
    return Descriptor(ref.media_type, Digest(ref.digest), ref.size)
