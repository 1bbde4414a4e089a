from __future__ import annotations

import io
import random
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native.cdc import Cutter
from lamina._native.split import Splitter

CUTTER = Cutter(128, 512, 2048)  # small, so that small inputs have many cuts


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Split:
    """A stream taken apart: chunks of either kind, and spans."""

    def __init__(self, data: bytes, body: int = 4096, seed: int = 0, *, opaque: bool = False, cutter: Cutter = CUTTER) -> None:
        splitter = Splitter(cutter, body, opaque=opaque)
        rng = random.Random(seed)
        self.content: list[bytes] = []
        self.segment: list[bytes] = []
        self.spans: list[tuple[int, int]] = []
        at, last = 0, False
        while not last:
            count = min(len(data) - at, rng.choice([body, rng.randint(0, body), rng.randint(0, 3)]) if seed else body)
            last = at + count == len(data) and (not seed or rng.random() < 0.5)
            buffer = bytearray(rng.randbytes(splitter.headroom)) + data[at : at + count]
            columns = splitter.feed(buffer, count, last)
            self.content += [bytes(buffer[a : a + n]) for a, n in zip(*columns[:2], strict=True)]
            segments = splitter.segment_bytes()
            self.segment += [segments[a : a + n].tobytes() for a, n in zip(*columns[2:], strict=True)]
            ready = splitter.spans_ready
            spans = splitter.take_spans()
            assert len(spans[0]) == ready and splitter.spans_ready == 0
            self.spans += [(int(a), int(b)) for a, b in zip(*spans, strict=True)]
            at += count
        self.entries = splitter.scanner.entry_count

    def joined(self) -> bytes:
        """The stream again, by spans."""
        content, segment = io.BytesIO(b"".join(self.content)), io.BytesIO(b"".join(self.segment))
        out = b""
        for segments, contents in self.spans:
            out += segment.read(segments) + content.read(contents)
        assert content.read() == segment.read() == b""
        return out


