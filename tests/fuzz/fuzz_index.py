"""Index files, and the tables in memory: any file, any slots under a right checksum, and tables against a dict.

A look-up finds what was put in, and of hostile slots never a chunk whose whole id is another.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from blake3 import blake3
from fuzz.fuzzkit import Feed, accepted

from lamina._native.chunkindex import NONE, SLOT_BYTES, DeltaTable, PackIds, mark_repeats
from lamina.store import indexfile
from lamina.store.indexfile import IndexFile, write_index

WORDS = (indexfile.MAGIC, b"\xff\xff\xff\xff", b"\1\0\0\0")
MULTIPLIER = 0x9E3779B97F4A7C15


def run(data: bytes) -> None:
    feed = Feed(data)
    kind = feed.number() % 4
    if kind == 3:
        _delta(feed)
        return
    number, path = tempfile.mkstemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    try:
        if kind == 2:
            _written(feed, number, Path(path))
        else:
            os.write(number, _sealed(feed) if kind else feed.rest())
            _hostile(feed, Path(path))
    finally:
        os.close(number)
        Path(path).unlink()


def _ids(feed: Feed, most: int = 40) -> np.ndarray:
    """Ids that begin alike, often: two bytes of the input choose each, what is left of 32 follows from them."""
    count = feed.number() % most
    out = np.zeros((count, 32), np.uint8)
    for row in out:
        row[feed.number() % 32] = row[0] = feed.number()
    return out


def _sealed(feed: Feed) -> bytes:
    """A file whose header has a right checksum."""
    packs = b"".join(feed.bytes(16).ljust(16, b"\0") + feed.number(2).to_bytes(4, "little") for _ in range(feed.number() % 5))
    rows = len(packs) // 20
    homes, multiplier, reach, flags = feed.number(), feed.number(8) | 1, feed.number(4), feed.number()
    slots = feed.number()
    chunks, odd = feed.number(), multiplier ^ (flags & 1)
    fields = (indexfile.MAGIC, indexfile.VERSION, rows, chunks, homes, slots, odd, reach, flags >> 7, indexfile._slots_at(rows))
    header = indexfile._HEADER.pack(*fields)
    body = packs.ljust(indexfile._slots_at(rows) - indexfile._PACKS_AT, b"\0")
    table = feed.rest()[: slots * SLOT_BYTES].ljust(slots * SLOT_BYTES, b"\0")
    return header + blake3(header).update(body).digest() + body + table


def _hostile(feed: Feed, path: Path) -> None:
    file = accepted(IndexFile.open, path)
    if file is None:
        return
    table = np.frombuffer(path.read_bytes()[-len(file._slots) :], np.uint8).reshape(-1, SLOT_BYTES)
    wanted = np.zeros((len(table) + 1, 32), np.uint8)
    wanted[:-1, :16] = table[:, :16]
    columns = PackIds()
    held = np.ascontiguousarray(wanted[: max(1, len(wanted) // 2)])
    for row in range(len(file.rows)):
        file.pack_map[row] = row if row != 1 else NONE
        if row != 2:
            columns.add(row, held)
    packs, ordinals, unmapped = (np.full(len(wanted), NONE, np.uint32) for _ in range(3))
    file.lookup(columns, wanted, packs, ordinals, unmapped)
    for row in np.flatnonzero(packs != NONE):
        assert packs[row] < len(file.rows) and packs[row] not in (1, 2)
        assert np.array_equal(held[ordinals[row]], wanted[row])
    file.packs  # noqa: B018
    file.close()


def _written(feed: Feed, number: int, path: Path) -> None:
    columns = [_ids(feed) for _ in range(feed.number() % 4)]
    packs = [(bytes([row]) * 16, len(ids)) for row, ids in enumerate(columns)]
    if not write_index(number, packs, columns.__getitem__, MULTIPLIER):
        return
    file = IndexFile.open(path)
    known = PackIds()
    model: dict[bytes, set[tuple[int, int]]] = {}
    for row, ids in enumerate(columns):
        file.pack_map[row] = row
        known.add(row, ids)
        for ordinal, one in enumerate(ids):
            model.setdefault(one.tobytes(), set()).add((row, ordinal))
    asked = np.concatenate([*columns, _ids(feed), np.zeros((1, 32), np.uint8)])
    packs_out, ordinals, unmapped = (np.full(len(asked), NONE, np.uint32) for _ in range(3))
    assert file.lookup(known, asked, packs_out, ordinals, unmapped) == 0
    for one, pack, ordinal in zip(asked, packs_out.tolist(), ordinals.tolist(), strict=True):
        assert (pack, ordinal) in model[one.tobytes()] if one.tobytes() in model else pack == NONE
    file.close()


def _delta(feed: Feed) -> None:
    table = DeltaTable(MULTIPLIER)
    model: dict[tuple[bytes, int], int] = {}
    while feed:
        match feed.number() % 4:
            case 0:
                ids, pack, first = _ids(feed), feed.number() % 6, feed.number(2)
                table.insert(ids, pack, first)
                for ordinal, one in enumerate(ids):
                    model.setdefault((one.tobytes(), pack), first + ordinal)
            case 1:
                gone = sorted({feed.number() % 6 for _ in range(feed.number() % 3)})
                table.drop_packs(np.array(gone, np.uint32))
                model = {key: place for key, place in model.items() if key[1] not in gone}
            case 2:
                _look_up(table, model, _ids(feed))
            case _:
                table.clear()
                model = {}
        assert len(table) == len(model) and table.nbytes > 0


def _look_up(table: DeltaTable, model: dict[tuple[bytes, int], int], ids: np.ndarray) -> None:
    packs, ordinals, first = (np.full(len(ids), NONE, np.uint32) for _ in range(3))
    table.lookup(ids, packs, ordinals)
    for one, pack, ordinal in zip(ids, packs.tolist(), ordinals.tolist(), strict=True):
        if pack == NONE:
            assert all((one.tobytes(), number) not in model for number in range(6))
        else:
            assert model[one.tobytes(), pack] == ordinal
    fresh = mark_repeats(ids, packs, MULTIPLIER, first)
    unknown = {one.tobytes() for one, pack in zip(ids, packs.tolist(), strict=True) if pack == NONE}
    assert fresh == len(unknown)


def seeds() -> Iterator[bytes]:
    yield b"\2\3" + b"\5" + bytes(range(1, 11)) + b"\3" + b"\1\2\3\4\5\6" + b"\0" + b"\2\1\2\3\4"
    yield b"\2\1" + b"\46" + bytes(40) + bytes(range(40))
    yield b"\3" + b"\0\3\1\2\3\4\5\6\1\0\0" + b"\2\3\1\2\3\4\5\6" + b"\1\1\1" + b"\2\3\1\2\3\4\5\6" + b"\3"
    slots = b"".join(bytes([n]) * 16 + (n % 3 + 1).to_bytes(4, "little") + n.to_bytes(4, "little") for n in range(6))
    sealed = b"\3" + b"".join(bytes([n]) * 16 + b"\2\0" for n in range(3)) + b"\6" + bytes(8) + b"\6\0\0\0" + b"\0\6\6" + slots
    yield b"\1" + sealed
    yield b"\0" + _sealed(Feed(sealed))
