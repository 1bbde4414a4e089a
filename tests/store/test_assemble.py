"""The way out: any sizes of reads, and recipes that do not fit what lies in the packs."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from storekit import load, noise, tar_of, words

from lamina.content.verify import VerifyingReader, read_all
from lamina.digest import Digest
from lamina.errors import LaminaError, StoreDamaged
from lamina.oci import OCI_LAYER, Descriptor
from lamina.store import BlobStore
from lamina.store.assemble import WINDOW, BlobReader, ReadAhead
from lamina.store.blobstore import Reading
from lamina.store.packs import ChunkReader
from lamina.store.recipe import Block, Head

DATA = tar_of({"noise": noise(1, 1_500_000), "tiny": b"t", "words": words(1, 300_000), "empty": b"", "more": noise(2, 700)})


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "it", DATA)
        with store.reading() as reading:
            yield reading


def head_of(reading: Reading) -> Head:
    row = reading.store.catalog.blob(Digest.of(DATA))
    assert row is not None
    return reading.store.head_of_row(row)


class Changed(ChunkReader):
    """Gives another recipe block than the one that is stored."""

    def __init__(self, reading: Reading, change: Callable[[Block], Block]) -> None:
        super().__init__(reading.store.packs, reading.index)
        self._change = change

    def chunk(self, chunk_id: bytes, where: str) -> bytes:
        return self._change(Block.decode(super().chunk(chunk_id, where), where)).encode()


def reader(reading: Reading, change: Callable[[Block], Block] = lambda block: block, **head: object) -> BlobReader:
    return BlobReader(replace(head_of(reading), **head), Changed(reading, change), reading.store.packs)  # type: ignore[arg-type]


@pytest.mark.parametrize("largest", [1, 100, 4096, 1 << 20, 1 << 22])
def test_reads_of_any_size(reading: Reading, largest: int) -> None:
    rng = random.Random(largest)
    source, got = reader(reading), bytearray()
    limit = len(DATA) if largest > 1 else 20_000
    while len(got) < limit:
        buffer = bytearray(rng.randint(1, largest))
        count = source.readinto(memoryview(buffer))
        assert count == min(len(buffer), len(DATA) - len(got))  # only the end is short
        got += buffer[:count]
    assert got == DATA[: len(got)]
    if largest > 1:
        assert source.readinto(memoryview(bytearray(1))) == 0


def lengthen(block: Block) -> Block:
    return replace(block, content_lengths=block.content_lengths + np.uint32(1))


def drop_last_chunk(block: Block) -> Block:
    return replace(block, content=block.content[:-1], content_lengths=block.content_lengths[:-1])


def drop_last_segment(block: Block) -> Block:
    return replace(block, segment=block.segment[:-1], segment_lengths=block.segment_lengths[:-1])


def drop_last_span(block: Block) -> Block:
    return replace(block, span_segment=block.span_segment[:-1], span_content=block.span_content[:-1])


def longer_span(block: Block) -> Block:
    return replace(block, span_content=block.span_content + (1 << 40))


def impossible(block: Block) -> Block:
    return replace(block, content_lengths=np.full_like(block.content_lengths, WINDOW + 1))


def unknown_chunk(block: Block) -> Block:
    return replace(block, content=block.content ^ np.uint8(1))


def no_rows(block: Block) -> Block:
    return Block.decode(b"\1" + bytes(15), "")


@pytest.mark.parametrize("change", [lengthen, drop_last_chunk, drop_last_segment, drop_last_span, longer_span, impossible,
                                    unknown_chunk, no_rows])
def test_recipes_that_do_not_fit(reading: Reading, change: Callable[[Block], Block]) -> None:
    for source in (reader(reading, change), ReadAhead(reader(reading, change))):
        with pytest.raises(StoreDamaged):
            read_all(source, len(DATA))
        source.close()


def test_chunks_in_another_order_are_found_by_the_digest(reading: Reading) -> None:
    def swap(block: Block) -> Block:
        order = np.arange(len(block.content))[::-1]
        return replace(block, content=block.content[order], content_lengths=block.content_lengths[order])

    with pytest.raises(LaminaError, match="digest"):
        read_all(VerifyingReader(reader(reading, swap), Descriptor(OCI_LAYER, Digest.of(DATA), len(DATA))), len(DATA))


@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1, 1 << 50])
def test_heads_of_another_size(reading: Reading, size: int) -> None:
    blob = Descriptor(OCI_LAYER, Digest.of(DATA), len(DATA))
    with pytest.raises(LaminaError):
        read_all(VerifyingReader(reader(reading, size=size), blob), len(DATA))


@pytest.mark.parametrize("recipe", [[], [(bytes(32), 0, 0, 0)]])
def test_heads_without_their_recipe(reading: Reading, recipe: list[tuple[bytes, int, int, int]]) -> None:
    with pytest.raises(StoreDamaged):
        read_all(reader(reading, recipe=recipe), len(DATA))


def test_read_ahead_is_the_same_bytes_and_leaves_no_thread(reading: Reading) -> None:
    before = set(threading.enumerate())
    assert read_all(ReadAhead(reader(reading)), len(DATA)) == DATA
    early = ReadAhead(reader(reading))
    assert early.readinto(memoryview(bytearray(10))) == 10
    early.close()
    ReadAhead(reader(reading)).close()
    assert set(threading.enumerate()) <= before
