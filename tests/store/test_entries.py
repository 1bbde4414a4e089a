"""Entry blocks: they come back exactly, whole or in parts, what is damaged is told, and version 1 stays what it is."""

from __future__ import annotations

import hashlib
import io
import struct
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native.tarscan import Column, EntryColumns, TarScanner
from lamina.errors import StoreDamaged
from lamina.store.entries import decode_block, encode_block, joined, parts
from lamina.store.layout import RECORD_LIMIT

GOLDEN = "3ac94445bc82c99a4e8ecb1ca69c697a233edfcce51cf3b5bb66028e5c91ac4f"
TEXTS = ("path", "link", "uname", "gname", "xattrs", "sparse")


def column(texts: list[bytes]) -> Column:
    return Column(np.cumsum([0, *map(len, texts)]).astype(np.uint32), b"".join(texts))


def assert_same(one: EntryColumns, other: EntryColumns) -> None:
    for name, a, b in zip(EntryColumns._fields, one, other, strict=True):
        if isinstance(a, Column):
            assert a.data == b.data, name
            a, b = a.starts, b.starts
        assert a.dtype == b.dtype and a.dtype.isnative and np.array_equal(a, b), name
        assert b.flags.writeable and b.flags.c_contiguous, name


def sample() -> EntryColumns:
    """Three members that use every column."""
    return EntryColumns(
        kind=np.frombuffer(b"502", np.uint8),
        mode=np.array([0o755, 0o644, 0o777], np.uint32),
        uid=np.array([0, -1, 1 << 40], np.int64),
        gid=np.array([0, 1000, 5], np.int64),
        size=np.array([0, 5000, 0], np.int64),
        stored=np.array([0, 1001, 0], np.int64),
        offset=np.array([512, 2048, 4096], np.int64),
        header=np.array([0, 512, 3584], np.int64),
        mtime=np.array([1700000000, -1, 0], np.int64),
        mtime_ns=np.array([0, 999999999, 1], np.uint32),
        devmajor=np.array([0, 8, 0], np.uint32),
        devminor=np.array([0, 17, 0], np.uint32),
        path=column([b"usr/", b"usr/lib", b"\xff"]),
        link=column([b"", b"", b"usr/lib"]),
        uname=column([b"root", b"root", b""]),
        gname=column([b"root", b"disk", b""]),
        xattrs=column([b"", b"\1\0\0\0k\1\0\0\0v", b""]),
        sparse=column([b"", bytes(16), b""]),
    )


def real() -> EntryColumns:
    """The members of a layer of the standard library."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("json", "email", "encodings"):
            tar.add(Path(sysconfig.get_path("stdlib")) / name, f"usr/lib/python/{name}")
    return scanned(out.getvalue())


def scanned(data: bytes) -> EntryColumns:
    scanner = TarScanner()
    scanner.feed(data)
    entries = scanner.take_entries()
    assert entries is not None
    return entries


def test_blocks_come_back() -> None:
    for entries in (sample(), real()):
        assert_same(entries, decode_block(encode_block(entries)))


def test_a_block_of_nothing() -> None:
    dtypes = [np.uint8, np.uint32, *[np.int64] * 7, *[np.uint32] * 3]
    empty = EntryColumns(*(np.empty(0, dtype) for dtype in dtypes), *(column([]) for _ in TEXTS))
    assert_same(empty, decode_block(encode_block(empty)))


def test_golden_block() -> None:
    block = encode_block(sample())
    assert block[:32] == struct.pack("<BI6I", 1, 3, 8, 7, 8, 8, 10, 16) + b"502"
    assert block.endswith(b"\0\x10\0" + bytes(9) + bytes(16))  # the lengths of the maps in planes, and the one map
    assert hashlib.sha256(block).hexdigest() == GOLDEN


def many(count: int, mtime: int = 0, size: int = 5) -> EntryColumns:
    """So many files of like names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"usr/share/doc/package{number}/copyright")
            info.size, info.mtime = size, mtime
            tar.addfile(info, io.BytesIO(b"x" * size))
    return scanned(out.getvalue())


def test_a_small_block_is_one_chunk() -> None:
    block = encode_block(sample())
    assert parts(block) == [block]


def test_what_kin_share() -> None:
    """Other times leave sizes, places and names; other sizes leave the rest."""
    chunks = [parts(encode_block(many(1000, *change))) for change in ((), (7,), (0, 6))]
    assert [len(each) for each in chunks] == [3, 3, 3]
    same = [[a == b for a, b in zip(chunks[0], other, strict=True)] for other in chunks[1:]]
    assert same == [[False, True, True], [True, False, True]]


def test_chunks_make_blocks_again() -> None:
    """Of both kinds, in a row."""
    blocks = [encode_block(each) for each in (many(1000), sample(), many(900, 5), sample())]
    ids = {f"{number}".encode(): part for number, part in enumerate(part for block in blocks for part in parts(block))}
    assert list(joined(list(ids), ids.__getitem__)) == [(block, len(parts(block))) for block in blocks]
    whole = {f"{number}".encode(): block for number, block in enumerate(blocks)}
    assert list(joined(list(whole), whole.__getitem__)) == [(block, 1) for block in blocks], "as version 1 has them"