contents = st.integers(0, 6000) | st.sampled_from([0, 1, 511, 512, 513, 1023, 2048, 4096, 20_000])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Noise, tars, tars that are cut off, changed, in a row, or with something before or behind."""
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    members = [(f"f{i}", rng.randbytes(draw(contents))) for i in range(draw(st.integers(0, 5)))]
    data = bytearray(tar_of(members))
    for change in draw(st.lists(st.sampled_from(["cut", "flip", "twice", "before", "behind", "noise", "zeros"]), max_size=3)):
        if change == "cut":
            del data[rng.randint(0, len(data)) :]
        elif change == "flip" and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif change == "twice":
            data *= 2
        elif change == "before":
            data[:0] = rng.randbytes(rng.randint(1, 700))
        elif change == "behind":
            data += rng.randbytes(rng.randint(1, 7000))
        elif change == "noise":
            data[:] = rng.randbytes(rng.randint(0, 20_000))
        elif change == "zeros":
            data += bytes(rng.randint(0, 12_000))
    return bytes(data)


@given(data=streams(), body=st.sampled_from([512, 513, 1000, 4096, 65_536]), seed=st.integers(0, 1 << 16), opaque=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_any_buffers(data: bytes, body: int, seed: int, opaque: bool) -> None:
    split = Split(data, body, seed, opaque=opaque)
    assert split.joined() == data
    assert all(0 < len(chunk) <= CUTTER.max_size for chunk in (*split.content, *split.segment))
    assert all(segment or content for segment, content in split.spans)
    assert not opaque or (split.segment == [] and len(split.spans) == bool(data))


@given(data=streams(), body=st.sampled_from([512, 1000, 65_536]), seed=st.integers(1, 1 << 16))
@settings(max_examples=100, deadline=None)
def test_buffers_do_not_show(data: bytes, body: int, seed: int) -> None:
    one, other = Split(data, 1 << 17), Split(data, body, seed)
    assert (one.content, one.segment, one.spans, one.entries) == (other.content, other.segment, other.spans, other.entries)


@given(size=st.integers(512, 30_000), before=st.lists(contents, max_size=4), seed=st.integers(0, 1 << 16))
@settings(max_examples=60, deadline=None)
def test_a_file_is_the_same_chunks_wherever_it_lies(size: int, before: list[int], seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(size)
    own = CUTTER.cut(data)
    expected = [data[sum(own[:i]) : sum(own[: i + 1])] for i in range(len(own))]
    members = [(f"before{i}", rng.randbytes(count)) for i, count in enumerate(before)]
    split = Split(tar_of([*members, ("it", data), ("after", b"x" * 600)]), 4096, seed)
    at = len(split.content) - 1 - len(expected)
    assert split.content[at:-1] == expected
    assert split.content[-1] == b"x" * 600


def test_what_is_below_the_limit_rides_with_the_segments() -> None:
    split = Split(tar_of([("a", b"a" * 511), ("b", b"b" * 512), ("c", b"")]))
    assert split.content == [b"b" * 512]
    assert b"a" * 511 in b"".join(split.segment)
    assert split.entries == 3
    assert [content for _, content in split.spans] == [512, 0]


def test_no_bytes() -> None:
    split = Split(b"")
    assert (split.content, split.segment, split.spans, split.entries) == ([], [], [], 0)


def test_the_sizes_of_the_store() -> None:
    """Its own cutter and buffers, and a file of several of them."""
    cutter = Cutter(16 << 10, 64 << 10, 256 << 10)
    data = tar_of([("large", random.Random(1).randbytes(5_000_000)), ("zeros", bytes(3_000_000))])
    split = Split(data, 2 << 20, cutter=cutter)
    assert split.joined() == data
    small = [len(chunk) for chunk in split.content if len(chunk) < 16 << 10]
    assert len(small) <= 2  # the last chunk of each file
    assert max(map(len, split.content)) == 256 << 10


def test_another_rule_from_now_on() -> None:
    """What is not cut yet goes by it, too."""
    wide, data = Cutter(1024, 4096, 8192), random.Random(2).randbytes(50_000)
    splitter = Splitter(wide, 20_000, opaque=True)
    chunks: list[bytes] = []
    for at, cutter in ((0, wide), (20_000, CUTTER), (40_000, wide)):
        splitter.cut_by(cutter)
        piece = data[at : at + 20_000]
        buffer = bytearray(splitter.headroom) + piece
        offsets, lengths, *_ = splitter.feed(buffer, len(piece), at == 40_000)
        chunks += [bytes(buffer[a : a + n]) for a, n in zip(offsets, lengths, strict=True)]
    assert b"".join(chunks) == data
    assert [len(chunk) <= 2048 for chunk in chunks].count(True) > 10
    assert max(map(len, chunks)) > 2048
    with pytest.raises(ValueError, match="larger than"):
        Splitter(CUTTER, 1024).cut_by(wide)


def test_misuse() -> None:
    with pytest.raises(ValueError, match="at least"):
        Splitter(CUTTER, 511)
    splitter = Splitter(CUTTER, 1024)
    for count in (-1, 1025):
        with pytest.raises(ValueError, match="more bytes"):
            splitter.feed(bytearray(splitter.headroom + 2000), count, False)
    with pytest.raises(ValueError, match="headroom"):
        splitter.feed(bytearray(splitter.headroom + 9), 10, False)
    with pytest.raises(BufferError):
        splitter.feed(bytes(splitter.headroom + 10), 10, False)
    columns = splitter.feed(bytearray(splitter.headroom), 0, True)
    assert [len(column) for column in columns] == [0, 0, 0, 0] and all(column.dtype == np.int64 for column in columns)
    with pytest.raises(ValueError, match="ended"):
        splitter.feed(bytearray(splitter.headroom), 0, True)
