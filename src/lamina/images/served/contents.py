"""Blobs, manifests and tags of repositories, in the store."""

from __future__ import annotations

import bisect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from lamina import oci
from lamina.content import Reader
from lamina.content.referrers import listed, subject_of
from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.errors import Conflict, InvalidContent, LimitExceeded, NotFound, StoreDamaged
from lamina.images.served.heap import give_back_large_blocks
from lamina.images.served.names import full_name, repository_of, tag_of
from lamina.images.served.readings import Readings
from lamina.images.served.uploads import IDLE, Upload, Uploads
from lamina.images.served.verbatim import PIECES, SMALL, Proving, Verbatim
from lamina.images.uses import used
from lamina.oci import Descriptor
from lamina.registry.server.contents import Document, Stored
from lamina.registry.server.refusal import Refusal
from lamina.store.links import AS_BLOB, AS_MANIFEST
from lamina.store.spares import SPARES

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.blobstore import Reading
    from lamina.store.schema import BlobRow, RefRow
    from lamina.store.session import Session

CONFIG_LIMIT: Final = 4 << 20
SOURCES: Final = 1000  # repositories that are asked whether a blob may be had from them


class StoreContents:
    """A `Contents`.  `compression`: of what is pushed; `slots`: large blobs that run through the pipeline at once."""

    def __init__(self, store: BlobStore, *, compression: str = "zstd:1", slots: int = 0) -> None:
        give_back_large_blocks()
        self.store, self.compression = store, compression
        self._readings, self._verbatim = Readings(store), Verbatim(store)
        self._uploads = Uploads(store, compression, slots or max(2, (os.cpu_count() or 1)))
        self._used: set[str] = set()  # manifests that were asked for; noted now and then: a transaction costs more than a pull
        self._lock = threading.Lock()
        self._listed: tuple[int, list[str]] = (-1, [])

    # -- lists

    def repositories(self, after: str, limit: int) -> list[str]:
        """Names of repositories that have a manifest, above `after`."""
        names = self._repositories()
        at = bisect.bisect_right(names, after) if after else 0
        return names[at : at + limit]

    def _repositories(self) -> list[str]:
        """Read again when a name has changed anywhere: the number tells."""
        sequence = self.store.catalog.sequence()
        with self._lock:
            if self._listed[0] == sequence:
                return self._listed[1]
        found = {repository_of(ref.name) for ref in self.store.catalog.refs()}
        names = sorted(name for name in found if name is not None)
        with self._lock:
            self._listed = sequence, names
        return names

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        """Tags above `after`."""
        name = full_name(repository)
        refs = self.store.catalog.refs(f"{name}:")
        tags = sorted(tag for ref in refs if (tag := tag_of(ref.name, name)) is not None)
        if not tags and not self.store.catalog.refs(f"{name}@") and not self.store.catalog.links.any(name):
            raise Refusal("NAME_UNKNOWN", repository)
        at = bisect.bisect_right(tags, after) if after else 0
        return tags[at : at + limit]

    # -- manifests

    def manifest(self, repository: str, reference: str) -> Document:
        """By tag or digest."""
        row, named = self._manifest_row(full_name(repository), reference)
        self._used.add(row.digest)
        try:
            return Document(named.digest, named.media_type, self._bytes(row))
        except NotFound as error:
            raise Refusal("MANIFEST_UNKNOWN", reference) from error

    def _manifest_row(self, name: str, reference: str) -> tuple[BlobRow, Descriptor]:
        """And what it is there: by which digest and media type the repository was given it."""
        catalog = self.store.catalog
        ref = catalog.ref(f"{name}@{reference}" if ":" in reference else f"{name}:{reference}")
        row = catalog.blob(ref.digest if ref is not None else reference) if ref is not None or ":" in reference else None
        if row is None:
            raise Refusal("MANIFEST_UNKNOWN", reference)
        if ref is not None:
            return row, Descriptor(ref.media_type, Digest(ref.digest), ref.size)
        if given := self._names_of(name, row):
            return row, Descriptor(given[0].media_type, Digest(reference), row.size)
        if not self._has_manifest(name, row):
            raise Refusal("MANIFEST_UNKNOWN", reference)
        return row, Descriptor(row.media_type, Digest(reference), row.size)

    def _names_of(self, name: str, row: BlobRow) -> list[RefRow]:
        """Names of the repository that lead to it directly, by whatever digest."""
        found = [ref for each in sorted({row.digest, row.sha256}) for ref in self.store.catalog.refs_to(each)]
        return [ref for ref in found if ref.name.startswith((f"{name}:", f"{name}@"))]

    def _has_manifest(self, name: str, row: BlobRow) -> bool:
        return _known(row.media_type) and self.store.catalog.links.reaches(name, row.digest, manifest=True)

    def _bytes(self, row: BlobRow) -> bytes:
        if row.kind == "document":
            return self.store.document(row.digest)
        if row.size > CONFIG_LIMIT:
            raise Refusal("MANIFEST_UNKNOWN", row.digest)
        if (recent := self._uploads.little.recent(row.digest)) is not None:
            return recent
        reader = self._readings.open(lambda reading: reading.fetch(_descriptor(row)))
        try:
            return bytes(read_all(reader, row.size))
        finally:
            reader.close()

    def put_manifest(self, repository: str, document: Document, tags: Sequence[str]) -> None:
        """Keep it under its digest and these tags."""
        name, media_type = full_name(repository), document.media_type
        if oci.is_layer(media_type) or oci.is_config(media_type):
            raise Refusal("MANIFEST_INVALID", f"{media_type} is none of a manifest")
        descriptor = Descriptor(media_type, document.digest, len(document.data))
        try:
            children = oci.children(media_type, document.data, document.digest) if _known(media_type) else []
            with self.store.session(compression=self.compression, lenient=True) as session:
                self._bring(session, name, media_type, children)
                if not session.exists(descriptor) or self._lacked(descriptor):
                    session.push(descriptor, BytesReader(document.data))
                for tag in tags:
                    session.tag(descriptor, f"{name}:{tag}")
                session.tag(descriptor, f"{name}@{document.digest}")
                session.commit()
        except (InvalidContent, LimitExceeded) as error:
            raise Refusal("MANIFEST_INVALID", str(error)) from error

    def _lacked(self, descriptor: Descriptor) -> bool:
        """Whether it came before something that it names: what image it is, is to be seen once more."""
        if not oci.is_manifest(descriptor.media_type):
            return False
        image = self.store.catalog.image(descriptor.digest)
        return image is None or not image.whole

    def _bring(self, session: Session, name: str, media_type: str, children: Sequence[Descriptor]) -> None:
        """See that what a manifest names is the repository's, and stays; configs become documents.

        What the repository has not is left out: an index or image may be sparse, a layer may lie elsewhere.  Whether another
        repository has it makes no difference.
        """
        kind = AS_MANIFEST if oci.is_index(media_type) else AS_BLOB
        for child in children:
            session.known(child.digest)  # from here on what is there stays: a collection may be at it
            row = self.store.catalog.blob(child.digest)
            if row is not None and not (self._has_manifest(name, row) if kind == AS_MANIFEST else self.has(name, row.digest)):
                row = None
            if row is None:
                if kind == AS_BLOB and child is children[0]:  # the config
                    raise Refusal("MANIFEST_BLOB_UNKNOWN", str(child.digest))
                session.leave_out(name, child.digest, kind)
            elif not session.exists(child) and oci.is_config(child.media_type) and child.size == row.size <= CONFIG_LIMIT:
                data = self._bytes(row)
                if data.lstrip().startswith(b"{"):
                    session.push(child, BytesReader(data))

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """And every tag that leads to it.  An index of the repository that names it lacks it from then on."""
        name = full_name(repository)
        row, _ = self._manifest_row(name, str(digest))
        with self.store.session(lenient=True) as session:
            for ref in self._names_of(name, row):
                session.untag(ref.name)
            for each in {row.digest, row.sha256}:
                session.leave_out(name, Digest(each), AS_MANIFEST)
            session.commit()

    def delete_tag(self, repository: str, tag: str) -> None:
        """The tag alone."""
        name = f"{full_name(repository)}:{tag}"
        if self.store.catalog.ref(name) is None:
            raise Refusal("MANIFEST_UNKNOWN", tag)
        with self.store.session(lenient=True) as session:
            session.untag(name)
            session.commit()

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """What the repository has whose subject is that digest."""
        name = full_name(repository)
        found = []
        for row in self.store.referrer_rows(str(digest)):
            if self._has_manifest(name, row):
                with suppress(InvalidContent, LimitExceeded, Refusal):
                    data = self._bytes(row)
                    subject = subject_of(row.media_type, data, row.digest)
                    if subject is not None and subject.digest == digest:
                        found.append(listed(_descriptor(row), data))
        return found

    # -- blobs

    def has(self, name: str, digest: str) -> bool:
        """Whether a repository, by the store's name, has a blob or manifest."""
        links = self.store.catalog.links
        return links.has(name, digest) or links.reaches(name, digest)

    def _blob_row(self, name: str, digest: Digest) -> BlobRow:
        row = self.store.catalog.blob(digest)
        if row is None or not self.has(name, row.digest):
            raise Refusal("BLOB_UNKNOWN", str(digest))
        return row

    def blob(self, repository: str, digest: Digest) -> Stored:
        """Whether the repository has it."""
        return Stored(digest, self._blob_row(full_name(repository), digest).size)

    def open_blob(self, repository: str, digest: Digest, start: int, stop: int) -> Reader:
        """Some bytes of it, or all."""
        row = self._blob_row(full_name(repository), digest)
        if (places := self._verbatim.get(row.digest)) is not None:
            try:
                return self._readings.open(lambda _: self._verbatim.open(places, start, stop))
            except StoreDamaged:  # a collection has moved it
                self._verbatim.forget(row.digest)
        try:
            if (start, stop) == (0, row.size):
                return self._readings.open(lambda reading: self._whole(reading, row))
            return self._readings.open(lambda reading: reading.fetch_part(row.digest, start, stop))
        except NotFound as error:
            raise Refusal("BLOB_UNKNOWN", str(digest)) from error

    def _whole(self, reading: Reading, row: BlobRow) -> Reader:
        """All of it, verified; how it lies is remembered once it has proved right."""
        def proved() -> None:
            if row.size > SMALL and row.kind != "document":
                places = reading.places(row.digest, PIECES)
                if places is not None:
                    self._verbatim.proved(row.digest, places)

        return Proving(reading.fetch(_descriptor(row)), row.size, proved)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take the link away."""
        name = full_name(repository)
        row = self._blob_row(name, digest)
        if self.store.catalog.links.reaches(name, row.digest):
            raise Refusal("DENIED", "a manifest of this repository names it")
        with self.store.catalog.transaction() as tx:
            tx.unlink(name, row.digest)

    def mount(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> Stored | None:
        """Link what another repository has."""
        name = full_name(repository)
        row = self.store.catalog.blob(digest)
        if row is None:
            return None
        if not any(self.has(each, row.digest) for each in self._sources(row, name, source, may_pull)):
            return None
        return Stored(digest, row.size) if self.store.link(name, row.digest) else None

    def _sources(self, row: BlobRow, name: str, source: str | None, may_pull: Callable[[str], bool]) -> Iterator[str]:
        if source is not None:
            if may_pull(source):
                yield full_name(source)
            return
        links = self.store.catalog.links
        names = [*links.repositories(row.digest, SOURCES), *links.names_above(row.digest, SOURCES)]
        found = dict.fromkeys(filter(None, (repository_of(each) for each in names)))
        yield from (full_name(each) for each in found if may_pull(each))

    # -- uploads

    def begin_upload(self, repository: str) -> str:
        """A new one."""
        try:
            return self.store.receiving.begin(full_name(repository))
        except Conflict as error:
            raise Refusal("TOOMANYREQUESTS", error.what) from error

    @contextmanager
    def upload(self, repository: str, upload_id: str) -> Iterator[Upload]:
        """One, for one request."""
        with self._uploads.open(full_name(repository), upload_id) as upload:
            yield upload

    # -- upkeep

    def listen(self) -> None:
        """There are other processes that serve this store (`handover`)."""
        self._uploads.listen()

    def tend(self, expiry: float) -> None:
        """Now and then: let go of what nobody uses, and of uploads that nobody has gone on with for so many seconds."""
        self._readings.tend()
        self._uploads.tend()
        self._note_uses()
        self.store.receiving.expire(expiry)
        SPARES.tend(IDLE)

    def _note_uses(self) -> None:
        """For `gc --max-size`, which lets go of what was used the longest ago."""
        noted, self._used = self._used, set()
        used(self.store, noted)

    def close(self) -> None:
        """What has arrived of uploads stays."""
        self._note_uses()
        self._uploads.close()
        self._readings.close()


def _descriptor(row: BlobRow) -> Descriptor:
    return Descriptor(row.media_type, Digest(row.digest), row.size)


def _known(media_type: str) -> bool:
    return oci.is_manifest(media_type) or oci.is_index(media_type)

