"""Compressed streams, read as what they hold: gzip, zstd, xz and bzip2, told apart by their first bytes.

`InflatingReader` puts the plain bytes of a compressed reader behind the same `Reader` interface.  Members,
frames and streams that follow one another are one content, as gzip(1), zstd(1) and xz(1) have it.  Memory is
bounded whatever the input says: a window of at most 128 MiB for zstd, 128 MiB for xz, the input buffer, and
one piece of output.

The libraries are imported when a stream needs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from gzip import BadGzipFile
from typing import IO, BinaryIO, Literal, Protocol, cast

from lamina.content import FileRegion, Reader
from lamina.errors import InvalidContent, LaminaError, LimitExceeded

Kind = Literal["", "gzip", "zstd", "xz", "bzip2"]

# As many first bytes as `sniff` wants to see.
SNIFF_SIZE = 10

# 64 and 256 KiB of input measure the same as this; below 32 KiB the calls begin to show.
_INPUT_SIZE = 128 * 1024
# Pieces of output that stay in the second-level cache, each an object of its own.
_OUTPUT_SIZE = 64 * 1024
_MAX_WINDOW = 128 << 20
_XZ_MEMORY = 128 << 20

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")


def sniff(head: bytes) -> Kind:
    """The compression that the first `SNIFF_SIZE` bytes of a content show, or ''."""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    if head[:4] == _ZSTD_MAGIC or (head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5):
        return "zstd"
    if head[:6] == b"\xfd7zXZ\x00":
        return "xz"
    # A tar may well begin with a file named BZh9: the block's own magic tells.
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS:
        return "bzip2"
    return ""


class PrefixReader:
    """Bytes that have been read already, then the rest of `reader`, which is closed with this one."""

    def __init__(self, head: bytes, reader: Reader) -> None:
        self._head = memoryview(head)
        self._reader = reader
        self._size = reader.size

    @property
    def size(self) -> int | None:
        return self._size

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._head:
            return self._reader.readinto(buffer)
        count = min(len(self._head), len(buffer))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count

    def close(self) -> None:
        self._head = memoryview(b"")
        self._reader.close()


def read_up_to(reader: Reader, size: int) -> bytes:
    """The next `size` bytes of `reader`, fewer only at its end."""
    buffer = memoryview(bytearray(size))
    filled = 0
    while filled < size and (count := reader.readinto(buffer[filled:])):
        filled += count
    return bytes(buffer[:filled])


def peek(reader: Reader, size: int = SNIFF_SIZE) -> tuple[bytes, Reader]:
    """The first bytes of a fresh reader, and a reader that still has them (a region of a file stays one)."""
    if isinstance(reader, FileRegion):
        return os.pread(reader.fd, min(size, reader.size), reader.offset), reader
    head = read_up_to(reader, size)
    return head, PrefixReader(head, reader)


class InflatingReader:
    """The plain bytes of `reader`, which holds data compressed as `kind` and is closed with this one.

    `where` names the data in errors: `InvalidContent` for data that are damaged, end too early or have
    something else after them (zeros after gzip and xz are padding), `LimitExceeded` for a window beyond 128 MiB.
    """

    def __init__(self, reader: Reader, kind: Kind, where: object = "") -> None:
        if kind not in _OPENERS:
            raise ValueError(f"no compression: {kind!r}")
        self._reader = reader
        self._plain: _Plain | None = _OPENERS[kind](reader, kind, where)

    @property
    def size(self) -> None:
        return None

    def readinto(self, buffer: memoryview, /) -> int:
        if self._plain is None:
            raise ValueError("read of a closed reader")
        return self._plain.readinto(buffer) if len(buffer) else 0

    def close(self) -> None:
        self._plain = None
        self._reader.close()


class _Plain(Protocol):
    """What one library makes of a compressed reader."""

    def readinto(self, buffer: memoryview, /) -> int: ...


class _Decoder(Protocol):
    """The interface that the decompressors of xz and bzip2 share: one stream each."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: memoryview | bytes, /, max_length: int) -> bytes: ...


