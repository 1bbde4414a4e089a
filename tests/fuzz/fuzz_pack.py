"""Packs: a file of any bytes, and one whose footer has a right checksum over any columns.

It is read or refused; what is read lies inside of the file; records give their plain bytes or `StoreDamaged`; what a rebuild
of the catalog takes out of it fits the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import zstandard
from fuzz.fuzzkit import Feed, accepted, part

from lamina._native.weave import gather
from lamina.digest import Digest
from lamina.errors import StoreDamaged
from lamina.store import layout
from lamina.store.frames import Frame, Frames
from lamina.store.packs import Packs, read_footer
from lamina.store.rebuild import rows_of
from lamina.store.recipe import Head

NAME = bytes(range(16))
PATH = f"packs/00/{NAME.hex()}"
INT64 = range(1 << 63)
WORDS = (b'{"digest":"sha256:', b'"kind":', b'"media_type":', b'"size":', b'"seq":', b'"made":true',
         b"LAMINAFT", b"LAMINAND", b"LREC")


class _File:
    """A pack in memory, as an open file and as the backend that opens it."""

    name = PATH

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def open(self, name: str) -> _File:
        return self

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        found = self._data[offset : offset + len(buffer)]
        buffer[: len(found)] = found
        return len(found)

    def map(self, offset: int, length: int) -> memoryview:
        if offset + length > len(self._data):
            raise ValueError("a range that is not all there")
        return memoryview(self._data)[offset : offset + length]

    def close(self) -> None:
        """Nothing to let go of."""


def run(data: bytes) -> None:
    feed = Feed(data)
    flags = feed.number()
    file = _File(built(feed, flags) if flags & 1 else feed.rest())
    footer = accepted(read_footer, file)
    if footer is None:
        return
    assert len(footer.records) * layout.RECORD.itemsize + 44 * len(footer.ids) <= file.size
    keys = accepted(footer.key_rows)
    packs = Packs(file, lambda number: NAME.hex())  # type: ignore[arg-type]
    for record in range(len(footer.records)):
        accepted(packs.record, 1, record)
    _frames(packs, footer)
    for row, _ in accepted(lambda: list(rows_of(packs, 1, footer))) or []:
        if row is not None:
            assert all(isinstance(text, str) and text.encode() is not None for text in row[:4])
            assert all(number in INT64 for number in (row.size, row.entries or 0, row.file_bytes or 0, row.plain_size or 0))
    assert keys is None or all(isinstance(key, dict) for _, key in keys)
    packs.close()


def _frames(packs: Packs, footer: layout.Footer) -> None:
    """The records as a reader holds them, several in one extent, and all chunks out of them."""
    rows = np.flatnonzero(footer.records["plain"] < 1 << 16)[:32].astype(np.uint32)
    frames = packs.locate(1, rows)
    held = _Frames(packs, arena=1 << 18, extent=1 << 16).hold(frames, force=True, ahead=False)
    assert held is not None
    views: dict[int, np.ndarray] = {}
    for frame, (extent, i) in zip(frames, held.places, strict=True):
        view = accepted(extent.view, i)
        if view is not None:
            assert len(view) == frame.plain
            views[frame.record] = view
    for place in footer.places:
        if int(place["record"]) in views:
            out = np.empty(int(place["length"]), np.uint8)
            gather(out, [views[int(place["record"])]], np.zeros(1, np.uint32), place["offset"].reshape(1).astype(np.uint32),
                   place["length"].reshape(1).astype(np.uint32), 0)


class _Frames(Frames):
    """One that says what it was given."""

    def _fill(self, extent) -> None:  # type: ignore[no-untyped-def]
        assert all(isinstance(frame, Frame) for frame in extent.frames)
        super()._fill(extent)
        assert all(isinstance(failure, StoreDamaged) for failure in extent.failures.values()), extent.failures


def built(feed: Feed, flags: int) -> bytes:
    """A pack of the records that the input names, sealed; `odd` bits make what the footer says differ from what was written."""
    out = layout.pack_header(NAME)
    rows, ids, places, keys = [], [], [], b""
    for number in range(feed.number() % 12):
        kind, codec, odd = feed.number() % 9, feed.number(), feed.number()
        plain = feed.part()
        stored = zstandard.compress(plain) if codec & 1 and not odd & 1 else plain
        size = feed.number(4) >> (0 if odd & 128 else 14) if odd & 2 else len(plain)
        check = feed.number(8) if odd & 4 else layout.checksum(stored)
        out += layout.record_header(kind, codec & 1, len(stored), size, 1, check)
        at, length = (feed.number(8), feed.number(4)) if odd & 8 else (len(out), len(stored))
        rows.append((at, length, size, 1, kind, codec & 3 if odd & 16 else codec & 1, 0, check))
        out += stored
        if kind >= layout.HEAD:
            key = feed.part()
            keys += layout.KEY_LENGTH.pack(feed.number(4) if odd & 32 else len(key)) + key
        else:
            ids.append(feed.bytes(32).ljust(32, b"\0"))
            places.append((feed.number(), feed.number(4), feed.number(4)) if odd & 64 else (number, 0, size))
    out += b"" if flags & 2 else layout.padding(len(out))
    column = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 32)
    records, where = np.array(rows, layout.RECORD), np.array(places, layout.PLACE)
    return out + b"".join(layout.footer(NAME, len(out), records, column, where, keys))


def seeds() -> Iterator[bytes]:
    digest = Digest.of(b"")
    head = Head(digest, digest, 5, "a/b", digest, 5, 1, 5, [(bytes(32), 0, 0, 0)], []).encode()
    of_head = b'{"digest":"%s","kind":"layer","size":5}' % digest.encode()
    of_document = b'{"digest":"%s","media_type":"a/b","size":2}' % digest.encode()
    records = [
        b"\1\1\0" + part(b"content " * 9) + bytes(32),
        b"\2\0\0" + part(b"segment") + b"\1" * 32,
        b"\4\1\0" + part(head) + part(of_head),
        b"\5\0\0" + part(b"{}") + part(of_document),
        b"\6\0\0" + part(b'{"seq":1,"set":[],"remove":[]}') + part(b'{"seq":1}'),
    ]
    yield b"\1" + bytes([len(records)]) + b"".join(records)
    yield b"\1\2" + records[2].replace(b'"layer"', b"[12345]") + records[3].replace(b'"a/b"', b"12345")
    yield b"\1\1\5\0\0" + part(b"{}") + part(b"5")
    yield b"\3\3" + records[0] + records[1] + records[0]
    yield b"\1\2" + records[0] + b"\1\0\x7e" + part(b"odd") + (5).to_bytes(4, "little") + bytes(8) + bytes(12)
    yield b"\1\2" + records[0] + b"\1\0\x40" + part(b"a place") + bytes(32) + b"\1" + bytes([3, 0, 0, 0, 4, 0, 0, 0])
    yield b"\0" + built(Feed(b"\2" + records[0] + records[3]), 1)
