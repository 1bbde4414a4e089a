"""Digests: `algorithm:hex`, as the OCI image specification (descriptor.md, "Digests") has them."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol, Self

from lamina.errors import InvalidDigest

# Registered algorithms that this build can compute, with the length of their hex form.
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}

_GRAMMAR = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+")
_HEX = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """What `hashlib` objects do; `update` releases the GIL for buffers above 2 KiB."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class Digest(str):
    """A checked digest; compares and hashes as its text.  Raises `InvalidDigest` for anything else."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if type(text) is cls:
            return text
        if not isinstance(text, str) or len(text) > 512 or not _GRAMMAR.fullmatch(text):
            raise InvalidDigest(f"not a digest: {str(text)[:80]!r}", hint="expected algorithm:hex")
        algorithm, _, value = text.partition(":")
        length = ALGORITHMS.get(algorithm)
        if length is None:
            raise InvalidDigest(f"unknown digest algorithm {algorithm!r}", text[:80],
                                f"known are {', '.join(ALGORITHMS)}")
        if len(value) != length or not _HEX.fullmatch(value):
            raise InvalidDigest(f"not a {algorithm} digest: {text[:160]!r}",
                                hint=f"expected {length} lower-case hex digits")
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.hex)

    def hasher(self) -> Hasher:
        """A fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Self:
        """The digest of bytes in memory."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @classmethod
    def done(cls, algorithm: str, hasher: Hasher) -> Self:
        """The digest that a hasher has come to."""
        return cls(f"{algorithm}:{hasher.hexdigest()}")
