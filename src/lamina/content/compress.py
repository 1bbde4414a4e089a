"""Layers compressed on all cores while they are read: one gzip member, or frames of zstd.

The plain bytes are cut into pieces of one size that are compressed on their own, several at once, and delivered in their
order.  A gzip stream is a single member (RFC 1952) that every client takes: its pieces are joined by an empty stored block,
as a sync flush leaves it, and only the last one is final.  A zstd stream is one frame after another (RFC 8878, 3.1).

The same plain bytes, settings and versions of the libraries give the same compressed bytes, however many threads there are
and however the bytes were read.  Another version of a library may give others: who remembers a digest of what came out may
ask for it, but what is sent is named by the digest that it has.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.content import Reader
from lamina.errors import UsageError
from lamina.mediatypes import OCI_LAYER

if TYPE_CHECKING:
    import zstandard

# Ratios over a Python image (bench_compress.py): gzip loses 0.1 % at 256 KiB and nothing from 512 KiB on, whatever is given
# to a piece as its dictionary; zstd 3 loses 6 % at 1 MiB against 8 MiB, 2.5 % at 2 MiB, 1 % at 4 MiB.
GZIP_PIECE = 1 << 20
ZSTD_PIECE = 4 << 20
MOST_THREADS = 16
SPARE_PIECES = 2  # plain ones beyond one for each thread: being read, or next
# Compressed bytes at most that wait for the taker: one of the pieces that a registry is sent.
AHEAD = 16 << 20
MEMORY = 192 << 20  # of what all threads of a crew compress with

# ID, DEFLATE, no flags, time 0, no word of the level, system unknown (RFC 1952, 2.3).
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_RAW = -15  # zlib's word for DEFLATE without header and trailer, with a window of 32 KiB

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Packing:
    """How plain layers are compressed for their way out: `gzip` or `zstd` at a level, or `none`."""

    name: str
    level: int = 0

    @classmethod
    def parse(cls, text: str) -> Packing:
        """`none`, `gzip[:LEVEL]` with a level in 0..3 of ISA-L's, `zstd[:LEVEL]` with one in 1..19; `UsageError`."""
        name, colon, level = text.partition(":")
        if text == "none":
            return cls("none")
        if name in _LEVELS:
            default, levels = _LEVELS[name]
            if not colon:
                return cls(name, default)
            if level.isascii() and level.isdigit() and len(level) < 3 and int(level) in levels:
                return cls(name, int(level))
        raise UsageError(f"unknown compression {text[:80]!r}", hint="use gzip[:0 to 3], zstd[:1 to 19], or none")

    def __str__(self) -> str:
        """The settings in full; `parse` takes it."""
        return self.name if self.name == "none" else f"{self.name}:{self.level}"

    @property
    def version(self) -> str:
        """Of the library that makes the bytes: with another one they may be others."""
        if self.name == "gzip":
            import isal

            return f"isal {isal.__version__}"
        if self.name == "zstd":
            import zstandard

            return "zstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
        return ""

    @property
    def media_type(self) -> str:
        """OCI's, of a layer that has been compressed so."""
        return OCI_LAYER if self.name == "none" else f"{OCI_LAYER}+{self.name}"

    @property
    def piece(self) -> int:
        """Plain bytes that are compressed on their own."""
        return ZSTD_PIECE if self.name == "zstd" else GZIP_PIECE

    def crew(self, threads: int = 0) -> Crew:
        """Threads to compress with; 0 of them are as many as there are cores, where memory and sense allow."""
        each = 2 * self.piece
        if self.name == "zstd":
            each += _parameters(self.level).estimated_compression_context_size()
        return Crew(threads or max(1, min(os.cpu_count() or 1, MOST_THREADS, MEMORY // each)))

    def reader(self, reader: Reader, crew: Crew | None = None) -> Reader:
        """The compressed bytes of `reader`, which is closed with it."""
        if self.name == "gzip":
            return GzipReader(reader, self.level, crew)
        if self.name == "zstd":
            return ZstdReader(reader, self.level, crew)
        return reader


# Level 2 of ISA-L is as fast as 1 and 1 % smaller; 3 takes more than twice as long for 2 % (bench_compress.py).
_LEVELS = {"gzip": (2, range(4)), "zstd": (3, range(1, 20))}


class Crew:
    """Threads that several readers may share; a context manager that ends them."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "lamina-compress")
        self.submit = self._pool.submit

    def close(self) -> None:
        """End the threads; again is harmless."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _PiecesReader(ABC):
    """Pieces of a reader on their way through a crew, its own where none is given.

    A thread reads ahead: while a taker is busy sending, the crew is not to wait for it.  In memory are at most
    `crew.threads + SPARE_PIECES` plain pieces, and `crew.threads` compressed ones beside `AHEAD` bytes of them.  An error of
    the inner reader is raised where its bytes would have come, and again if read on.
    """

    def __init__(self, reader: Reader, packing: Packing, crew: Crew | None) -> None:
        self._reader, self._piece = reader, packing.piece
        self._crew = crew or packing.crew()
        self._own = crew is None
        self._rooms = self._crew.threads + SPARE_PIECES
        self._most_due = self._crew.threads + max(1, AHEAD // self._piece)
        self._count = 0  # plain bytes so far
        self._idle: list[bytearray] = []
        self._change = threading.Condition()  # of what follows
        self._due: deque[Future[bytes]] = deque()
        self._busy = 0  # plain pieces in the hands of the crew
        self._closing, self._ended = False, False
        self._failure: BaseException | None = None
        # What the taker alone knows.
        self._feeder: threading.Thread | None = None
        self._ready, self._over = memoryview(self._head()), False
        self._error: BaseException | None = None

    @property
    def size(self) -> int | None:
        """Only the end tells."""
        return None

    def readinto(self, buffer: memoryview, /) -> int:
        """The next compressed bytes."""
        if not len(buffer):
            raise ValueError("an empty buffer cannot tell the end")
        if self._error is not None:
            raise self._error
        try:
            while not self._ready and not self._over:
                self._take()
        except BaseException as error:
            self._error = error
            raise
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        """Stop what is on its way, and wait for it; close the inner reader."""
        self._ready, self._over = memoryview(b""), True
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._feeder is not None:
            self._feeder.join()
        wait([flying for flying in self._due if not flying.cancel()])
        self._due.clear()
        self._idle.clear()
        if self._own:
            self._crew.close()
        self._reader.close()

    # -- the thread that reads

    def _feed(self) -> None:
        """Send pieces off until the end, as many as may be on their way."""
        try:
            while self._may_go_on():
                room = self._idle.pop() if self._idle else bytearray(self._piece)
                plain = memoryview(room)
                count = 0
                while count < len(plain) and (step := self._reader.readinto(plain[count:])):
                    count += step
                # A piece that is not full is the last; where the bytes end with a full one, an empty one follows.
                last = count < len(plain)
                self._count += count
                self._seen(plain[:count])
                flying = self._crew.submit(self._pack, plain[:count], last)
                with self._change:
                    self._busy += 1
                    self._due.append(flying)
                    self._ended = last
                    self._change.notify_all()
                flying.add_done_callback(lambda _, room=room: self._returned(room))  # type: ignore[misc]
        except BaseException as failure:
            with self._change:
                self._failure = failure
                self._change.notify_all()

    def _may_go_on(self) -> bool:
        with self._change:
            self._change.wait_for(lambda: self._closing or self._ended or (
                self._busy < self._rooms and len(self._due) < self._most_due))
            return not (self._closing or self._ended)

    def _returned(self, room: bytearray) -> None:
        with self._change:
            self._busy -= 1
            self._idle.append(room)
            self._change.notify_all()

    # -- the one who takes

    def _take(self) -> None:
        """Wait for the piece that is due."""
        if self._feeder is None:
            self._feeder = threading.Thread(target=self._feed, name="lamina-feed", daemon=True)
            self._feeder.start()
        with self._change:
            self._change.wait_for(lambda: self._due or self._failure is not None)
            if not self._due:
                assert self._failure is not None
                raise self._failure
            flying = self._due.popleft()
            last = self._ended and not self._due
            self._change.notify_all()
        packed = flying.result()
        if last:
            self._over = True
            packed += self._tail()
        self._ready = memoryview(packed)

    def _head(self) -> bytes:
        return b""

    def _seen(self, plain: memoryview) -> None:  # noqa: B027 - most need not know
        """Told of each piece, in order, by the thread that reads."""

    @abstractmethod
    def _pack(self, plain: memoryview, last: bool) -> bytes:
        """One piece, in any thread."""

    def _tail(self) -> bytes:
        return b""


class GzipReader(_PiecesReader):
    """The bytes of `reader` as one gzip member, at ISA-L's `level` (0..3)."""

    def __init__(self, reader: Reader, level: int, crew: Crew | None = None) -> None:
        from isal import isal_zlib

        self._zlib, self._level, self._crc = isal_zlib, level, 0
        super().__init__(reader, Packing("gzip", level), crew)

    def _head(self) -> bytes:
        return _GZIP_HEADER

    def _seen(self, plain: memoryview) -> None:
        # Many GB a second, of bytes that have just come through the cache: not worth a thread.
        self._crc = self._zlib.crc32(plain, self._crc)

    def _pack(self, plain: memoryview, last: bool) -> bytes:
        packer = self._zlib.compressobj(self._level, self._zlib.DEFLATED, _RAW)
        return packer.compress(plain) + packer.flush(self._zlib.Z_FINISH if last else self._zlib.Z_SYNC_FLUSH)

    def _tail(self) -> bytes:
        return self._crc.to_bytes(4, "little") + (self._count & 0xFFFFFFFF).to_bytes(4, "little")


class ZstdReader(_PiecesReader):
    """The bytes of `reader` as frames of zstd at `level` (1..19), each with its size and without a checksum: a digest is
    held against all of them."""

    def __init__(self, reader: Reader, level: int, crew: Crew | None = None) -> None:
        self._level = level
        super().__init__(reader, Packing("zstd", level), crew)

    def _pack(self, plain: memoryview, last: bool) -> bytes:
        if last and not plain and self._count:
            return b""
        compressors: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
        if self._level not in compressors:
            import zstandard

            compressors[self._level] = zstandard.ZstdCompressor(compression_params=_parameters(self._level))
        return compressors[self._level].compress(plain)


def _parameters(level: int) -> zstandard.ZstdCompressionParameters:
    """zstd's own for a piece of this size."""
    import zstandard

    return zstandard.ZstdCompressionParameters.from_level(
        level, source_size=ZSTD_PIECE, write_checksum=False, write_content_size=True, threads=0)
