"""One large blob over several connections: pieces by ranges, given on in order.

It helps where a single connection is slower than the line: far registries, storage that limits each request.  Off unless
asked for: near by it costs a copy and a request for every 4 MiB, and gains nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from lamina.errors import RegistryError, RegistryUnavailable, SizeMismatch
from lamina.oci import Descriptor
from lamina.registry.reading import BlobReader, Opener, check_encoding, content_range

PIECE = 4 << 20
MAX_CONNECTIONS = 3
# Below this the first connection is through before the others have found their speed.
LEAST = 64 << 20

_PARTS = 64  # of a piece that count as progress, as in `reading`


class _NoRangesError(Exception):
    """The registry gives the whole where a part was asked for."""


@dataclass(slots=True, eq=False)
class _Piece:
    """Bytes `start` .. `end` of the blob on their way into a buffer; `done` of them are there."""

    start: int
    end: int
    buffer: memoryview
    done: int = 0
    arrived: Future[None] = field(default_factory=Future)


class ParallelReader:
    """As `BlobReader`, over up to `MAX_CONNECTIONS` connections and as many buffers of 4 MiB.  One place only.

    Where the registry has no ranges (200 in answer to one), it reads on over one connection.
    """

    def __init__(self, descriptor: Descriptor, place: Opener, attempts: int, pause: Callable[[int], None],
                 connections: int = MAX_CONNECTIONS) -> None:
        self._descriptor, self._place, self._attempts, self._pause = descriptor, place, attempts, pause
        self._connections = max(1, min(connections, MAX_CONNECTIONS))
        self._pool: ThreadPoolExecutor | None = None
        self._pieces: deque[_Piece] = deque()
        self._at = self._asked = 0
        self._alone: BlobReader | None = None
        self._closed = False

    @property
    def size(self) -> int:
        return self._descriptor.size

    def start_at(self, offset: int) -> None:
        """Begin with the byte at `offset` (`Resumable`)."""
        if not 0 <= offset <= self.size or self._pool is not None or self._alone is not None:
            raise ValueError(f"cannot start at {offset} of {self.size} bytes")
        self._at = self._asked = offset

    def readinto(self, buffer: memoryview, /) -> int:
        if self._closed:
            raise ValueError("the reader is closed")
        if self._alone is None:
            try:
                return self._front(buffer)
            except _NoRangesError:
                self._end()
                self._alone = BlobReader(self._descriptor, [self._place], self._attempts, self._pause)
                self._alone.start_at(self._at)
        return self._alone.readinto(buffer)

    def close(self) -> None:
        self._closed = True
        self._end()
        if self._alone is not None:
            self._alone.close()

    def _front(self, buffer: memoryview) -> int:
        """Bytes of the first piece that is not read, once it is whole."""
        if self._at == self.size:
            return 0
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._connections, "range")
            for _ in range(self._connections):
                self._ask(memoryview(bytearray(min(PIECE, self.size - self._at))))
        piece = self._pieces[0]
        piece.arrived.result()
        found = piece.buffer[self._at - piece.start : piece.end - piece.start][: len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        if self._at == piece.end:
            self._pieces.popleft()
            self._ask(piece.buffer)
        return len(found)

    def _ask(self, buffer: memoryview) -> None:
        """Have the next piece fetched into a buffer that is free."""
        piece = _Piece(self._asked, min(self._asked + len(buffer), self.size), buffer)
        if piece.start < piece.end and self._pool is not None:
            self._asked = piece.end
            self._pieces.append(piece)
            piece.arrived = self._pool.submit(self._fetch, piece)

    def _fetch(self, piece: _Piece) -> None:
        """All of a piece, in several answers if the line is cut."""
        length, failures = piece.end - piece.start, 0
        while piece.done < length and not self._closed:
            before, cut = piece.done, None
            try:
                self._some(piece, length)
            except RegistryUnavailable as error:
                cut = error
            failures = failures + 1 if piece.done - before < min(length - before, max(1, length // _PARTS)) else 0
            if failures >= self._attempts:
                raise cut or RegistryUnavailable("the registry broke off", self._descriptor.digest, "try again")
            if failures > 1:
                self._pause(failures - 1)

    def _some(self, piece: _Piece, length: int) -> None:
        """What one answer brings of a piece."""
        digest, start = self._descriptor.digest, piece.start + piece.done
        answer = self._place(start, piece.end)
        try:
            check_encoding(answer.headers, digest)
            if answer.status != 206:
                raise _NoRangesError
            last, total = content_range(answer.headers, start, digest)
            if last >= piece.end:
                raise RegistryError("the registry sends a longer range than was asked for", digest)
            if total is not None and total != self.size:
                raise SizeMismatch(f"blob has {total} bytes instead of {self.size}", digest)
            while piece.done < length and not self._closed:
                count = answer.readinto(piece.buffer[piece.done : length])
                if not count:
                    break
                piece.done += count
        finally:
            answer.close()

    def _end(self) -> None:
        """Let no thread write into a buffer any more: each is waited for, up to the time-out of a read."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        self._pieces.clear()


def worthwhile(descriptor: Descriptor, places: Sequence[Opener], connections: int) -> bool:
    """Whether several connections are asked for and can help."""
    return connections > 1 and descriptor.size >= LEAST and len(places) == 1
