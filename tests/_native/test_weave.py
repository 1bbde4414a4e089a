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
        taken = u32([lengths[i] for i in rows[at:until]])
        out = np.zeros(int(taken.sum()), np.uint8)
        gather(out, [frame], np.zeros(len(taken), np.uint32), places, taken, 0)
        got += out.tobytes()
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


@pytest.mark.parametrize(("frame", "source", "lengths", "skip", "room"), [
    ([2], [0], [1], 0, 1), ([0], [11], [0], 0, 0), ([0], [10], [1], 0, 1), ([0], [0xFFFFFFFF], [1], 0, 1),
    ([0], [1], [0xFFFFFFFF], 0, 9), ([0], [0], [3], 4, 3), ([0], [0], [3], 0, 4), ([0], [0], [3], -1, 3),
    ([0, 0], [0], [3], 0, 3), ([0], [0], [3, 3], 0, 3), ([], [], [], 0, 1), ([1], [0], [1], 0, 1),
])
def test_gather_outside(frame: list[int], source: list[int], lengths: list[int], skip: int, room: int) -> None:
    frames = [np.zeros(10, np.uint8), np.zeros(0, np.uint8)]
    if room == 0:
        frames = []
        frame, room = [0], 1
    with pytest.raises(ValueError, match=r"outside|number|fill"):
        gather(np.zeros(room, np.uint8), frames, u32(frame), u32(source), u32(lengths), skip)


def test_gather_cuts_the_first_and_the_last_piece() -> None:
    frames = [np.arange(10, dtype=np.uint8), np.arange(100, 110, dtype=np.uint8)]
    out = np.zeros(6, np.uint8)
    gather(out, frames, u32([1, 0, 1]), u32([2, 0, 5]), u32([3, 2, 5]), 2)
    assert out.tolist() == [104, 0, 1, 105, 106, 107]


@given(spans=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=20), seed=st.integers(0, 1 << 16))
@settings(max_examples=80, deadline=None)
def test_plans_of_any_size(spans: list[tuple[int, int]], seed: int) -> None:
    rng = random.Random(seed)

    def cut(total: int) -> list[int]:
        lengths = []
        while total:
            lengths.append(rng.randint(0, min(total, 30)))
            total -= lengths[-1]
        return lengths

    segments, contents = cut(sum(a for a, _ in spans)), cut(sum(b for _, b in spans))
    bytes_of = {"s": rng.randbytes(sum(segments)), "c": rng.randbytes(sum(contents))}
    expected, seg, con = b"", 0, 0
    for a, b in spans:
        expected += bytes_of["s"][seg : seg + a] + bytes_of["c"][con : con + b]
        seg, con = seg + a, con + b
    begins = {"s": np.cumsum([0, *segments]), "c": np.cumsum([0, *contents])}
    weaver = Weaver()
    split = rng.randint(0, len(spans))
    batches = [spans[:split], spans[split:]]
    got, at = b"", [0, 0, 0, 0]
    known = [rng.randint(0, len(segments)), rng.randint(0, len(contents))]  # more chunks become known as it goes on
    while batches or not weaver.idle:
        if weaver.idle:
            batch = batches.pop(0)
            weaver.spans(i64([a for a, _ in batch]), i64([b for _, b in batch]))
        want, most = rng.randint(1, 60), rng.randint(1, 8)
        before = list(at)
        streams = u32(segments[: known[0]]), *at[:2], u32(contents[: known[1]]), *at[2:]
        rows, skips, lengths, *at = weaver.plan(want, most, *streams)
        assert int(lengths.sum()) <= want and len(rows) <= most
        touched = at[0] - before[0] + (at[1] > 0)
        for row, skip, length in zip(rows.tolist(), skips.tolist(), lengths.tolist(), strict=True):
            stream, chunk = ("s", before[0] + row) if row < touched else ("c", before[2] + row - touched)
            start = int(begins[stream][chunk]) + skip
            assert 0 < length <= int(begins[stream][chunk + 1]) - start
            got += bytes_of[stream][start : start + length]
        known = [min(len(segments), known[0] + 1), min(len(contents), known[1] + 1)]
    assert got == expected


def test_weaver_misuse() -> None:
    weaver = Weaver()
    assert weaver.idle
    with pytest.raises(ValueError, match="number"):
        weaver.spans(i64([1]), i64([]))
    for place in ((-1, 0, 0, 0), (0, 0, -1, 0), (2, 0, 0, 0), (0, 0, 2, 0), (0, 6, 0, 0), (0, 0, 0, 6), (1, 1, 0, 0),
                  (0, 0, 1, 1), (0, -1, 0, 0), (0, 0, 0, -1)):
        with pytest.raises(ValueError, match="outside"):
            weaver.plan(10, 10, u32([5]), *place[:2], u32([5]), *place[2:])
    with pytest.raises(ValueError, match="outside"):
        weaver.plan(10, -1, u32([5]), 0, 0, u32([5]), 0, 0)


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
