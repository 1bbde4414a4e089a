from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native.weave import Weaver, fill, gather, lay


def i64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def u32(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint32)


@given(lengths=st.lists(st.integers(0, 50), max_size=30), room=st.integers(50, 200), seed=st.integers(0, 1 << 16))
@settings(max_examples=60, deadline=None)
def test_fill_then_gather_gives_the_chunks_back(lengths: list[int], room: int, seed: int) -> None:
    rng = random.Random(seed)
    source = np.frombuffer(rng.randbytes(2000), np.uint8)
    offsets = i64([rng.randrange(2000 - n) for n in lengths])
    rows = i64([i for i in range(len(lengths)) if rng.random() < 0.7])
    wanted = [source[offsets[i] : offsets[i] + lengths[i]].tobytes() for i in rows]
    got, at = b"", 0
    while at < len(rows):
        frame = np.zeros(room, np.uint8)
        until, used, places = fill(frame, 0, source, offsets, i64(lengths), rows, at)
        assert until > at and used <= room and len(places) == until - at
        if until < len(rows):
            assert used + lengths[rows[until]] > room  # as many as fit
        out = np.zeros(room + 3, np.uint8)
        taken = u32([lengths[i] for i in rows[at:until]])
        end = gather(out, 3, frame, places, taken)
        got += out[3:end].tobytes()
        at = until
    assert got == b"".join(wanted)


def test_fill_goes_on_behind_what_is_there() -> None:
    frame = np.zeros(10, np.uint8)
    assert fill(frame, 4, np.arange(9, dtype=np.uint8), i64([2, 0]), i64([3, 9]), i64([0, 1]), 0)[:2] == (1, 7)
    assert frame.tolist() == [0, 0, 0, 0, 2, 3, 4, 0, 0, 0]


@pytest.mark.parametrize(("offsets", "lengths", "rows"), [
    ([0], [11], [0]), ([5], [6], [0]), ([-1], [1], [0]), ([0], [-1], [0]), ([0], [1], [1]), ([0], [1], [-1]),
    ([1 << 62], [1 << 62], [0]), ([0, 1], [1], [0]),
])
def test_fill_outside(offsets: list[int], lengths: list[int], rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"outside|number"):
        fill(np.zeros(20, np.uint8), 0, np.zeros(10, np.uint8), i64(offsets), i64(lengths), i64(rows), 0)


@pytest.mark.parametrize(("used", "first"), [(-1, 0), (21, 0), (0, -1), (-(1 << 40), 0), (0, -(1 << 40)), ((1 << 63) - 1, 0)])
def test_fill_from_outside(used: int, first: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        fill(np.zeros(20, np.uint8), used, np.zeros(10, np.uint8), i64([0]), i64([1]), i64([0]), first)


@pytest.mark.parametrize(("at", "places", "lengths"), [
    (0, [11], [0]), (0, [10], [1]), (0, [0], [11]), (0, [0xFFFFFFFF], [1]), (0, [1], [0xFFFFFFFF]), (-1, [0], [1]),
    (18, [0], [3]), (21, [0], [0]), ((1 << 63) - 1, [0], [1]), (0, [0, 1], [1]), (0, [0, 0, 0], [8, 8, 8]),
])
def test_gather_outside(at: int, places: list[int], lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"outside|number|fit"):
        gather(np.zeros(20, np.uint8), at, np.zeros(10, np.uint8), u32(places), u32(lengths))


@given(spans=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=20), seed=st.integers(0, 1 << 16))
@settings(max_examples=80, deadline=None)
def test_weave_in_pieces_of_any_size(spans: list[tuple[int, int]], seed: int) -> None:
    rng = random.Random(seed)
    segments, contents = rng.randbytes(sum(a for a, _ in spans)), rng.randbytes(sum(b for _, b in spans))
    expected, seg, con = b"", 0, 0
    for a, b in spans:
        expected += segments[seg : seg + a] + contents[con : con + b]
        seg, con = seg + a, con + b
    weaver = Weaver()
    cut = rng.randint(0, len(spans))
    batches = [spans[:cut], spans[cut:]]
    got, seg, con = b"", 0, 0
    while True:
        if weaver.idle:
            if not batches:
                break
            batch = batches.pop(0)
            weaver.spans(i64([a for a, _ in batch]), i64([b for _, b in batch]))
        out = np.zeros(rng.randint(1, 30), np.uint8)
        start = rng.randint(0, len(out) - 1)
        seg_end, con_end = min(len(segments), seg + rng.randint(0, 20)), min(len(contents), con + rng.randint(0, 20))
        before = seg, con
        at, seg, con = weaver.weave(out, start, segments[:seg_end], seg, contents[:con_end], con)
        assert at - start == seg - before[0] + con - before[1]
        got += out[start:at].tobytes()
        if at < len(out) and not weaver.idle:  # it stopped for want of the stream that it says
            assert (con == con_end) if weaver.wants_content else (seg == seg_end)
    assert got == expected
    assert (seg, con) == (len(segments), len(contents))


