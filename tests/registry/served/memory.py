"""`Contents` in memory, strict about how it is called: what the server must check is asserted here."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lamina.digest import Digest
from lamina.errors import DigestMismatch
from lamina.oci import Descriptor, children, is_index, is_manifest, parse_index, parse_manifest
from lamina.registry.server.contents import Document, Stored
from lamina.registry.server.refusal import Refusal

_NAME = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


@dataclass
class Repository:
    """What one has."""

    manifests: dict[Digest, Document] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)


class MemoryReader:
    """A blob's bytes in short reads; `spoil` at the end, as a store does whose bytes do not check out."""

    def __init__(self, owner: Memory, data: bytes, spoilt: bool) -> None:
        self._owner, self._data, self._spoilt, self._at = owner, data, spoilt, 0
        self.closed = False
        owner.readers.add(self)

    @property
    def size(self) -> int:
        return len(self._data)

    def readinto(self, buffer: memoryview, /) -> int:
        assert not self.closed and len(buffer) > 0
        found = self._data[self._at : self._at + min(len(buffer), 100_000)]
        if self._spoilt and self._at + len(found) == len(self._data):
            raise DigestMismatch("blob does not have its digest")
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        self.closed = True
        self._owner.readers.discard(self)


class MemoryUpload:
    """One upload; `held` by one request at a time."""

    def __init__(self, owner: Memory, repository: str, upload_id: str) -> None:
        self._owner, self.repository, self.id = owner, repository, upload_id
        self.data = bytearray()
        self.held = self.over = False
        self._writing = threading.Lock()

    @property
    def offset(self) -> int:
        assert self.held
        return len(self.data)

    def write(self, data: memoryview, /) -> None:
        assert self.held and not self.over and len(data) > 0
        assert self._writing.acquire(blocking=False), "two threads write"
        try:
            self._owner.largest_write = max(self._owner.largest_write, len(data))
            if self._owner.fail_write is not None:
                raise self._owner.fail_write
            self._owner.gate.wait(10)
            self.data += data
            self._owner.arrived(len(self.data))
        finally:
            self._writing.release()

    def finish(self, digest: Digest, /) -> Stored:
        assert self.held and not self.over and isinstance(digest, Digest)
        self._end()
        data = bytes(self.data)
        if Digest.of(data, digest.algorithm) != digest:
            raise Refusal("DIGEST_INVALID")
        self._owner.repository(self.repository).blobs[digest] = data
        return Stored(digest, len(data))

    def cancel(self) -> None:
        assert self.held and not self.over
        self._end()

    def _end(self) -> None:
        self.over = True
        del self._owner.uploads[self.id]


