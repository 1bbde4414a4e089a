from __future__ import annotations

import contextlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from storekit import noise, words

from lamina.errors import StoreDamaged, UsageError
from lamina.store.codec import Compression, decode
from lamina.store.layout import RAW, ZSTD

data = st.binary(max_size=2000) | st.builds(lambda part, times: part * times, st.binary(max_size=40), st.integers(0, 500))


@pytest.mark.parametrize(("text", "level"), [("none", 0), ("zstd", 1), ("zstd:1", 1), ("zstd:19", 19)])
def test_parse(text: str, level: int) -> None:
    assert Compression.parse(text).level == level


@pytest.mark.parametrize("text", ["", "none:1", "zstd:", "zstd:0", "zstd:20", "zstd:-1", "zstd:x", "zstd:1:1", "gz", "zstd:٣"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        Compression.parse(text)


@given(plain=data, level=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_round_trip(plain: bytes, level: int) -> None:
    codec, stored = Compression(level).encode(memoryview(plain))
    assert bytes(decode(codec, stored, len(plain), "here")) == plain
    assert len(stored) <= len(plain)


def test_what_does_not_shrink_is_left_as_it_is() -> None:
    assert Compression(1).encode(memoryview(noise(1, 10_000)))[0] == RAW
    assert Compression(1).encode(memoryview(words(1, 10_000)))[0] == ZSTD
    assert Compression(0).encode(memoryview(words(1, 10_000)))[0] == RAW


@given(stored=st.binary(max_size=200), plain=st.integers(0, 1 << 20), codec=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_hostile_bytes(stored: bytes, plain: int, codec: int) -> None:
    with contextlib.suppress(StoreDamaged):
        assert len(decode(codec, stored, plain, "here")) == plain


def test_damage_is_told() -> None:
    plain = words(1, 10_000)
    stored = bytes(Compression(1).encode(memoryview(plain))[1])
    for bad, size in ((stored[:-1], 10_000), (stored, 9_999), (stored, 10_001), (b"", 10_000), (stored[1:], 10_000)):
        with pytest.raises(StoreDamaged):
            decode(ZSTD, bad, size, "here")
    with pytest.raises(StoreDamaged, match="length"):
        decode(RAW, plain, 9_999, "here")
    with pytest.raises(StoreDamaged, match="unknown codec"):
        decode(7, plain, 10_000, "here")


def test_a_bomb_is_not_blown_up() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    stored = bomb.compress(bytes(64 << 20)) + bomb.flush()
    with pytest.raises(StoreDamaged):
        decode(ZSTD, stored, 1000, "here")
    announced = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    with pytest.raises(StoreDamaged):
        decode(ZSTD, announced, 1000, "here")
