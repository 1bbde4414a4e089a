"""Compressed streams are seen through, whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tracemalloc
import zlib

import pytest
import zstandard

from lamina.content import inflate as inflate_module
from lamina.content.inflate import InflatingReader, PrefixReader, peek, read_up_to, sniff
from lamina.errors import InvalidContent, LimitExceeded

KINDS = ("gzip", "zstd", "xz", "bzip2")
PLAIN = random.Random(1).randbytes(70_000) + bytes(300_000) + b"the end"
COMPRESS = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


class Trickle:
    """A reader that hands out at most `step` bytes at a time and notes its closing."""

    def __init__(self, data: bytes, step: int = 1 << 20) -> None:
        self._data, self._step, self.closed, self.size = io.BytesIO(data), step, 0, len(data)

    def readinto(self, buffer: memoryview) -> int:
        return self._data.readinto(buffer[: self._step])

    def close(self) -> None:
        self.closed += 1


def inflate(data: bytes, kind: str, step: int = 1 << 20, into: int = 1 << 16) -> bytes:
    reader = InflatingReader(Trickle(data, step), kind, "layer.tar")
    out = bytearray()
    buffer = memoryview(bytearray(into))
    while count := reader.readinto(buffer):
        out += buffer[:count]
    assert reader.readinto(buffer) == 0
    reader.close()
    return bytes(out)


@pytest.mark.parametrize("kind", KINDS)
def test_sniff_knows_each(kind: str) -> None:
    assert sniff(COMPRESS[kind](b"data")) == kind
    assert sniff(COMPRESS[kind](b"")) == kind


@pytest.mark.parametrize("head", [b"", b"\x1f", b"BZh9", b"BZh9-a-file-of-a-tar", bytes(512), b"\xfd7zXX\x00"])
def test_sniff_takes_nothing_else(head: bytes) -> None:
    assert sniff(head) == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("step", "into"), [(1 << 20, 1 << 20), (1, 1 << 16), (7, 100), (512, 1 << 16)])
def test_any_split_gives_the_same(kind: str, step: int, into: int) -> None:
    assert inflate(COMPRESS[kind](PLAIN), kind, step, into) == PLAIN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1 << 20, 3])
def test_members_follow_one_another(kind: str, step: int) -> None:
    pack = COMPRESS[kind]
    data = pack(PLAIN) + pack(b"") + pack(b"second") + pack(PLAIN[:9])
    assert inflate(data, kind, step) == PLAIN + b"second" + PLAIN[:9]


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_seen(kind: str) -> None:
    data = COMPRESS[kind](b"some text " * 30) + COMPRESS[kind](b"more")
    whole = len(COMPRESS[kind](b"some text " * 30))
    for end in range(len(data)):
        if end != whole:
            with pytest.raises(InvalidContent, match=r"layer\.tar"):
                inflate(data[:end], kind)
    assert inflate(data[:whole], kind) == b"some text " * 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1 << 20, 1])
def test_garbage_after_the_data_is_refused(kind: str, step: int) -> None:
    with pytest.raises(InvalidContent, match=r"follows|unknown frame"):
        inflate(COMPRESS[kind](b"text") + b"garbage that is no member", kind, step)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_zeros_are_padding(kind: str) -> None:
    pack = COMPRESS[kind]
    assert inflate(pack(b"a") + bytes(300_000), kind) == b"a"
    assert inflate(pack(b"a") + bytes(512) + pack(b"b") + bytes(4), kind, 5) == b"ab"


@pytest.mark.parametrize("kind", ["zstd", "bzip2"])
def test_zeros_are_no_padding(kind: str) -> None:
    with pytest.raises(InvalidContent, match="follows"):
        inflate(COMPRESS[kind](b"a") + bytes(512), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_seen(kind: str) -> None:
    data = bytearray(COMPRESS[kind](PLAIN))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(InvalidContent):
        inflate(bytes(data), kind)


def test_skippable_zstd_frames() -> None:
    skippable = b"\x5e\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    pack = COMPRESS["zstd"]
    assert sniff(skippable) == "zstd"
    for step in (1, 1 << 20):
        assert inflate(skippable + pack(PLAIN) + skippable + pack(b"x") + skippable, "zstd", step) == PLAIN + b"x"
    with pytest.raises(InvalidContent, match="too early"):
        inflate(pack(b"x") + skippable[:-1], "zstd")


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("content_size", [True, False])
def test_zstd_headers_of_each_form(checksum: bool, content_size: bool) -> None:
    for size in (0, 1, 255, 256, 65_791, 65_792, 400_000):
        pack = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=content_size).compress
        plain = os.urandom(size)
        assert inflate(pack(plain) * 2, "zstd") == plain * 2
        with pytest.raises(InvalidContent, match="too early"):
            inflate(pack(plain)[:-1], "zstd")


def test_a_zstd_window_beyond_the_limit() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = stream.compress(b"x" * 1000) + stream.flush()
    with pytest.raises(LimitExceeded, match="128 MiB"):
        inflate(data, "zstd")


def test_an_xz_dictionary_beyond_the_limit() -> None:
    data = bytearray(lzma.compress(b"x" * 1000))
    # The block header: size, flags, filter LZMA2, one byte of properties (32: 256 MiB), padding, CRC-32.
    assert data[14:16] == b"\x21\x01"
    data[16] = 32
    data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    with pytest.raises(LimitExceeded, match="128 MiB"):
        inflate(bytes(data), "xz")


@pytest.mark.parametrize("step", [1 << 20, 1])
def test_gzip_headers_of_each_form(step: int) -> None:
    plain = gzip.compress(b"plain")
    extra, name, comment = b"\x04\x00abcd", b"layer.tar\0", b"a comment\0"
    for flags, fields in ((4, extra), (8, name), (16, comment), (1, b""), (28, extra + name + comment)):
        header = plain[:3] + bytes([flags]) + plain[4:10] + fields
        checked = header[:3] + bytes([flags | 2]) + header[4:]
        checked += (zlib.crc32(checked) & 0xFFFF).to_bytes(2, "little")
        for start in (header, checked):
            member = start + plain[10:]
            assert inflate(member * 2, "gzip", step) == b"plain" * 2
            for end in range(10, len(start)):
                with pytest.raises(InvalidContent):
                    inflate(member[:end], "gzip", step)


def test_a_gzip_header_without_end() -> None:
    endless = gzip.compress(b"")[:3] + b"\x08" + bytes(6) + b"name" * (1 << 20)
    with pytest.raises(InvalidContent):
        inflate(endless, "gzip")


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded_for_a_bomb(kind: str) -> None:
    bomb = COMPRESS[kind](bytes(24 << 20))
    reader = InflatingReader(Trickle(bomb), kind)
    buffer = memoryview(bytearray(1 << 16))
    total = 0
    tracemalloc.start()
    while count := reader.readinto(buffer):
        total += count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 24 << 20
    assert peak < 12 << 20  # the window of xz is 8 MiB by default


def test_closing_closes_what_is_below() -> None:
    below = Trickle(COMPRESS["gzip"](PLAIN))
    reader = InflatingReader(below, "gzip")
    assert reader.size is None
    assert reader.readinto(memoryview(bytearray(10))) == 10
    reader.close()
    reader.close()
    assert below.closed
    with pytest.raises(ValueError, match="closed"):
        reader.readinto(memoryview(bytearray(10)))


def test_an_unknown_kind_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="no compression"):
        InflatingReader(Trickle(b""), "")


def test_prefix_and_peek() -> None:
    below = Trickle(b"0123456789abcdef", 3)
    head, reader = peek(below, 5)
    assert head == b"01234"
    assert reader.size == 16
    assert isinstance(reader, PrefixReader)
    assert read_up_to(reader, 7) == b"0123456"
    assert read_up_to(reader, 100) == b"789abcdef"
    reader.close()
    assert below.closed
    head, reader = peek(Trickle(b"ab"), 5)
    assert (head, read_up_to(reader, 9)) == (b"ab", b"ab")


def test_a_library_whose_buffer_grows_with_a_header_is_stopped() -> None:
    # isal before 1.9 asks for more and more where a header does not end; this one refuses by itself.
    with pytest.raises(OverflowError):
        inflate_module._GzipInput(Trickle(b"")).readinto(memoryview(bytearray(inflate_module._INPUT_SIZE + 1)))


@pytest.mark.parametrize(("at", "words"), [(-8, "a wrong checksum"), (-4, "incorrect length")])
def test_the_trailer_of_gzip_is_held_against_what_came(at: int, words: str) -> None:
    data = bytearray(gzip.compress(PLAIN))
    data[at] ^= 1
    with pytest.raises(InvalidContent, match=words):
        inflate(bytes(data), "gzip")
