"""The bytes of a partial (FORMAT.md, "Partials"): which chunks of a blob that is not whole yet are on disk, and where."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina.store.layout import FRAME_BYTES, RAW, ZSTD

HEADER: Final = struct.Struct("<8sIIQ40x")
BLOCK: Final = struct.Struct("<4sHHIIQQ")
NAME_BYTES: Final = 16
ROW: Final = np.dtype(
    [
        ("id", "u1", 32),
        ("length", "<u4"),
        ("pack", "<u4"),  # in the block's table; ELSEWHERE: in a pack of others, to be looked up
        ("at", "<u8"),  # of the frame's stored bytes in the file
        ("stored", "<u4"),
        ("plain", "<u4"),
        ("offset", "<u4"),  # in the plain frame
        ("codec", "u1"),
        ("zero", "u1", 3),
    ]
)
ELSEWHERE: Final = 0xFFFFFFFF
ROWS: Final = 8192  # of a block, half a megabyte: what a reader has in memory
PACKS: Final = 64  # likewise

_MAGIC, _BLOCK_MAGIC, _VERSION = b"LAMINAPT", b"LPTB", 1

Rows = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Block:
    """What one checkpoint has added; `covered`: bytes of the blob from its beginning to the end of the last chunk."""

    packs: list[bytes]
    rows: Rows
    covered: int


def header(size: int) -> bytes:
    """The first 64 bytes, for a blob of `size` bytes."""
    return HEADER.pack(_MAGIC, _VERSION, HEADER.size, size)


def encode_block(packs: list[bytes], rows: Rows, covered: int) -> bytes:
    """One block."""
    body = b"".join(packs) + rows.tobytes()
    return _block_header(len(packs), len(rows), covered, _check(len(packs), len(rows), covered, body)) + body


def _block_header(packs: int, rows: int, covered: int, check: int) -> bytes:
    return BLOCK.pack(_BLOCK_MAGIC, packs, 0, rows, 0, covered, check)


def _check(packs: int, rows: int, covered: int, body: bytes) -> int:
    summed = blake3(_block_header(packs, rows, covered, 0))
    summed.update(body)
    return int.from_bytes(summed.digest(8), "little")


def _begins(file: BinaryIO, size: int | None) -> bool:
    head = file.read(HEADER.size)
    if len(head) != HEADER.size:
        return False
    magic, version, length, said = HEADER.unpack(head)
    return bool((magic, version, length) == (_MAGIC, _VERSION, HEADER.size) and size in (None, said))


def blocks(file: BinaryIO, size: int) -> Iterator[Block]:
    """The blocks of an open partial of a blob of `size` bytes, up to the first that is torn or makes no sense."""
    if not _begins(file, size):
        return
    covered = 0
    while len(head := file.read(BLOCK.size)) == BLOCK.size:
        magic, count, zero, length, zeros, said, check = BLOCK.unpack(head)
        if magic != _BLOCK_MAGIC or zero or zeros or count > PACKS or not 0 < length <= ROWS or said > size:
            return
        body = file.read(count * NAME_BYTES + length * ROW.itemsize)
        if len(body) != count * NAME_BYTES + length * ROW.itemsize or _check(count, length, said, body) != check:
            return
        rows = np.frombuffer(body, ROW, length, count * NAME_BYTES)
        covered += int(rows["length"].sum(dtype=np.int64))
        if covered != said or not _sound(rows, count):
            return
        yield Block([body[i * NAME_BYTES : (i + 1) * NAME_BYTES] for i in range(count)], rows, covered)


def _sound(rows: Rows, packs: int) -> bool:
    """No row asks for more memory than a frame may take."""
    mine = rows[rows["pack"] != ELSEWHERE]
    end = mine["offset"].astype(np.int64) + mine["length"]
    return bool(
        rows["length"].max() <= FRAME_BYTES
        and rows["length"].min() > 0
        and (mine["pack"] < packs).all()
        and (mine["plain"] <= FRAME_BYTES).all()
        and (mine["stored"] <= FRAME_BYTES).all()
        and (end <= mine["plain"]).all()
        and ((mine["codec"] == ZSTD) | ((mine["codec"] == RAW) & (mine["stored"] == mine["plain"]))).all()
        and (mine["at"] < 1 << 62).all()
    )


def covered_by(path: Path, size: int) -> int:
    """How many bytes of the blob's beginning a partial says are on disk; 0 for one that makes no sense; OSError."""
    covered = 0
    with path.open("rb") as file:
        for block in blocks(file, size):
            covered = block.covered
    return covered