def test_weave_misuse() -> None:
    weaver = Weaver()
    assert weaver.idle
    with pytest.raises(ValueError, match="number"):
        weaver.spans(i64([1]), i64([]))
    for at, seg, con in ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (5, 0, 0), (0, 3, 0), (0, 0, 3)):
        with pytest.raises(ValueError, match="outside"):
            weaver.weave(bytearray(4), at, b"ab", seg, b"cd", con)


def laid(chunks: list[bytes], ids: list[bytes], kind: int) -> bytes:
    """Raw records of one chunk each, as FORMAT.md has them."""
    headers = [struct.pack("<4sBBHIIII8s", b"LREC", kind, 0, 0, len(chunk), len(chunk), 1, 0, each[:8])
               for chunk, each in zip(chunks, ids, strict=True)]
    return b"".join(header + chunk for header, chunk in zip(headers, chunks, strict=True))


@given(sizes=st.lists(st.integers(0, 50), max_size=8), room=st.integers(0, 700), used=st.integers(0, 40),
       seed=st.integers(0, 9))
def test_lay_is_records(sizes: list[int], room: int, used: int, seed: int) -> None:
    random.seed(seed)
    source = random.randbytes(sum(sizes))
    lengths = np.array(sizes, np.int64)
    offsets = np.cumsum([0, *sizes])[:-1].astype(np.int64)
    ids = np.frombuffer(random.randbytes(32 * len(sizes)), np.uint8).reshape(-1, 32)
    run = np.full(used + room, 7, np.uint8)
    rows = np.arange(len(sizes), dtype=np.int64)
    until, end, places = lay(run, used, source, offsets, lengths, rows, 0, 2, ids)
    chunks = [source[at : at + size] for at, size in zip(offsets.tolist(), sizes, strict=True)]
    expected = laid(chunks[:until], [bytes(each) for each in ids[:until]], 2)
    assert bytes(run) == b"\x07" * used + expected + b"\x07" * (room - len(expected))
    assert end == used + len(expected)
    assert [bytes(run[at : at + size]) for at, size in zip(places.tolist(), sizes, strict=False)] == chunks[:until]
    assert until == len(sizes) or len(expected) + 32 + sizes[until] > room


@pytest.mark.parametrize("wrong", [
    {"first": -1}, {"used": -1}, {"used": 101}, {"rows": [1]}, {"rows": [-1]}, {"lengths": [11]}, {"lengths": [-1]},
    {"offsets": [1]}, {"offsets": [-1]}, {"ids": np.zeros((2, 32), np.uint8)}, {"ids": np.zeros((1, 31), np.uint8)},
])
def test_lay_refuses_what_lies_outside(wrong: dict[str, object]) -> None:
    given = {"used": 0, "offsets": [0], "lengths": [10], "rows": [0], "first": 0, "ids": np.zeros((1, 32), np.uint8)} | wrong
    columns = {name: np.array(given[name], np.int64) for name in ("offsets", "lengths", "rows")}
    run = np.zeros(100, np.uint8)
    with pytest.raises(ValueError, match=r"outside|differ"):
        lay(run, given["used"], bytes(10), columns["offsets"], columns["lengths"], columns["rows"], given["first"], 1,
                  given["ids"])
    assert not run.any()
