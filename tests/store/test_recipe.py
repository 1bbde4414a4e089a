from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.digest import Digest
from lamina.errors import StoreDamaged
from lamina.store import recipe
from lamina.store.recipe import BLOCK_CHUNKS, BLOCK_SPANS, Block, Head, RecipeWriter, blocks

DIGEST = Digest.of(b"")
COLUMNS = ("content", "content_lengths", "segment", "segment_lengths", "span_segment", "span_content")


def ids(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 32), np.uint8)


def block(seed: int, contents: int, segments: int, spans: int) -> Block:
    rng = np.random.default_rng(seed)

    def lengths(count: int, dtype: str) -> np.ndarray:
        return rng.integers(0, 1 << 31, count).astype(dtype)

    return Block(ids(rng, contents), lengths(contents, "<u4"), ids(rng, segments), lengths(segments, "<u4"),
                 lengths(spans, "<i8"), lengths(spans, "<i8"))


rows = st.integers(0, 50)


@given(seed=st.integers(0, 1000), contents=rows, segments=rows, spans=rows)
@settings(max_examples=40, deadline=None)
def test_block_round_trip(seed: int, contents: int, segments: int, spans: int) -> None:
    one = block(seed, contents, segments, spans)
    data = one.encode()
    assert len(data) == 16 + 36 * (contents + segments) + 16 * spans  # FORMAT.md, "Recipe block"
    other = Block.decode(data, "here")
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def test_block_bytes() -> None:
    one = Block(np.full((1, 32), 7, np.uint8), np.array([5], "<u4"), np.empty((0, 32), np.uint8), np.empty(0, "<u4"),
                np.array([2], "<i8"), np.array([3], "<i8"))
    assert one.encode() == (b"\1\0\0\0" b"\1\0\0\0" b"\0\0\0\0" b"\1\0\0\0" + b"\7" * 32 + b"\5\0\0\0"
                            b"\2\0\0\0\0\0\0\0" b"\3\0\0\0\0\0\0\0")


@given(data=st.binary(max_size=300), head=st.integers(0, 16))
@settings(max_examples=100, deadline=None)
def test_hostile_blocks(data: bytes, head: int) -> None:
    for bad in (data, block(1, 2, 2, 2).encode()[:head] + data):
        try:
            found = Block.decode(bad, "here")
        except StoreDamaged:
            continue
        assert found.encode() == bad[:1] + bytes(3) + bad[4:]


@pytest.mark.parametrize("lead", range(8))
def test_the_columns_of_a_block_that_lies_anywhere_are_aligned(lead: int) -> None:
    data = bytes(lead) + block(1, 2, 1, 2).encode()
    found = Block.decode(memoryview(data)[lead:], "here")
    assert all(getattr(found, name).flags.aligned for name in COLUMNS)


def test_a_block_cut_anywhere() -> None:
    data = block(1, 2, 1, 3).encode()
    for bad in (*(data[:size] for size in range(len(data))), data + b"\0", b"\2" + data[1:]):
        with pytest.raises(StoreDamaged):
            Block.decode(bad, "here")


@pytest.mark.parametrize("last", [-1, -9])
def test_negative_spans(last: int) -> None:
    data = bytearray(block(1, 1, 1, 1).encode())
    data[last] = 0x80  # the sign of the one span's content, or segment
    with pytest.raises(StoreDamaged, match="negative"):
        Block.decode(bytes(data), "here")


heads = st.builds(
    Head,
    digest=st.just(DIGEST), sha256=st.just(str(DIGEST)), size=st.integers(0, 1 << 50), media_type=st.text(max_size=20),
    diff_id=st.sampled_from(["", str(DIGEST)]), plain_size=st.just(-1), entries=st.integers(0, 1 << 40),
    file_bytes=st.integers(0, 1 << 62),
    recipe=st.lists(st.tuples(st.binary(min_size=32, max_size=32), *[st.integers(0, 1 << 50)] * 3), max_size=5),
    entry_blocks=st.lists(st.binary(min_size=32, max_size=32), max_size=5),
)


@given(head=heads)
@settings(max_examples=40, deadline=None)
def test_head_round_trip(head: Head) -> None:
    if head.diff_id:
        head.plain_size = 5
    assert Head.decode(head.encode(), "here") == head