class _Members:
    """Streams of xz or bzip2, one after another.  `padded` says whether zeros may stand after each."""

    def __init__(
        self,
        reader: Reader,
        kind: Kind,
        where: object,
        *,
        make: Callable[[], _Decoder],
        failures: tuple[type[Exception], ...],
        padded: bool,
    ) -> None:
        self._reader, self._kind, self._where = reader, kind, where
        self._make, self._failures, self._padded = make, failures, padded
        self._buffer = memoryview(bytearray(_INPUT_SIZE))
        self._decoder: _Decoder | None = None
        self._rest = b""
        self._begun = False

    def readinto(self, buffer: memoryview, /) -> int:
        while True:
            decoder = self._decoder or self._next_member()
            if decoder is None:
                return 0
            data = self._input() if decoder.needs_input else b""
            try:
                plain = decoder.decompress(data, min(len(buffer), _OUTPUT_SIZE))
            except self._failures as error:
                raise _refused(self._kind, self._where, error) from error
            if decoder.eof:
                self._rest, self._decoder, self._begun = decoder.unused_data, None, True
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)

    def _input(self) -> memoryview | bytes:
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        count = self._reader.readinto(self._buffer)
        if not count:
            raise _too_short(self._kind, self._where)
        return self._buffer[:count]

    def _next_member(self) -> _Decoder | None:
        """The decoder of what comes next, or None at the clean end."""
        while True:
            if self._padded and self._begun:
                self._rest = self._rest.lstrip(b"\0")
            if len(self._rest) >= SNIFF_SIZE:
                break
            count = self._reader.readinto(self._buffer)
            if not count:
                break
            self._rest += bytes(self._buffer[:count])
        if self._rest or not self._begun:
            if self._begun and sniff(self._rest) != self._kind:
                raise _something_after(self._kind, self._where)
            self._decoder = self._make()
        return self._decoder


class _GzipInput:
    """A reader as the library's wants it."""

    read = None  # by this name alone it tells a file from bytes

    def __init__(self, reader: Reader) -> None:
        self._reader, self.begun = reader, False

    def readinto(self, room: memoryview) -> int:
        # Before isal 1.9 the library's buffer grew with a header whose end it did not see.
        if len(room) > _INPUT_SIZE:
            raise OverflowError("the header does not end")
        count = self._reader.readinto(room)
        self.begun = self.begun or count > 0
        return count


class _Gzip:
    """Members of gzip, one after another, with their checksums; zeros after each are padding.

    The library's own reader of files inflates straight to where the bytes are wanted, without the interpreter's lock: a pull
    of 1.8 GB takes 0.88 of the time that it took by 64 KiB, each an object.
    """

    def __init__(self, reader: Reader, kind: Kind, where: object) -> None:
        from isal import isal_zlib

        self._where = where
        self._failures = cast(type[Exception], isal_zlib.error), BadGzipFile, OverflowError
        self._input = _GzipInput(reader)
        self._plain = isal_zlib._GzipReader(cast(BinaryIO, self._input), _INPUT_SIZE)

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = self._plain.readinto(buffer)
            if not self._input.begun:
                raise EOFError
            return count
        except EOFError as error:
            raise _too_short("gzip", self._where) from error
        except self._failures as error:
            if self._plain.tell() and str(error).startswith("Not a gzipped file"):
                raise _something_after("gzip", self._where) from error
            if str(error).startswith("CRC"):
                raise InvalidContent("damaged gzip data (a wrong checksum)", self._where, "get the file again") from error
            raise _refused("gzip", self._where, error) from error


def _open_xz(reader: Reader, kind: Kind, where: object) -> _Plain:
    import lzma

    def make() -> _Decoder:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    return _Members(reader, kind, where, make=make, failures=(lzma.LZMAError,), padded=True)


def _open_bzip2(reader: Reader, kind: Kind, where: object) -> _Plain:
    import bz2

    make, failures = bz2.BZ2Decompressor, (OSError, ValueError)
    return _Members(reader, kind, where, make=make, failures=failures, padded=False)