class Memory:
    """`Contents`, with what a test may look at and change."""

    def __init__(self) -> None:
        self.all: dict[str, Repository] = {}
        self.uploads: dict[str, MemoryUpload] = {}
        self.readers: set[MemoryReader] = set()
        self.held: set[str] = set()
        self.spoilt: set[Digest] = set()
        self.fail_write: Exception | None = None
        self.sparse = False  # Whether a manifest may name layers that are not there.
        self.largest_write = 0
        self.calls: list[str] = []
        self.gate = threading.Event()  # Writes wait for it.
        self.gate.set()
        self._size, self._condition = 0, threading.Condition()
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def repository(self, name: str) -> Repository:
        """The repository, made if need be."""
        assert _NAME.fullmatch(name) and len(name) <= 255, name
        with self._lock:
            return self.all.setdefault(name, Repository())

    def add(self, name: str, data: bytes, algorithm: str = "sha256") -> Digest:
        """Let it have a blob."""
        digest = Digest.of(data, algorithm)
        self.repository(name).blobs[digest] = data
        return digest

    def arrived(self, size: int) -> None:
        """An upload has so many bytes."""
        with self._condition:
            self._size = size
            self._condition.notify_all()

    def wait_for(self, size: int) -> None:
        """Until an upload has so many bytes."""
        with self._condition:
            assert self._condition.wait_for(lambda: self._size >= size, 10), f"{self._size} bytes"

    def wait_held(self) -> None:
        """Until a request holds an upload."""
        with self._condition:
            assert self._condition.wait_for(lambda: self.held, 10)

    def _have(self, name: str) -> Repository:
        assert _NAME.fullmatch(name) and len(name) <= 255, name
        found = self.all.get(name)
        if found is None:
            raise Refusal("NAME_UNKNOWN")
        return found

    def repositories(self, after: str, limit: int) -> list[str]:
        assert 0 <= limit < 100_000
        return sorted(name for name, one in self.all.items() if one.manifests and name > after)[:limit]

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        assert 0 <= limit < 100_000
        return sorted(tag for tag in self._have(repository).tags if tag > after)[:limit]

    def manifest(self, repository: str, reference: str) -> Document:
        found = self._have(repository)
        assert isinstance(reference, Digest) or _TAG.fullmatch(reference), reference
        digest = reference if isinstance(reference, Digest) else found.tags.get(reference)
        if digest is None or digest not in found.manifests:
            raise Refusal("MANIFEST_UNKNOWN")
        return found.manifests[digest]

    def put_manifest(self, repository: str, document: Document, tags: Sequence[str]) -> None:
        assert Digest.of(document.data, document.digest.algorithm) == document.digest
        assert all(_TAG.fullmatch(tag) for tag in tags)
        have = self.repository(repository)
        if is_manifest(document.media_type):
            config, *layers = children(document.media_type, document.data)
            for child in (config, *(() if self.sparse else layers)):
                if child.digest not in have.blobs and "nondistributable" not in child.media_type:
                    raise Refusal("MANIFEST_BLOB_UNKNOWN", str(child.digest))
        have.manifests[document.digest] = document
        for tag in tags:
            have.tags[tag] = document.digest

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        found = self._have(repository)
        if found.manifests.pop(digest, None) is None:
            raise Refusal("MANIFEST_UNKNOWN")
        for tag in [tag for tag, leads in found.tags.items() if leads == digest]:
            del found.tags[tag]

    def delete_tag(self, repository: str, tag: str) -> None:
        if self._have(repository).tags.pop(tag, None) is None:
            raise Refusal("MANIFEST_UNKNOWN")

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        found = []
        for one in self._have(repository).manifests.values():
            if is_manifest(one.media_type):
                manifest = parse_manifest(one.data, one.media_type)
                subject, kind = manifest.subject, manifest.artifact_type or manifest.config.media_type
                notes = manifest.annotations
            elif is_index(one.media_type):
                index = parse_index(one.data, one.media_type)
                subject, kind, notes = index.subject, index.artifact_type, index.annotations
            else:
                continue
            if subject is not None and subject.digest == digest:
                found.append(Descriptor(one.media_type, one.digest, len(one.data), artifact_type=kind, annotations=notes))
        return found

    def blob(self, repository: str, digest: Digest) -> Stored:
        assert isinstance(digest, Digest)
        found = self._have(repository).blobs.get(digest)
        if found is None:
            raise Refusal("BLOB_UNKNOWN")
        return Stored(digest, len(found))

    def open_blob(self, repository: str, digest: Digest, start: int, stop: int) -> MemoryReader:
        size = self.blob(repository, digest).size
        assert 0 <= start < stop <= size
        self.calls.append(f"open {start} {stop}")
        return MemoryReader(self, self._have(repository).blobs[digest][start:stop], digest in self.spoilt)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        if self._have(repository).blobs.pop(digest, None) is None:
            raise Refusal("BLOB_UNKNOWN")

    def mount(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> Stored | None:
        names = [source] if source is not None else list(self.all)
        for name in names:
            if (one := self.all.get(name)) is not None and digest in one.blobs and may_pull(name):
                self.repository(repository).blobs[digest] = one.blobs[digest]
                return Stored(digest, len(one.blobs[digest]))
        return None

    def begin_upload(self, repository: str) -> str:
        self.repository(repository)
        upload_id = f"u{next(self._numbers):08d}"
        self.uploads[upload_id] = MemoryUpload(self, repository, upload_id)
        return upload_id

    def upload(self, repository: str, upload_id: str) -> Held:
        assert re.fullmatch(r"[\w-]+", upload_id, re.ASCII)
        return Held(self, repository, upload_id)

    def hold(self, repository: str, upload_id: str) -> MemoryUpload:
        """The upload, for whoever asks first."""
        found = self.uploads.get(upload_id)
        if found is None or found.repository != repository:
            raise Refusal("BLOB_UPLOAD_UNKNOWN")
        with self._condition:
            if found.held:
                raise Refusal("TOOMANYREQUESTS")
            found.held = True
            self.held.add(found.id)
            self._condition.notify_all()
        return found


class Held:
    """What holds an upload: no generator, which would let go by itself when it is forgotten."""

    def __init__(self, owner: Memory, *names: str) -> None:
        self._owner, self._names = owner, names

    def __enter__(self) -> MemoryUpload:
        self._upload = self._owner.hold(*self._names)
        return self._upload

    def __exit__(self, *problem: object) -> None:
        assert problem == (None, None, None) or isinstance(problem[1], Exception)
        assert self._upload.held
        self._upload.held = False
        self._owner.held.remove(self._upload.id)