def test_head_as_the_format_says() -> None:
    head = Head(DIGEST, DIGEST, 3, "text/plain", str(DIGEST), 4, 5, 6, [(bytes(32), 1, 2, 3)], [b"\1" * 32])
    assert json.loads(head.encode()) == {
        "digest": DIGEST, "sha256": DIGEST, "size": 3, "media_type": "text/plain", "diff_id": DIGEST, "plain_size": 4,
        "entries": 5, "file_bytes": 6, "recipe": [["00" * 32, 1, 2, 3]], "entry_blocks": ["01" * 32]}


GOOD = {"digest": DIGEST, "sha256": DIGEST, "size": 3, "entries": 0, "file_bytes": 0, "recipe": [], "entry_blocks": []}


@pytest.mark.parametrize("change", [
    {"digest": None}, {"digest": "sha256:zz"}, {"digest": 7}, {"size": "x"}, {"size": None}, {"entries": []},
    {"recipe": 5}, {"recipe": [5]}, {"recipe": [["zz", 0, 0, 0]]}, {"recipe": [["00", 0, 0, 0]]},
    {"recipe": [["00" * 32, 0, 0]]}, {"recipe": [["00" * 33, 0, 0, 0]]}, {"recipe": [["00" * 32, 0, 0, {}]]},
    {"entry_blocks": [None]}, {"entry_blocks": ["00" * 31]}, {"entry_blocks": None}, {"size": -1}, {"sha256": 5},
    {"diff_id": 5}, {"diff_id": DIGEST}, {"size": 1 << 63}, {"size": float("inf")}, {"size": "3"}, {"entries": float("nan")},
    {"file_bytes": -1}, {"media_type": "\ud800"}, {"media_type": 5}, {"recipe": [["00" * 32, 0, 0, 1e300]]},
])
def test_heads_that_are_none(change: dict[str, object]) -> None:
    assert Head.decode(json.dumps(GOOD).encode(), "here").size == 3
    with pytest.raises(StoreDamaged):
        Head.decode(json.dumps(GOOD | change).encode(), "here")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_head(data: bytes) -> None:
    with pytest.raises(StoreDamaged):
        Head.decode(data, "here")


@given(data=st.binary(max_size=100))
@settings(max_examples=50, deadline=None)
def test_hostile_heads(data: bytes) -> None:
    with pytest.raises(StoreDamaged):
        Head.decode(data, "here")


class Blocks:
    """Where a writer stores its blocks."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}

    def put(self, data: bytes) -> bytes:
        name = len(self.stored).to_bytes(32, "big")
        self.stored[name] = data
        return name

    def read(self, places: list[tuple[bytes, int, int, int]]) -> list[Block]:
        head = Head(DIGEST, DIGEST, 0, recipe=places)
        return list(blocks(head, self.stored.__getitem__))


def test_writer_in_pieces_of_any_size() -> None:
    rng = np.random.default_rng(3)
    whole = block(5, 2 * BLOCK_CHUNKS + 77, BLOCK_CHUNKS + 5, 3 * BLOCK_SPANS + 9)
    store = Blocks()
    writer = RecipeWriter(store.put)
    at = [0, 0, 0]
    while at != [len(whole.content), len(whole.segment), len(whole.span_segment)]:
        content, segment, span = (slice(start, start + int(rng.integers(0, 3000))) for start in at)
        writer.content(whole.content[content], whole.content_lengths[content].astype(np.int64))
        writer.segment(whole.segment[segment], whole.segment_lengths[segment].astype(np.int64))
        writer.spans(whole.span_segment[span], whole.span_content[span])
        at = [min(piece.stop, size) for piece, size in zip((content, segment, span), (
            len(whole.content), len(whole.segment), len(whole.span_segment)), strict=True)]
    places = writer.finish()
    read = store.read(places)
    for name in COLUMNS:
        assert np.array_equal(np.concatenate([getattr(one, name) for one in read]), getattr(whole, name))
    assert all(len(one.content) <= BLOCK_CHUNKS and len(one.span_segment) <= BLOCK_SPANS for one in read)
    # Each block is named with where it begins in the stream, the contents and the segments.
    stream = content_bytes = segment_bytes = 0
    for place, one in zip(places, read, strict=True):
        assert place[1:] == (stream, content_bytes, segment_bytes)
        stream += int(one.span_segment.sum() + one.span_content.sum())
        content_bytes += int(one.content_lengths.sum(dtype=np.int64))
        segment_bytes += int(one.segment_lengths.sum(dtype=np.int64))


def test_an_empty_blob_has_no_blocks() -> None:
    store = Blocks()
    assert RecipeWriter(store.put).finish() == []
    assert recipe.Head(DIGEST, DIGEST, 0).recipe == []