class _ZstdFrames:
    """Follows the frames of a zstd stream by their headers (RFC 8878, section 3.1), decompressing nothing.

    The library does not say whether its input ended inside a frame; this does.  One step for each block, of
    128 KiB plain at most.
    """

    def __init__(self, where: object) -> None:
        self._where = where
        self._begun = False
        self._checksum = 0
        self._expect(4, self._magic)
        self._pass = 0

    def feed(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            count = min(self._pass, end - at)
            if count:
                self._pass -= count
            else:
                count = min(self._want - len(self._head), end - at)
                self._head += data[at : at + count]
            at += count
            if len(self._head) == self._want and not self._pass:
                self._step(bytes(self._head))

    @property
    def whole(self) -> bool:
        """Whether the bytes so far end where a frame ends."""
        return self._begun and self._step == self._magic and not self._head and not self._pass

    def _expect(self, want: int, step: Callable[[bytes], None], over: int = 0) -> None:
        """Collect `want` bytes for `step`, after passing over `over`."""
        self._head, self._want, self._step, self._pass = bytearray(), want, step, over

    def _magic(self, head: bytes) -> None:
        if head == _ZSTD_MAGIC:
            self._begun = True
            self._expect(1, self._descriptor)
        elif head[1:] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5:
            self._begun = True
            self._expect(4, lambda size: self._expect(4, self._magic, int.from_bytes(size, "little")))
        else:
            raise _something_after("zstd", self._where)

    def _descriptor(self, head: bytes) -> None:
        flags = head[0]
        single = flags >> 5 & 1
        size = (1 if single else 0, 2, 4, 8)[flags >> 6]
        self._checksum = 4 if flags & 4 else 0
        rest = (0 if single else 1) + (0, 1, 2, 4)[flags & 3] + size
        self._expect(3, self._block, rest)

    def _block(self, head: bytes) -> None:
        value = int.from_bytes(head, "little")
        kind, size = value >> 1 & 3, value >> 3
        length = 1 if kind == 1 else size
        if value & 1:
            self._expect(4, self._magic, length + self._checksum)
        else:
            self._expect(3, self._block, length)


class _ZstdInput:
    """Compressed bytes as the library asks for them."""

    def __init__(self, reader: Reader, where: object) -> None:
        self._reader, self._where = reader, where
        self._buffer = memoryview(bytearray(_INPUT_SIZE))
        self._frames = _ZstdFrames(where)

    def read(self, size: int) -> bytes:
        count = self._reader.readinto(self._buffer[:size])
        if not count and not self._frames.whole:
            raise _too_short("zstd", self._where)
        data = bytes(self._buffer[:count])
        self._frames.feed(data)
        return data


class _Zstd:
    """zstd frames, one after another."""

    def __init__(self, reader: Reader, kind: Kind, where: object) -> None:
        import zstandard

        self._kind, self._where = kind, where
        self._failure = zstandard.ZstdError
        decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        source = cast(IO[bytes], _ZstdInput(reader, where))
        self._stream = decoder.stream_reader(source, _INPUT_SIZE, read_across_frames=True, closefd=False)

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return self._stream.readinto(buffer)
        except self._failure as error:
            raise _refused(self._kind, self._where, error) from error


_OPENERS: dict[str, Callable[[Reader, Kind, object], _Plain]] = {
    "gzip": _Gzip,
    "zstd": _Zstd,
    "xz": _open_xz,
    "bzip2": _open_bzip2,
}


def _refused(kind: Kind, where: object, error: Exception) -> LaminaError:
    # Neither zstd nor xz has an error of its own for this; "memory" stands in both messages and in no other.
    if "memory" in str(error).lower():
        hint = "compress them again with a smaller one"
        return LimitExceeded(f"{kind} data with a window beyond 128 MiB", where, hint)
    return InvalidContent(f"damaged {kind} data ({str(error).lower()})", where, "get the file again")


def _too_short(kind: Kind, where: object) -> InvalidContent:
    return InvalidContent(f"the {kind} data end too early", where, "the file is cut short: get it again")


def _something_after(kind: Kind, where: object) -> InvalidContent:
    return InvalidContent(f"something else follows the {kind} data", where, "get the file again")
