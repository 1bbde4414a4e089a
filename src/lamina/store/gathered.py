"""What a session has been given and has not made visible yet: rows, documents, edges, names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lamina import oci
from lamina.digest import Digest
from lamina.errors import LimitExceeded
from lamina.oci import Descriptor
from lamina.store import documents
from lamina.store.links import Gap
from lamina.store.schema import BlobRow, ImageRow

DOCUMENT_LIMIT = 4 << 20  # bytes of one
DOCUMENTS_LIMIT = 64 << 20  # of all, held until the session commits


@dataclass(frozen=True, slots=True)
class Name:
    """A name set (or, with None, removed) by a session; `time` in seconds since 1970.

    `expected`: the digest and time that it must still have, unpinned, for the session to go through.
    """

    name: str
    descriptor: Descriptor | None
    time: int
    expected: tuple[str, int] | None = None


@dataclass(slots=True)
class Gathered:
    """`texts` are the bytes of documents, `made` manifests of Lamina's own, `links` (repository, digest).

    `unclaimed`: blobs taken in without a name, that nothing has named so far; `blobs` has them as well.  `served`: names come
    from a registry's clients, who have what they name and no more.
    Not for several threads at once; what only reads may see it at any moment.
    """

    blobs: dict[str, BlobRow] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    texts_size: int = 0
    made: set[str] = field(default_factory=set)
    unclaimed: set[str] = field(default_factory=set)
    edges: list[tuple[str, str]] = field(default_factory=list)
    images: list[ImageRow] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    pins: dict[str, bool] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    served: bool = False

    def savepoint(self) -> Gathered:
        """All as it is now; see `rollback`."""
        return replace(self, blobs=dict(self.blobs), texts=dict(self.texts), made=set(self.made), unclaimed=set(self.unclaimed),
                       edges=list(self.edges), images=list(self.images), names=list(self.names))

    def rollback(self, to: Gathered) -> None:
        """Forget manifests and names since then, but keep blobs: as unclaimed ones, until a manifest names them again."""
        blobs = {digest: row for digest, row in self.blobs.items() if row.kind != "document"}
        self.unclaimed = to.unclaimed | (blobs.keys() - to.blobs.keys())
        self.blobs = to.blobs | blobs
        self.texts, self.texts_size, self.made = to.texts, to.texts_size, to.made
        self.edges, self.images, self.names = to.edges, to.images, to.names

    def document(self, descriptor: Descriptor, data: bytes, find: Callable[[str], BlobRow | None], text: Callable[[str], bytes],
                 *, lenient: bool) -> bool:
        """Take a manifest, index or config, of which the digest is right; `InvalidDocument`, `NotFound`, `LimitExceeded`.

        `find` and `text` give rows and configs by digest, here and in the store; for `lenient` see `Session`.
        Whether the same bytes had come as a blob before, and lie in frames that nothing needs now.
        """
        if oci.is_manifest(descriptor.media_type):
            image = documents.check_manifest(descriptor, data, find, text, lenient=lenient)
            if image is not None:
                self.images.append(image)
        if oci.is_config(descriptor.media_type):
            documents.check_config(descriptor, data)
        else:
            self._refer(descriptor, data)
        self.texts_size += len(data)
        if self.texts_size > DOCUMENTS_LIMIT:
            raise LimitExceeded(f"manifests and configs of more than {DOCUMENTS_LIMIT} bytes at once", descriptor.digest)
        before = self.blobs.get(descriptor.digest)
        was_blob = before is not None and before.kind != "document"
        if was_blob:
            self.unclaimed.discard(descriptor.digest)
        self.texts[descriptor.digest] = data
        self.blobs[descriptor.digest] = _row(descriptor, data)
        return was_blob

    def _refer(self, descriptor: Descriptor, data: bytes) -> None:
        children = documents.children(descriptor, data)
        self.edges += [(descriptor.digest, child) for child in children]
        self.edges += documents.subject_edges(descriptor, data)
        self.unclaimed.difference_update(children)

    def claim(self, digests: Iterable[str]) -> None:
        """These are wanted, though no manifest names them."""
        self.unclaimed.difference_update(digests)

    def name(self, reference: str) -> Name | None:
        """What has been said of a name last."""
        return next((name for name in reversed(self.names) if name.name == reference), None)


def _row(descriptor: Descriptor, data: bytes) -> BlobRow:
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    return BlobRow(descriptor.digest, Digest.of(data), "document", descriptor.media_type, len(data), 0, 0, text=text)
