"""Content and references, wherever they lie: the one interface of archives, layouts, registries and the store.

A *source* resolves names and fetches blobs by descriptor; a *target* is a source that can also be pushed
to.  `lamina.content.copy.copy_graph` moves a graph from any source to any target, leaves first, tag last.

Blobs are read through `Reader`: sequential, into the caller's buffer, so that a large layer costs one
buffer and no fresh memory.  A reader over a region of an open file says so (`FileRegion`): the consumer
may then `pread` it where and when it likes, from several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from lamina.digest import Digest
from lamina.oci import Descriptor


class Reader(Protocol):
    """Bytes in order.  Not thread-safe."""

    @property
    def size(self) -> int | None:
        """Bytes in all, or None where only the end will tell."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill up to len(buffer) bytes; 0 only at the end.  A short read that is not the end is fine."""

    def close(self) -> None:
        """Let go of what is held; again is harmless."""


@runtime_checkable
class FileRegion(Protocol):
    """A reader whose bytes lie at `offset` .. `offset + size` of the open file `fd`."""

    fd: int
    offset: int

    @property
    def size(self) -> int: ...

    def readinto(self, buffer: memoryview, /) -> int: ...

    def close(self) -> None: ...


class Run(NamedTuple):
    """`length` bytes at `offset` of the open file `fd`."""

    fd: int
    offset: int
    length: int


@runtime_checkable
class FileRuns(Protocol):
    """A reader whose bytes lie in open files as they are, and need no check: a consumer may have the kernel send them."""

    def runs(self) -> Sequence[Run]:
        """Where, in order; good until it is closed."""

    @property
    def size(self) -> int: ...

    def readinto(self, buffer: memoryview, /) -> int: ...

    def close(self) -> None: ...


@runtime_checkable
class Resumable(Protocol):
    """A reader that can begin in the middle, where the beginning is had already (a registry's, by a range)."""

    def start_at(self, offset: int) -> None:
        """Begin with the byte at `offset`; called before the first `readinto`, if at all."""

    @property
    def size(self) -> int | None: ...

    def readinto(self, buffer: memoryview, /) -> int: ...

    def close(self) -> None: ...


class Source(Protocol):
    """Where content and references can be had."""

    def resolve(self, reference: str) -> Descriptor:
        """What a tag or digest leads to; `NotFound`."""

    def fetch(self, descriptor: Descriptor) -> Reader:
        """The blob or manifest, not yet verified (the one who consumes verifies).

        `NotFound` comes from here, not from the first read: `copy_graph` opens and closes to ask.
        """

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        """All (name, descriptor) pairs, in the order in which they stand; a nameless root has name ''."""


@runtime_checkable
class ReferrerSource(Protocol):
    """A source that also knows what was said of a manifest: the other way round, from subject to referrer."""

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """The manifests and indexes whose `subject` is `descriptor`'s digest, each once; none for what is not there.

        Each with its artifact type and annotations, as a registry lists it (distribution specification, "Listing Referrers").
        """


class Target(Source, Protocol):
    """A source that can be pushed to.  Pushes may come from several threads."""

    def exists(self, descriptor: Descriptor) -> bool:
        """Whether the blob is whole and there: then its push can be left out."""

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        """Take in one blob or manifest; verifies size and digest: `SizeMismatch`, `DigestMismatch`.

        A manifest is pushed after what it names.
        """

    def tag(self, descriptor: Descriptor, reference: str) -> None:
        """Let a name lead to what has been pushed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What an intake has come to: the digest and size of the bytes that it keeps.

    `cut`: they are a tar that ends in the middle of a file.
    """

    digest: Digest
    size: int
    cut: bool = False


class Intake(Protocol):
    """A target that also takes what has no name or no known size yet (a stream's members, layers packed in an archive)."""

    def known(self, digest: Digest) -> Taken | None:
        """The blob of that digest, if it is whole and there."""

    def intake(self, reader: Reader, *, plain: bool, expect: Digest | None = None) -> Taken:
        """Take in one blob of unknown name or size, held by the session, without a name until something claims it.

        With `plain`, gzip, zstd, xz and bzip2 are seen through and the plain bytes are kept; `expect` is the digest
        of what is kept (`DigestMismatch`).
        """
