"""Compression of frames: `none`, or `zstd` with a level."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import zstandard

from lamina.errors import StoreDamaged, UsageError
from lamina.store.layout import FRAME_BYTES, RAW, ZSTD

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Compression:
    """How new frames are stored; `level` 0 stores them as they are.  `frame_bytes`: the most that a frame has."""

    level: int = 1
    frame_bytes: int = FRAME_BYTES

    @classmethod
    def parse(cls, text: str) -> Compression:
        """`none`, `zstd` or `zstd:N` with N in 1..19; `UsageError`."""
        name, colon, level = text.partition(":")
        if text == "none":
            return cls(0)
        if name == "zstd" and (not colon or (level.isascii() and level.isdigit() and 1 <= int(level) <= 19)):
            return cls(int(level or 1))
        raise UsageError(f"unknown compression {text!r}", hint="use none, zstd, or zstd:1 to zstd:19")

    def encode(self, plain: memoryview) -> tuple[int, bytes | memoryview]:
        """(codec, stored bytes).  What does not shrink by a sixteenth is left as it is: it would cost every read."""
        if self.level == 0 or not plain:
            return RAW, plain
        compressors: dict[Compression, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
        compressor = compressors.get(self)
        if compressor is None:
            # No checksum inside: the record has one.  The size stands in the record header too.
            compressor = zstandard.ZstdCompressor(compression_params=parameters(self.level, self.frame_bytes))
            compressors[self] = compressor
        stored = compressor.compress(plain)
        if len(stored) > len(plain) - len(plain) // 16:
            return RAW, plain
        return ZSTD, stored

    @property
    def memory(self) -> int:
        """Bytes that each thread which compresses needs, beside the frames."""
        return parameters(self.level, self.frame_bytes).estimated_compression_context_size() if self.level else 0


def parameters(level: int, frame_bytes: int = FRAME_BYTES, **own: int) -> zstandard.ZstdCompressionParameters:
    """zstd's own for a frame of this size; at level 1 matches from 6 bytes on (FORMAT.md, "Sizes of frames").

    In large frames the window is all of the frame, and levels 7 to 12 take matches from 4 bytes on, not 5: 0.8 % smaller in
    the same time.
    """
    chosen = {"min_match": 6} if level == 1 else {}
    if frame_bytes > FRAME_BYTES:
        chosen["window_log"] = (frame_bytes - 1).bit_length()
        if 7 <= level <= 12:
            chosen["min_match"] = 4
    return zstandard.ZstdCompressionParameters.from_level(level, source_size=frame_bytes, write_checksum=False, **chosen | own)


def decode(codec: int, stored: bytes | memoryview, plain: int, where: str) -> bytes | memoryview:
    """The plain bytes of a record whose checksum has been found right."""
    if codec == RAW and len(stored) == plain:
        return stored
    data = bytearray(plain)
    decode_into(codec, memoryview(stored), memoryview(data), where)
    return memoryview(data)


def decode_into(codec: int, stored: memoryview, plain: memoryview, where: str) -> None:
    """The same, to where they are wanted."""
    if codec == RAW:
        count = len(stored)
        if count == len(plain):
            plain[:] = stored
    elif codec == ZSTD:
        if not hasattr(_local, "decompressor"):
            _local.decompressor = zstandard.ZstdDecompressor()
        try:
            count = zstandard.frame_content_size(stored)
            if count == len(plain) > 0:  # else a frame may be a bomb: its own word goes above the limit
                # As large as its frame says: zstd writes straight into it, through no window of its own.
                reader = _local.decompressor.stream_reader(stored, read_size=len(stored))
                count = reader.readinto(plain)
        except zstandard.ZstdError as error:
            raise StoreDamaged(f"a frame cannot be decompressed ({error})", where, "run lamina verify") from error
    else:
        raise StoreDamaged(f"a frame has the unknown codec {codec}", where, "use a newer lamina")
    if count != len(plain):
        raise StoreDamaged("a frame has another length than its header says", where, "run lamina verify")
