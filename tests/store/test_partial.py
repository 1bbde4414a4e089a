"""The bytes of a partial: what is written comes back, and what is torn or damaged ends it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.store import partial
from lamina.store.layout import FRAME_BYTES, RAW, ZSTD

SIZE = 1 << 30


def rows_of(lengths: list[int], pack: int = 0) -> partial.Rows:
    rows = np.zeros(len(lengths), partial.ROW)
    rows["length"] = rows["stored"] = rows["plain"] = lengths
    rows["pack"], rows["at"] = pack, 96
    rows["id"] = np.arange(32 * len(lengths)).reshape(-1, 32) % 256
    return rows


def written(groups: list[list[int]]) -> tuple[bytes, list[int]]:
    """A partial with a block for each group of lengths, and where each block ends."""
    data, covered, ends = partial.header(SIZE), 0, []
    for group in groups:
        covered += sum(group)
        data += partial.encode_block([b"p" * 16], rows_of(group), covered)
        ends.append(len(data))
    return data, ends


def read(data: bytes, size: int = SIZE) -> list[partial.Block]:
    return list(partial.blocks(io.BytesIO(data), size))


GROUPS = st.lists(st.lists(st.integers(1, FRAME_BYTES), min_size=1, max_size=4), min_size=1, max_size=4)


@given(GROUPS)
def test_round_trip(groups: list[list[int]]) -> None:
    found = read(written(groups)[0])
    assert [block.rows["length"].tolist() for block in found] == groups
    assert [block.covered for block in found] == np.cumsum([sum(group) for group in groups]).tolist()
    assert found[0].packs == [b"p" * 16]


@given(GROUPS, st.data())
def test_damage_ends_it(groups: list[list[int]], data: st.DataObject) -> None:
    """Any byte: what comes before its block is good, nothing else."""
    whole, ends = written(groups)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    before = sum(end <= at for end in ends) if at >= 64 else 0
    if 24 <= at < 64:  # spare bytes of the header
        before = len(groups)
    assert len(read(bytes(damaged))) == before
    assert len(read(whole[:at])) == sum(end <= at for end in ends)


def test_of_another_size() -> None:
    assert read(written([[1000]])[0], SIZE + 1) == []


@pytest.mark.parametrize(("column", "value"), [
    ("length", 0), ("length", FRAME_BYTES + 1), ("pack", 1), ("plain", FRAME_BYTES + 1), ("stored", FRAME_BYTES + 1),
    ("offset", 1), ("plain", 999), ("stored", 999), ("codec", 2), ("at", 1 << 63)])
def test_rows_that_ask_for_too_much(column: str, value: int) -> None:
    """Under a good checksum."""
    rows = rows_of([1000, 1000])
    rows[column][1] = value
    covered = int(rows["length"].sum())
    assert read(partial.header(SIZE) + partial.encode_block([b"p" * 16], rows, covered)) == []


def test_rows_that_may_be() -> None:
    rows = rows_of([1000, 1000])
    rows["codec"], rows["stored"] = [RAW, ZSTD], [1000, 10]
    assert len(read(partial.header(SIZE) + partial.encode_block([b"p" * 16], rows, 2000))) == 1
    elsewhere = rows_of([1000], partial.ELSEWHERE)
    assert len(read(partial.header(SIZE) + partial.encode_block([], elsewhere, 1000))) == 1


def test_more_than_the_blob_has() -> None:
    assert read(partial.header(1500) + partial.encode_block([b"p" * 16], rows_of([1000, 1000]), 2000), 1500) == []
