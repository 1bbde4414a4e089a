"""Readers that check what passes through them, and small helpers to read whole documents."""

from __future__ import annotations

from typing import Self

from lamina.content import Reader, Source
from lamina.errors import DigestMismatch, LimitExceeded, SizeMismatch
from lamina.oci import MAX_BYTES, Descriptor

_STEP = 64 << 10


class BytesReader:
    """Bytes in memory as a `Reader`."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._rest = memoryview(data).cast("B")
        self._size = len(self._rest)

    @property
    def size(self) -> int:
        return self._size

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._rest = self._rest[:0]


class Check:
    """Counts and hashes bytes as they pass, and holds them against a descriptor."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._hasher = descriptor.digest.hasher()
        self._count = 0

    def announced(self, size: int | None) -> None:
        """What the reader says of itself; `SizeMismatch`."""
        wanted = self.descriptor
        if size is not None and size != wanted.size:
            raise SizeMismatch(f"blob has {size} bytes instead of {wanted.size}", wanted.digest)

    def update(self, data: memoryview) -> None:
        """The next bytes; `SizeMismatch` as soon as there are too many."""
        self._count += len(data)
        if self._count > self.descriptor.size:
            raise SizeMismatch(f"blob has more than {self.descriptor.size} bytes", self.descriptor.digest)
        self._hasher.update(data)

    def finish(self) -> None:
        """That was all: `SizeMismatch` for too few, `DigestMismatch`."""
        wanted = self.descriptor
        if self._count < wanted.size:
            raise SizeMismatch(f"blob ends after {self._count} of {wanted.size} bytes", wanted.digest)
        found = f"{wanted.digest.algorithm}:{self._hasher.hexdigest()}"
        if found != wanted.digest:
            raise DigestMismatch(f"blob has digest {found}", wanted.digest)


class VerifyingReader:
    """Passes bytes through and holds them against a descriptor.

    Reading raises `SizeMismatch` as soon as there are too many bytes, or too few at the end, and
    `DigestMismatch` at the end.  A return of 0 says that all is verified, so read until then: bytes before it
    are not to be trusted.  What has failed goes on failing.
    """

    def __init__(self, reader: Reader, descriptor: Descriptor) -> None:
        self._reader = reader
        self.verifies = descriptor
        self._check = Check(descriptor)
        self._error: Exception | None = None
        self.verified = False

    @property
    def size(self) -> int:
        return self.verifies.size

    def readinto(self, buffer: memoryview, /) -> int:
        if not len(buffer):
            raise ValueError("an empty buffer cannot tell the end")
        if self._error is not None:
            raise self._error
        if self.verified:
            return 0
        try:
            return self._advance(buffer)
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _advance(self, buffer: memoryview) -> int:
        self._check.announced(self._reader.size)
        count = self._reader.readinto(buffer)
        if count:
            self._check.update(buffer[:count])
            return count
        self._check.finish()
        self.verified = True
        return 0


def verifying(reader: Reader, descriptor: Descriptor) -> Reader:
    """The reader, verified as it is read: itself if it says that it holds its bytes against that size and digest (`verifies`).

    Hashing costs 0.7 CPU seconds a GB, and the store does it in a thread of its own.
    """
    verifies = getattr(reader, "verifies", None)
    if verifies is not None and (verifies.digest, verifies.size) == (descriptor.digest, descriptor.size):
        return reader
    return VerifyingReader(reader, descriptor)


def read_all(reader: Reader, limit: int) -> bytes:
    """Everything up to the end, which must come within `limit` bytes (`LimitExceeded`); does not close."""
    if reader.size is not None and reader.size > limit:
        raise LimitExceeded(f"content of {reader.size} bytes is too large", hint=f"at most {limit} are read")
    found = bytearray()
    # A byte more than is allowed: a full buffer then tells "too much" from "just enough".
    buffer = memoryview(bytearray(min(_STEP, limit + 1)))
    while count := reader.readinto(buffer):
        found += buffer[:count]
        if len(found) > limit:
            raise LimitExceeded("content is too large", hint=f"at most {limit} bytes are read")
    return bytes(found)


def read_blob(source: Source, descriptor: Descriptor, limit: int = MAX_BYTES) -> bytes:
    """A small blob (a manifest, a config), whole and verified; `NotFound`, `LimitExceeded`, `SizeMismatch`,
    `DigestMismatch`."""
    if descriptor.size > limit:
        raise LimitExceeded(f"document of {descriptor.size} bytes is too large", descriptor.digest,
                            f"at most {limit} are read")
    if descriptor.data is not None:
        return descriptor.data
    with VerifyingReader(source.fetch(descriptor), descriptor) as reader:
        return read_all(reader, limit)
