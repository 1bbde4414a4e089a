"""A source seen from above: documents are read once, readers tell how far they are, and the first failure ends all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock

from lamina.content import FileRegion, Reader, Resumable, Source
from lamina.content.referrers import is_document, referrers_of
from lamina.content.verify import BytesReader, read_blob
from lamina.digest import Digest
from lamina.errors import LaminaError, RegistryError
from lamina.oci import MAX_BYTES, Descriptor, is_config

# Documents that are kept, in all: an index of 40 images and what it names is some 200 KB.
MAX_KEPT = 32 << 20

Advanced = Callable[[Digest, int], None]


class Watched:
    """A `Source` over another one, for one transfer.

    Manifests, indexes and configs are read once, or had from `local` (what is at hand already), which gives None for what it
    lacks.  The bytes of all else are told to `advanced` as they are read.  A `RegistryError`, or what `fail` is given, is
    raised by every reader and every `fetch` from then on: what runs beside it ends, too.
    """

    def __init__(self, source: Source, advanced: Advanced | None = None,
                 local: Callable[[Descriptor], bytes | None] | None = None) -> None:
        self._source, self._advanced, self._local = source, advanced, local
        self._lock = Lock()
        self._kept: dict[tuple[str, int], bytes] = {}
        self._size = 0
        self._failure: LaminaError | None = None

    def resolve(self, reference: str) -> Descriptor:
        return self._source.resolve(reference)

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        return self._source.references()

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        return referrers_of(self._source, descriptor)

    def fetch(self, descriptor: Descriptor) -> Reader:
        if (is_document(descriptor.media_type) or is_config(descriptor.media_type)) and descriptor.size <= MAX_BYTES:
            return BytesReader(self._document(descriptor))
        self.check()
        try:
            reader = self._source.fetch(descriptor)
        except RegistryError as error:
            self.fail(error)
            raise
        if isinstance(reader, FileRegion) and self._advanced is None:
            return reader  # its consumer reads the file itself
        kind = _ResumableReader if isinstance(reader, Resumable) else _WatchedReader
        return kind(self, reader, descriptor.digest, self._advanced)

    def fail(self, error: LaminaError) -> None:
        """See that all ends with this; the first one counts."""
        self._failure = self._failure or error

    def check(self) -> None:
        """Raise what has failed."""
        if self._failure is not None:
            raise self._failure

    def _document(self, descriptor: Descriptor) -> bytes:
        key = descriptor.digest, descriptor.size
        if (data := self._kept.get(key)) is not None:
            return data
        data = self._local(descriptor) if self._local is not None else None
        if data is None or len(data) != descriptor.size:
            data = read_blob(self._source, descriptor)
        with self._lock:
            if key not in self._kept and self._size + len(data) <= MAX_KEPT:
                self._kept[key] = data
                self._size += len(data)
        return data


class _WatchedReader:
    def __init__(self, source: Watched, reader: Reader, digest: Digest, advanced: Advanced | None) -> None:
        self._source, self._reader, self._digest, self._advanced = source, reader, digest, advanced

    @property
    def size(self) -> int | None:
        return self._reader.size

    @property
    def verifies(self) -> Descriptor | None:
        return getattr(self._reader, "verifies", None)

    def readinto(self, buffer: memoryview, /) -> int:
        self._source.check()
        try:
            count = self._reader.readinto(buffer)
        except RegistryError as error:
            self._source.fail(error)
            raise
        self._tell(count)
        return count

    def close(self) -> None:
        self._reader.close()

    def _tell(self, count: int) -> None:
        if self._advanced is not None and count:
            self._advanced(self._digest, count)


class _ResumableReader(_WatchedReader):
    """The same over a reader that can begin in the middle; what is skipped counts as read."""

    _reader: Resumable

    def start_at(self, offset: int) -> None:
        self._reader.start_at(offset)
        self._tell(offset)
