"""A repository of a registry as a `Target`: what `copy_graph` moves images from and to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from threading import Lock

from lamina.content import Reader
from lamina.content.verify import BytesReader, read_all, verifying
from lamina.digest import Digest
from lamina.errors import (
    InvalidContent,
    InvalidDigest,
    LimitExceeded,
    NotFound,
    RegistryError,
    RegistryUnavailable,
)
from lamina.oci import (
    MAX_BYTES,
    Descriptor,
    Index,
    Manifest,
    is_index,
    is_manifest,
    is_nondistributable,
    parse_index,
    parse_manifest,
)
from lamina.reference import Reference, is_tag
from lamina.registry.documents import content_length
from lamina.registry.pushing import Pushing
from lamina.registry.ranges import ParallelReader, worthwhile
from lamina.registry.reading import BlobReader, Opener
from lamina.registry.referrers import note_referrer, referrers
from lamina.registry.repository import Repository
from lamina.registry.uploading import Session, UploadJournal, Uploads

# Bytes of manifests that are kept between `resolve` or `push` and the `fetch` or `tag` that follows.
_KEPT_BYTES = 2 * MAX_BYTES
# Blobs that are known to be there.  More than this in one process are asked for again.
_KNOWN = 1 << 16
# Repositories that a blob is tried to be mounted from: each costs a round trip.
_MOUNTS = 3


def nowhere(_: Digest) -> Iterable[str]:
    """No repository to mount from."""
    return ()


class RegistryTarget:
    """One repository: `reference` is its name.  Thread-safe.

    Names are tags, digests, or the repository's full name with either; those that it gives are full.
    `mount_from`: other repositories of the same registry that may hold a blob.  `connections`: how many a large blob may be
    read by (`ranges`).
    """

    def __init__(self, repository: Repository, *, uploads: UploadJournal | None = None, connections: int = 1) -> None:
        self.reference = repository.reference
        self.mount_from: Callable[[Digest], Iterable[str]] = nowhere
        self._repository, self._connections = repository, connections
        self._uploads = Uploads(repository)
        self._pushing = Pushing(self._uploads, uploads, f"{repository.base}/{repository.path}")
        self._lock = Lock()
        self._known: OrderedDict[Digest, None] = OrderedDict()
        self._begun: dict[Digest, Session] = {}
        self._documents: OrderedDict[Digest, tuple[Descriptor, bytes]] = OrderedDict()

    # -- source

    def resolve(self, reference: str) -> Descriptor:
        """What a tag or digest leads to, by its bytes, which are kept: from here on the digest names it."""
        return self.manifest(reference)[0]

    def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """A manifest or index and its bytes, verified; `NotFound`."""
        name = self._name(reference)
        kept = self._document(name)
        if kept is None:
            kept = self._repository.manifest(name)
            self._keep(*kept)
        return kept

    def head(self, reference: str) -> Descriptor | None:
        """What the registry says that a tag leads to, without its bytes; None: to nothing."""
        return self._repository.head_manifest(self._name(reference))

    def own_head(self, reference: str) -> Descriptor | None:
        """The same of the registry itself, whatever its mirrors have: where a tag leads before it is pushed."""
        return self._repository.own_head_manifest(self._name(reference))

    def fetch(self, descriptor: Descriptor) -> Reader:
        if is_manifest(descriptor.media_type) or is_index(descriptor.media_type):
            return BytesReader(self.manifest(descriptor.digest)[1])
        places = self._places(descriptor)
        if worthwhile(descriptor, places, self._connections):
            return ParallelReader(descriptor, places[0], self._repository.attempts, self._repository.pause, self._connections)
        return BlobReader(descriptor, places, self._repository.attempts, self._repository.pause)

    def blob(self, digest: Digest) -> Descriptor:
        """A blob by its digest alone, its size as the registry tells it; `NotFound`, `RegistryError` where it tells none."""
        places, size = self._repository.places(digest)
        if size is None:  # HEAD was answered by a redirect, or without a length
            answer = places[0](0)
            try:
                size = content_length(answer.headers) if answer.status == 200 else None
            finally:
                answer.close()
        if size is None:
            raise RegistryError("the registry does not say how large a blob is", f"{self.reference.name}@{digest}")
        if len(places) == 1:
            self._learn(digest)
        return Descriptor("", digest, size)

    def references(self) -> Iterator[tuple[str, Descriptor]]:
        """All tags, by their full names; each costs a HEAD.  Those that go meanwhile are left out."""
        for tag in self.tags():
            found = self._repository.head_manifest(tag)
            if found is not None:
                yield str(self.reference.with_tag(tag)), found

    def tags(self) -> Iterator[str]:
        """All tags, as the registry lists them, page by page."""
        return self._repository.tags()

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterator[Descriptor]:
        """The manifests whose subject it is."""
        return referrers(self._repository, descriptor.digest, artifact_type)

    # -- target

    def exists(self, descriptor: Descriptor) -> bool:
        """Whether the registry itself (no mirror) has it; a blob that it has elsewhere is mounted, which is as good."""
        digest = descriptor.digest
        if is_manifest(descriptor.media_type) or is_index(descriptor.media_type):
            found = self._repository.own_head_manifest(digest)
            return found is not None and (found.digest, found.size) == (digest, descriptor.size)
        there = self._repository.head_blob(digest)
        if there is None:
            return self._mount(descriptor)
        if there[0] not in (None, descriptor.size):
            return False
        self._learn(digest)
        return True

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        if is_manifest(descriptor.media_type) or is_index(descriptor.media_type):
            self._push_manifest(descriptor, reader)
            return
        with self._lock:
            begun = self._begun.pop(descriptor.digest, None)
        self._pushing.blob(descriptor, reader, begun)
        self._learn(descriptor.digest)

    def push_stream(self, media_type: str, reader: Reader, mark: str = "") -> Descriptor:
        """A blob whose size and digest only its end tells (compressed on the way); what it came to.

        `mark`: text that stands for these very bytes, so that an upload which broke off can be gone on with.
        """
        digest, size = self._pushing.stream(reader, mark)
        self._learn(digest)
        return Descriptor(media_type, digest, size)

    def tag(self, descriptor: Descriptor, reference: str) -> None:
        name = self._name(reference)
        kept = self._document(descriptor.digest)
        found, data = kept or self._repository.own_manifest(descriptor.digest)
        if ":" not in name:
            self._repository.put_manifest(name, found.media_type, found.digest, data)

    def untag(self, tag: str) -> bool:
        """Take a tag away and leave what it leads to; False: the registry does not do that (distribution 1.1, "Deleting tags").

        Older registries know only to delete a manifest with all its tags, which is never tried here.
        """
        name = self._name(tag)
        if ":" in name:
            raise NotFound("a digest is no tag", name)
        with self._repository.write("DELETE", f"manifests/{name}", expect=(202, 200, 204, 404, 400, 405, 501)) as answer:
            return answer.status not in (400, 405, 501)

    def _push_manifest(self, descriptor: Descriptor, reader: Reader) -> None:
        if descriptor.size > MAX_BYTES:
            raise LimitExceeded(f"manifest of {descriptor.size} bytes is too large", descriptor.digest,
                                f"registries take at most {MAX_BYTES}")
        data = read_all(verifying(reader, descriptor), descriptor.size)
        parse: Callable[..., Manifest | Index] = parse_manifest if is_manifest(descriptor.media_type) else parse_index
        document = parse(data, descriptor.media_type, descriptor.digest)
        headers = self._repository.put_manifest(descriptor.digest, descriptor.media_type, descriptor.digest, data)
        if document.subject is not None and not headers.get("OCI-Subject"):
            note_referrer(self._repository, descriptor, document)
        self._keep(Descriptor(descriptor.media_type, descriptor.digest, descriptor.size), data)

    def _mount(self, descriptor: Descriptor) -> bool:
        """Try it from other repositories; an upload that is begun instead is kept for the push that follows."""
        begun: Session | None = None
        others = (one for one in self.mount_from(descriptor.digest) if one != self.reference.path)
        for source in islice(others, _MOUNTS):
            try:
                session = self._uploads.mount(descriptor.digest, source)
            except RegistryUnavailable:
                raise
            except (RegistryError, InvalidContent, NotFound):
                continue  # A mount is a courtesy: what the registry answers to it is no reason to fail.
            if session is None:
                # Seen, not believed: what is not there cannot be named by a manifest.
                there = self._repository.head_blob(descriptor.digest)
                if there is not None and there[0] in (None, descriptor.size):
                    self._learn(descriptor.digest)
                    return True
            elif begun is None:
                begun = session
            else:
                self._uploads.cancel(session)
        if begun is not None:
            with self._lock:
                self._begun[descriptor.digest] = begun
        return False

    # -- names and places

    def _name(self, reference: str) -> str:
        """The tag or digest that a reference means here."""
        try:
            return Digest(reference)
        except InvalidDigest:
            pass
        if is_tag(reference):
            return reference
        found = Reference.parse(reference)
        if found.name != self.reference.name:
            raise NotFound(f"{found.name} is another repository", self.reference.name)
        return found.digest or found.tag

    def _places(self, descriptor: Descriptor) -> list[Opener]:
        if self._is_known(descriptor.digest):
            return self._repository.opener(descriptor.digest)
        try:
            places, size = self._repository.places(descriptor.digest)
        except NotFound:
            places = self._repository.foreign(descriptor.urls) if is_nondistributable(descriptor.media_type) else []
            if not places:
                raise
            return places
        if len(places) == 1 and size in (None, descriptor.size):
            self._learn(descriptor.digest)
        return places

    # -- what is known

    def _is_known(self, digest: Digest) -> bool:
        with self._lock:
            return digest in self._known

    def _learn(self, digest: Digest) -> None:
        with self._lock:
            self._known[digest] = None
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    def _document(self, name: str) -> tuple[Descriptor, bytes] | None:
        with self._lock:
            return self._documents.get(Digest(name)) if ":" in name else None

    def _keep(self, descriptor: Descriptor, data: bytes) -> None:
        with self._lock:
            self._documents[descriptor.digest] = (descriptor, data)
            while sum(len(kept) for _, kept in self._documents.values()) > _KEPT_BYTES:
                self._documents.popitem(last=False)
