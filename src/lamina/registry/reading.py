"""A blob as it comes over the line: from any offset, and on from where it was when the line was cut.

The reader does not hash: whoever consumes verifies.  It does hold the length against the descriptor's, and what the
registry says of a range against what was asked for, so that two answers are never joined at the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from lamina.errors import LaminaError, NotFound, RegistryError, RegistryUnavailable, SizeMismatch
from lamina.oci import Descriptor
from lamina.registry.documents import Headers, content_length, content_type

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})")
# Bytes that count as progress: 64 KiB, of small blobs a 64th.  A registry that gives one byte with every connection
# would otherwise be asked a thousand million times for a layer of 1 GB.
_PROGRESS = 64 << 10
_PARTS = 64
# How much of a surplus is looked for, so that the connection can be used again.
_PROBE = 1


class _NoRangesError(Exception):
    """The registry refuses the range; the whole may be had.  Never leaves this module."""


class Answer(Protocol):
    """What a reader needs of `Response`."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    def readinto(self, buffer: memoryview, /) -> int: ...
    def close(self) -> None: ...


class Opener(Protocol):
    """GET of the blob from `offset` on (up to but not including `end`), at one place: an answer of 200, 206 or 416;
    `NotFound`, `RegistryError`."""

    def __call__(self, offset: int, end: int | None = None, /) -> Answer: ...


def content_range(headers: Headers, start: int, where: object) -> tuple[int, int | None]:
    """The last byte that a 206 brings, and the size of the whole where it is told; `RegistryError` unless it begins at
    `start`."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != start or int(found[2]) < start:
        raise RegistryError(f"the registry sends another range than bytes {start} on", where)
    return int(found[2]), None if found[3] == "*" else int(found[3])


def check_encoding(headers: Headers, where: object) -> None:
    """Refuse what has a Content-Encoding: its bytes are not the blob's."""
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise RegistryError("the registry sends a blob in another encoding", where, "its bytes cannot be had as they are")


class BlobReader:
    """One blob, read through the first of `places` that has it; nothing is asked before the first `readinto`.

    `NotFound`: it has vanished.  `SizeMismatch`: it is longer or shorter than its descriptor says.
    `RegistryUnavailable`: cut off `attempts` times without progress.  `RegistryError`: ranges that make no sense.
    """

    def __init__(self, descriptor: Descriptor, places: Sequence[Opener], attempts: int,
                 pause: Callable[[int], None]) -> None:
        self._descriptor, self._places = descriptor, list(places)
        self._attempts, self._pause = attempts, pause
        self._at = 0
        self._answer: Answer | None = None
        self._failures, self._counted_from = 0, 0
        self._step = min(_PROGRESS, max(1, descriptor.size // _PARTS))
        self._ranges = True
        self._closed = False
        self._error: SizeMismatch | None = None

    @property
    def size(self) -> int:
        return self._descriptor.size

    def start_at(self, offset: int) -> None:
        """Begin with the byte at `offset` (`Resumable`)."""
        if not 0 <= offset <= self.size or self._answer is not None:
            raise ValueError(f"cannot start at {offset} of {self.size} bytes")
        self._at = self._counted_from = offset

    def readinto(self, buffer: memoryview, /) -> int:
        if self._closed:
            raise ValueError("the reader is closed")
        if self._error is not None:
            raise self._error
        while self._at < self.size:
            count = self._advance(buffer[: self.size - self._at])
            if count:
                return count
        self._check_end()
        return 0

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _advance(self, buffer: memoryview) -> int:
        """Bytes for the caller, or 0 where the line was cut and there is patience left."""
        try:
            if self._answer is None:
                self._open(buffer)
            assert self._answer is not None
            count = self._answer.readinto(buffer)
        except RegistryUnavailable as error:
            self._cut(error)
            return 0
        if not count:
            self._cut(RegistryUnavailable("the registry broke off", self._descriptor.digest))
            return 0
        self._at += count
        if self._at - self._counted_from >= self._step:
            self._failures, self._counted_from = 0, self._at
        return count

    def _cut(self, error: RegistryUnavailable) -> None:
        self._drop()
        self._failures += 1
        if self._failures >= self._attempts:
            if len(self._places) == 1:
                what = f"{error.what} after {self._at} of {self.size} bytes"
                raise RegistryUnavailable(what, self._descriptor.digest, error.hint or "try again") from error
            self._places.pop(0)
            self._failures = 0
        elif self._failures > 1:  # The first time at once: a connection that has idled too long is cut, too.
            self._pause(self._failures - 1)

    def _open(self, scratch: memoryview) -> None:
        """Have an answer whose next byte is the one at `_at`; `scratch` takes what was had before."""
        while True:
            try:
                self._answer = self._places[0](self._at if self._ranges else 0)
                skip = self._start()
                break
            except _NoRangesError:
                self._drop()
                self._ranges = False
            except RegistryUnavailable:
                raise
            except LaminaError as error:
                self._drop()
                if len(self._places) == 1 or not isinstance(error, RegistryError | NotFound | SizeMismatch):
                    raise
                self._places.pop(0)
        while skip:
            count = self._answer.readinto(scratch[:skip])
            if not count:
                raise RegistryUnavailable("the registry broke off", self._descriptor.digest)
            skip -= count

    def _start(self) -> int:
        """Check the head of an answer; how many bytes of it come before the one at `_at`."""
        assert self._answer is not None
        status, headers, digest = self._answer.status, self._answer.headers, self._descriptor.digest
        check_encoding(headers, digest)
        if status == 416:
            self._refused_range(headers)
        if status == 206:
            self._check_range(headers)
            return 0
        if content_type(headers) == "text/html":
            raise RegistryError("what answers is not a registry: it sends HTML", digest)
        self._check_length(content_length(headers))
        return self._at

    def _refused_range(self, headers: Headers) -> NoReturn:
        """416: the blob is shorter, or the registry has no ranges."""
        found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
        if not self._ranges or (found is not None and int(found[1]) < self.size):
            raise SizeMismatch(f"blob ends before byte {self._at} of {self.size}", self._descriptor.digest)
        raise _NoRangesError

    def _check_range(self, headers: Headers) -> None:
        last, total = content_range(headers, self._at, self._descriptor.digest)
        if last >= self.size:
            raise SizeMismatch(f"blob has more than {self.size} bytes", self._descriptor.digest)
        self._check_length(total)

    def _check_length(self, length: int | None) -> None:
        if length is None or length == self.size:
            return
        what = f"blob has {length} bytes instead of {self.size}"
        if length > self.size:
            raise SizeMismatch(what, self._descriptor.digest)
        raise RegistryUnavailable(what, self._descriptor.digest)  # Cut short by what stands between, perhaps.

    def _check_end(self) -> None:
        """See that nothing follows; only so is the connection free for the next."""
        if self._answer is None:
            return
        try:
            surplus = self._answer.readinto(memoryview(bytearray(_PROBE)))
        except RegistryUnavailable:
            surplus = 0  # All that was wanted has come; how the rest ends is not asked.
        finally:
            self._drop()
        if surplus:
            self._error = SizeMismatch(f"blob has more than {self.size} bytes", self._descriptor.digest)
            raise self._error

    def _drop(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()
