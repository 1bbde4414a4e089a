"""Any bytes, in any splits: every byte is covered, in order, and the splits change nothing."""

from __future__ import annotations

import io
import tarfile

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tarscan_readers import Scan, cells, scan
from tarscan_samples import END, member, stream

from lamina._native.tarscan import Column, front_code, front_decode

SPLITS = st.lists(st.integers(0, 8192), max_size=12)


def assert_same(one: Scan, other: Scan) -> None:
    assert one.spans == other.spans
    assert (one.entries is None) == (other.entries is None)
    for a, b in zip(one.entries or (), other.entries or (), strict=True):
        if isinstance(a, Column):
            assert cells(a) == cells(b)
        else:
            assert np.array_equal(a, b)
    for name in ("is_tar", "entry_count", "file_bytes", "position", "content_left"):
        assert getattr(one.scanner, name) == getattr(other.scanner, name)


@given(st.integers(0, 1 << 32), SPLITS)
@settings(max_examples=300, deadline=None)
def test_made_streams(seed: int, cuts: list[int]) -> None:
    raw = stream(seed)
    assert_same(scan(raw), scan(raw, cuts))


@given(st.integers(0, 1 << 32), st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_made_streams_in_even_pieces(seed: int, step: int) -> None:
    raw = stream(seed)[: 300 * step]
    assert_same(scan(raw), scan(raw, range(0, len(raw), step)))


@given(st.binary(max_size=3000), SPLITS, st.sampled_from([0, 1, 512, 4096]))
@settings(max_examples=100, deadline=None)
def test_random_bytes_with_and_without_a_tar_before(raw: bytes, cuts: list[int], limit: int) -> None:
    for whole in (raw, member(b"x" * 600) + raw, member(b"x") + END + raw):
        assert_same(scan(whole, inline_limit=limit), scan(whole, cuts, limit))


def real_tar() -> bytes:
    """Members of each format that Python writes."""
    out = io.BytesIO()
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            for i, name in enumerate(("a", "d/" * 40 + "f", "l" * 99, "u\u00e9")):
                info = tarfile.TarInfo(name)
                info.size = 300 * i
                tar.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


REAL = real_tar()


@given(st.lists(st.tuples(st.integers(0, len(REAL) - 1), st.integers(0, 255)), min_size=1, max_size=3), SPLITS)
@settings(max_examples=150, deadline=None)
def test_real_tars_with_bytes_changed(changes: list[tuple[int, int]], cuts: list[int]) -> None:
    raw = bytearray(REAL)
    for at, value in changes:
        raw[at] = value
    assert_same(scan(bytes(raw)), scan(bytes(raw), [7 * cut for cut in cuts]))


def test_every_split_in_two_of_one_stream() -> None:
    raw = b"".join(stream(seed) for seed in (1, 8, 21))[:6000] + REAL[:4000]
    whole = scan(raw)
    for cut in range(0, len(raw), 3):
        assert_same(whole, scan(raw, [cut]))


@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"usr/lib/a", b"usr/lib/b", b"x" * 300])))
@settings(max_examples=100, deadline=None)
def test_front_coding_comes_back(names: list[bytes]) -> None:
    starts = np.cumsum([0, *map(len, names)]).astype(np.uint32)
    prefix, rest = front_code(starts, b"".join(names))
    decoded = front_decode(prefix, np.diff(starts) - prefix, rest)
    assert decoded is not None and cells(decoded) == names


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1) | st.integers(0, 4)), max_size=6), st.binary())
@settings(max_examples=100, deadline=None)
def test_front_decoding_of_anything_is_safe(lengths: list[tuple[int, int]], rest: bytes) -> None:
    prefix = np.array([pair[0] for pair in lengths], np.uint8)
    own = np.array([pair[1] for pair in lengths], np.uint32)
    decoded = front_decode(prefix, own, rest)
    if decoded is not None:
        assert sum(pair[1] for pair in lengths) == len(rest)
        assert [len(name) for name in cells(decoded)] == [a + b for a, b in lengths]
