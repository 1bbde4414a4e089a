"""The catalog against what heads, documents and journals of the packs say, row by row.

What nothing in the packs has is left alone: leases, holds, and what is remembered of registries.  Memory: the catalog's rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lamina import oci
from lamina.digest import Digest
from lamina.errors import LaminaError, NotFound
from lamina.oci import Descriptor
from lamina.store import documents, layout
from lamina.store.catalog import Catalog
from lamina.store.copied import Copied
from lamina.store.names import names_of
from lamina.store.packs import Packs, pack_path, read_footer
from lamina.store.rebuild import rows_of
from lamina.store.schema import CONDEMNED, LIVE, BlobRow, PackRow
from lamina.store.touched import Problem

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore


_AGAIN = 3  # an image that is removed and loaded over and over was wrong twice on a busy machine


def check_catalog(store: BlobStore, packs: Packs) -> list[Problem]:
    """What is wrong with the catalog.  Others may commit meanwhile: only what is found each time counts."""
    where = str(store.path)
    if broken := store.catalog.faults():
        return [Problem(f"the catalog is damaged: {fault}", where) for fault in broken]
    found = _Comparison(store, packs).run()
    for _ in range(_AGAIN):
        again = set(_Comparison(store, packs).run()) if found else ()
        found = [problem for problem in found if problem in again]
    return found


def missing(catalog: Catalog, row: BlobRow, data: bytes) -> list[str]:
    """What a manifest names and cannot do without, and the catalog does not have, though it once had come."""
    named = oci.children(row.media_type, data, row.digest) if oci.is_manifest(row.media_type) else ()
    return [str(child.digest) for child in named if not (child.urls or oci.is_nondistributable(child.media_type))
            and catalog.blob(child.digest) is None and not catalog.links.never_came(child.digest)]


class _Comparison:
    """One pass over all packs' keys, then over the tables."""

    def __init__(self, store: BlobStore, packs: Packs) -> None:
        self._store, self._catalog, self._packs = store, store.catalog, packs
        self._where = str(store.path)
        self._found: list[Problem] = []
        self._journals: list[dict[str, Any]] = []
        self._lost = False  # a pack could not be read: what it says is not known
        self._elsewhere: set[str] = set()  # digests of heads and documents that no row of the catalog leads to

    def run(self) -> list[Problem]:
        """All that is wrong."""
        self._numbers()
        rows = {row.digest: row for row in self._catalog.blobs()}
        self._blobs(rows)
        self._names()
        self._graph(rows)
        self._unknown_packs()
        return self._found

    def _say(self, what: str, *digests: str) -> None:
        self._found.append(Problem(what, self._where, digests))

    def _numbers(self) -> None:
        """Counters are above all that was drawn from them."""
        sequence = self._catalog.sequence()
        packs = self._catalog.packs()
        for pack in packs:
            if pack.state not in (LIVE, CONDEMNED):
                self._say(f"the catalog says {pack.state!r} of pack {pack.name}")
            if pack.changed > sequence:
                self._say(f"the catalog has the change {pack.changed} of pack {pack.name}, and has come only to {sequence}")
        if max((pack.number for pack in packs), default=0) > self._catalog.last_pack_number():
            self._say("the catalog has a pack with a higher number than it has given")
        if self._catalog.checkpoint() > sequence:
            self._say(f"the catalog has the checkpoint {self._catalog.checkpoint()}, and has come only to {sequence}")
        for ref in self._catalog.refs():
            if ref.seq > sequence:
                self._say(f"the catalog has the change {ref.seq} of the name {ref.name}, and has come only to {sequence}")

    # -- blobs and journals

    def _blobs(self, rows: dict[str, BlobRow]) -> None:
        places = {(row.pack, row.record): row for row in rows.values()}
        known = {pack.number for pack in self._catalog.packs()}
        for pack in self._catalog.packs(LIVE):
            for expected, journal in self._keys(pack):
                if expected is None:
                    self._journals.append(journal)
                elif (row := places.pop((expected.pack, expected.record), None)) is not None:
                    self._compare(row, expected)
                else:
                    self._elsewhere.add(expected.digest)
        for row in places.values():
            if row.pack not in known:
                self._say(f"the catalog has blob {row.digest} in pack {row.pack}, which it does not have", row.digest)
                continue
            with suppress(LaminaError):  # else what lies in it is damaged, and named by that
                records = self._packs.footer(row.pack).records
                if row.record >= len(records) or records["type"][row.record] in layout.FRAMES:
                    self._say(f"the catalog has blob {row.digest} in record {row.record}, which is none", row.digest)

    def _keys(self, pack: PackRow) -> Iterator[tuple[BlobRow | None, dict[str, Any]]]:
        try:
            footer = self._packs.footer(pack.number)
            records = sum(1 for _ in footer.key_rows())
        except LaminaError:
            self._lost = True
            return
        for found in rows_of(self._packs, pack.number, footer):
            records -= 1
            yield found
        self._lost = self._lost or records > 0

    def _compare(self, row: BlobRow, expected: BlobRow) -> None:
        for name, mine, its in zip(row._fields, row, expected, strict=True):
            if name != "text" and mine != its:
                self._say(f"the catalog says {name} {mine} of blob {row.digest}, its pack {its}")
        if expected.text is not None and (now := self._catalog.blob(row.digest)) is not None and now.text != expected.text:
            self._say(f"the catalog has another text of {row.digest} than its pack")

    # -- names

    def _names(self) -> None:
        """The catalog's names against the journals, unless one is missing."""
        have = {ref.name: ref for ref in self._catalog.refs()}
        if not self._lost:
            said = names_of(self._journals)
            for name in sorted(said.keys() | have.keys()):
                mine, its = have.get(name), said.get(name)
                if mine is None or its is None or mine.digest != its.digest:
                    self._say(f"the name {name} leads to {mine.digest if mine else 'nothing'}, by the packs to "
                              f"{its.digest if its else 'nothing'}", *([mine.digest] if mine else []))
                elif (mine.media_type, mine.size, mine.time) != (its.media_type, its.size, its.time):
                    self._say(f"the catalog says media type {mine.media_type}, size {mine.size}, time {mine.time} of the name "
                              f"{name}, the packs {its.media_type}, {its.size}, {its.time}")
        for ref in have.values():
            if self._catalog.blob(ref.digest) is None:
                self._say(f"the name {ref.name} leads to {ref.digest}, which is missing", ref.digest)

    # -- edges and images

    def _graph(self, rows: dict[str, BlobRow]) -> None:
        alias: dict[str, set[str]] = defaultdict(set)
        for row in rows.values():
            if row.digest != row.sha256:
                alias[row.digest].add(row.sha256)
                alias[row.sha256].add(row.digest)
        expected: set[tuple[str, str]] = set()
        manifests: set[str] = set()
        for row in rows.values():
            if row.kind == "document" and (oci.is_manifest(row.media_type) or oci.is_index(row.media_type)):
                try:
                    data = self._text(row.digest)
                    edges = self._edges(row, data)
                except LaminaError:
                    continue  # damaged, and named by that
                manifests |= {row.digest, *alias[row.digest]}
                expected |= {(name, child) for parent, child in edges for name in {parent, *alias.get(parent, ())}}
                self._image(row, data)
        self._compare_edges(expected, manifests)
        for image in self._catalog.images():
            if image.manifest not in rows and self._is_alone(image.manifest):
                self._say(f"the catalog has an image {image.manifest} without a manifest", image.manifest)

    def _is_alone(self, manifest: str) -> bool:
        """Whether an image is there without its manifest now, however much has changed since the rows were read."""
        return self._catalog.blob(manifest) is None and self._catalog.image(manifest) is not None

    def _edges(self, row: BlobRow, data: bytes) -> list[tuple[str, str]]:
        descriptor = Descriptor(row.media_type, Digest(row.digest), row.size)
        children = documents.children(descriptor, data)
        return [(row.digest, child) for child in children] + documents.subject_edges(descriptor, data)

    def _compare_edges(self, expected: set[tuple[str, str]], manifests: set[str]) -> None:
        have = set(self._catalog.edges())
        for parent, child in sorted(expected - have):
            self._say(f"the catalog does not have that {parent} leads to {child}")
        for parent, child in sorted(have - expected):
            if parent in manifests:  # one from what is gone says nothing wrong
                self._say(f"the catalog has that {parent} leads to {child}, which it does not")

    def _text(self, digest: str) -> bytes:
        """A document as its digest says it is, from the catalog or the pack; LaminaError."""
        if self._catalog.blob(digest) is None:
            raise NotFound("a document is missing", digest)
        return self._store.document(digest)

    def _image(self, row: BlobRow, data: bytes) -> None:
        """What a manifest names is there, and the catalog has its image."""
        if not oci.is_manifest(row.media_type):
            return
        for child in missing(self._catalog, row, data):
            there = "a pack has it" if child in self._elsewhere else "no pack has it"
            self._say(f"blob {child} of {row.digest} is not in the catalog; {there}", child, row.digest)
        expected = None
        with suppress(LaminaError):
            expected = documents.check_manifest(Descriptor(row.media_type, Digest(row.digest), row.size), data,
                                                self._catalog.blob, self._text)
        have = self._catalog.image(row.digest)
        if expected is not None and have is None:
            self._say(f"the catalog has no image of the manifest {row.digest}", row.digest)
        elif expected is not None and have is not None:
            for name, mine, its in zip(have._fields, have, expected, strict=True):
                # What was missing may have come since: that is noted with the manifest's next push.
                if mine != its and not (name in ("whole", "size") and not have.whole):
                    self._say(f"the catalog says {name} {mine} of the image {row.digest}, its manifest {its}")

    # -- packs

    def _unknown_packs(self) -> None:
        """A pack that the catalog does not know is a writer's, or a dead one's, unless its number was not drawn yet."""
        known = {pack.name for pack in self._catalog.packs()} | Copied.read(self._store.state_dir).packs
        unknown = [name for name, _ in self._store.backend.list("packs/") if name.rpartition("/")[2] not in known]
        for name in sorted(unknown):
            try:
                with self._store.backend.open(name) as handle:
                    keys = read_footer(handle).key_rows()
            except LaminaError:
                continue
            highest = max((int(key["seq"]) for _, key in keys if isinstance(key.get("seq"), int)), default=0)
            if highest > self._catalog.sequence() and name == pack_path(name.rpartition("/")[2]):
                self._found.append(Problem(f"a pack has the journal {highest}, but the catalog has only come to "
                                           f"{self._catalog.sequence()}: it has lost commits", name))
