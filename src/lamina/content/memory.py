"""Content in memory: the smallest target; for tests, and for documents made on the way."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from lamina.content import Reader
from lamina.content.referrers import Subjects, is_document
from lamina.content.verify import BytesReader, VerifyingReader, read_all
from lamina.digest import Digest
from lamina.errors import InvalidDigest, NotFound
from lamina.oci import Descriptor


class MemoryTarget:
    """A `Target` whose content lives as long as the object.

    References are any text.  A text of the form `...@digest` leads to the digest.  Manifests may come before
    what they name: nothing here looks into them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._blobs: dict[Digest, tuple[Descriptor, bytes]] = {}
        self._references: dict[str, Descriptor] = {}
        self._subjects = Subjects()

    def resolve(self, reference: str) -> Descriptor:
        with self._lock:
            if reference in self._references:
                return self._references[reference]
            try:
                digest = Digest(reference.rpartition("@")[2])
            except InvalidDigest:
                raise NotFound("no such reference", reference) from None
            if digest not in self._blobs:
                raise NotFound("no such manifest", digest)
            return self._blobs[digest][0]

    def fetch(self, descriptor: Descriptor) -> Reader:
        with self._lock:
            if descriptor.digest not in self._blobs:
                raise NotFound("no such blob", descriptor.digest)
            return BytesReader(self._blobs[descriptor.digest][1])

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        with self._lock:
            return tuple(self._references.items())

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """By reading every manifest that is here."""
        with self._lock:
            documents = [held for held, _ in self._blobs.values() if is_document(held.media_type)]
        return tuple(self._subjects.referring(self, documents, descriptor))

    def exists(self, descriptor: Descriptor) -> bool:
        with self._lock:
            held = self._blobs.get(descriptor.digest)
        return held is not None and len(held[1]) == descriptor.size

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        data = read_all(VerifyingReader(reader, descriptor), descriptor.size)
        bare = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
        with self._lock:
            self._blobs[descriptor.digest] = (bare, data)

    def tag(self, descriptor: Descriptor, reference: str) -> None:
        if not self.exists(descriptor):
            raise NotFound("what is to be tagged is not there", descriptor.digest)
        with self._lock:
            self._references[reference] = descriptor