@pytest.mark.parametrize("spoil", [
    lambda chunks: chunks[:2],
    lambda chunks: chunks[1:],
    lambda chunks: [chunks[0], chunks[2], chunks[1]][:2],
    lambda chunks: [chunks[0][:20], *chunks[1:]],
    lambda chunks: [chunks[0], chunks[1], chunks[2] + b"x"],
    lambda chunks: [b"", *chunks],
])  # fmt: skip
def test_chunks_that_make_no_block(spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    chunks = spoil(parts(encode_block(many(1000))))
    with pytest.raises(StoreDamaged):
        for block, _ in joined([f"{number}".encode() for number in range(len(chunks))], lambda each: chunks[int(each)]):
            decode_block(block)


def test_no_more_is_joined_than_a_record_may_have() -> None:
    chunks = [parts(encode_block(many(1000)))[0], bytes(RECORD_LIMIT - 1000)]
    with pytest.raises(StoreDamaged, match="longer than any"):
        list(joined([b"0", b"1"], lambda each: chunks[int(each)]))


def test_places_of_a_plain_layer_code_to_nothing() -> None:
    """Headers follow from what is stored, so that the two planes of places hold but the first header's size."""
    entries = real()
    block, n = encode_block(entries), len(entries.kind)
    begin = 1 + 4 + 24 + n + 16 * n + 24 * n + 16 * n  # up to the planes of offset - header
    gap = np.frombuffer(block, np.uint8, 8 * n, begin).reshape(8, n)
    follows = np.frombuffer(block, np.uint8, 8 * n, begin + 8 * n)
    assert gap[1].tolist() == [2] * n and np.delete(gap, 1, 0).sum() == 0
    assert follows.sum() == 0


I64 = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9)
U32 = st.integers(0, 2**32 - 1) | st.integers(0, 9)
ROW = st.tuples(st.integers(0, 255), *[U32] * 4, *[I64] * 7, *[st.binary(max_size=20)] * len(TEXTS))


@given(st.lists(ROW, max_size=12))
@settings(max_examples=100, deadline=None)
def test_any_columns_come_back(rows: list[tuple[int | bytes, ...]]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * 18
    small = [np.array(values, np.uint32) for values in columns[1:5]]
    large = [np.array(values, np.int64) for values in columns[5:12]]
    texts = [column([bytes(value) for value in values]) for values in columns[12:]]
    entries = EntryColumns(np.array(columns[0], np.uint8), small[0], *large, *small[1:], *texts)
    assert_same(entries, decode_block(encode_block(entries)))


def test_every_truncation_and_growth_is_told() -> None:
    block = encode_block(sample())
    for cut in range(len(block)):
        with pytest.raises(StoreDamaged):
            decode_block(block[:cut])
    with pytest.raises(StoreDamaged):
        decode_block(block + b"\0")


@pytest.mark.parametrize(("at", "raw"), [
    (0, b"\2"), (0, b"\0"), (1, b"\4\0\0\0"), (1, b"\2\0\0\0"), (1, b"\xff" * 4), (5, b"\xff" * 4), (25, b"\xff" * 4),
    (1, b"\xff" * 28),
])  # fmt: skip
def test_a_head_that_does_not_fit_is_told(at: int, raw: bytes) -> None:
    block = encode_block(sample())
    with pytest.raises(StoreDamaged):
        decode_block(block[:at] + raw + block[at + len(raw) :])


def test_texts_that_do_not_fit_are_told() -> None:
    block = encode_block(sample())
    prefixes = 29 + 3 * (1 + 16 + 24 + 32)
    lengths = prefixes + 3
    path_data = lengths + 12
    for at in (prefixes, lengths, lengths + 3, path_data + 8):  # a prefix of the first, lengths of path and link
        damaged = bytearray(block)
        damaged[at] ^= 0x80
        with pytest.raises(StoreDamaged):
            decode_block(bytes(damaged))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_damage_is_told_or_harmless(changes: list[tuple[int, int]]) -> None:
    block = bytearray(encode_block(sample()))
    for at, value in changes:
        block[at % len(block)] = value
    try:
        entries = decode_block(bytes(block))
    except StoreDamaged:
        return
    assert_same(entries, decode_block(encode_block(entries)))


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_told(raw: bytes) -> None:
    for block in (raw, b"\1" + raw):
        try:
            decode_block(block)
        except StoreDamaged:
            continue
        assert len(block) == 29


def test_columns_of_different_lengths_are_misuse() -> None:
    entries = sample()
    for wrong in (
        entries._replace(uid=entries.uid[:2]),
        entries._replace(path=column([b"a", b"b"])),
        entries._replace(path=Column(entries.path.starts, b"short")),
        entries._replace(path=Column(np.array([0, 9, 3, 12], np.uint32), bytes(12))),
        entries._replace(path=Column(np.empty(0, np.uint32), b"")),
        entries._replace(link=column([b"a"])),
    ):
        with pytest.raises(ValueError, match=r"starts|length|broadcast|shape"):
            encode_block(wrong)
