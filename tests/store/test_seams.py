"""Seams of gzip streams: blocks that end on a byte's border, and what chunks are made of either kind."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from contracts.samples import describe
from downloads import keep_blob
from storekit import noise, problems, read, tar_of

from lamina.store import BlobStore, seams
from lamina.store.ingest import CUTTING, SEAMLESS
from lamina.store.recipe import blocks
from lamina.store.seams import MARK, Seams


def in_blocks(data: bytes, size: int = 1 << 20) -> bytes:
    """As pgzip does it."""
    made = zlib.compressobj(1, zlib.DEFLATED, 31)
    found = b"".join(made.compress(data[at : at + size]) + made.flush(zlib.Z_SYNC_FLUSH) for at in range(0, len(data), size))
    return found + made.flush()


def in_members(data: bytes, size: int = 1 << 18) -> bytes:
    """As eStargz does it, by Go's writer, which ends with an empty stored block."""
    def member(part: bytes) -> bytes:
        made = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = made.compress(part) + made.flush(zlib.Z_SYNC_FLUSH) + b"\x01\0\0\xff\xff"
        return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + zlib.crc32(part).to_bytes(4, "little") + len(part).to_bytes(4, "little")

    return b"".join(member(data[at : at + size]) for at in range(0, len(data), size))


@pytest.mark.parametrize("step", [1, 3, 7, 4096, 1 << 20])
@pytest.mark.parametrize("at", [0, 1, 4095, 4096, 9_996])
def test_a_seam_is_found_wherever_buffers_end(step: int, at: int) -> None:
    data = bytearray(b"x" * 10_000)
    data[at : at + 4] = MARK
    found = Seams()
    told = [found.found(memoryview(data)[start : start + step], last=False) for start in range(0, len(data), step)]
    assert told.count(True) == 1
    assert told.index(True) == (at + 3) // step


@pytest.mark.parametrize("behind", [0, 8, 9])
def test_the_end_of_a_stream_is_none(behind: int) -> None:
    data = b"x" * 100 + MARK + b"y" * behind
    assert Seams().found(memoryview(data), last=True) == (behind > 8)
    assert Seams().found(memoryview(data), last=False)


def test_no_more_is_searched_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "LOOKED", 1000)
    found = Seams()
    assert not found.found(memoryview(b"x" * 1000), last=False)
    assert not found.found(memoryview(MARK * 10), last=False)


def lengths(store: BlobStore, name: str, data: bytes) -> list[int]:
    """Of the chunks that a blob is cut into."""
    keep_blob(store, name, data)
    with store.reading() as reading:
        row = store.catalog.blob(describe(data).digest)
        assert row is not None
        chunks, head = store.chunks(reading.index), store.head_of_row(row)
        return [int(n) for each in blocks(head, lambda block_id: chunks.chunk(block_id, "")) for n in each.content_lengths]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


PLAIN = tar_of({f"file{number}": noise(number, 1_000_000) for number in range(8)})


@pytest.mark.parametrize("pack", [in_blocks, in_members])
def test_kin_with_seams_share_what_is_the_same(store: BlobStore, pack: Callable[[bytes], bytes]) -> None:
    """One file of eight is another one: the blocks behind it are the same bytes."""
    data, other = pack(PLAIN), pack(PLAIN[:4_000_000] + noise(99, 500_000) + PLAIN[4_500_000:])
    cut = lengths(store, "one", data)
    assert max(cut) <= CUTTING[2] and sum(cut) == len(data)
    before = stored(store)
    lengths(store, "other", other)
    assert stored(store) - before < len(other) // 2
    assert problems(store) == []


def test_a_stream_without_seams_has_few_chunks(store: BlobStore) -> None:
    data = gzip.compress(PLAIN, 1, mtime=0)
    cut = lengths(store, "one", data)
    assert sum(cut) == len(data)
    assert min(cut[:-1]) >= SEAMLESS[0] and max(cut) == SEAMLESS[2]
    assert read(store, describe(data).digest) == data


def test_a_seam_that_comes_late(store: BlobStore) -> None:
    """What lies before it is in few chunks, what lies behind it in more."""
    data = gzip.compress(PLAIN, 1, mtime=0)[:5_000_000] + in_blocks(PLAIN)[5_000_000:]
    cut = lengths(store, "one", data)
    assert cut[0] >= SEAMLESS[0] and max(cut[len(cut) // 2 :]) <= CUTTING[2]
    assert read(store, describe(data).digest) == data


@pytest.mark.parametrize("kind", ["plain", "zstd"])
def test_others_are_cut_finely(store: BlobStore, kind: str) -> None:
    data = noise(5, 3_000_000) if kind == "plain" else zstandard.compress(noise(5, 3_000_000), 1)
    assert max(lengths(store, "one", data)) <= CUTTING[2]


def stored(store: BlobStore) -> int:
    return sum(size for _, size in store.backend.list("packs/"))
