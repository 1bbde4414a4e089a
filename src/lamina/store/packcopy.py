"""A sealed pack copied as it is; what passes is what is checked: header, every record with its header, footer.

Chunks are not held against their ids: the checksums of the records that they lie in are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lamina._native.blake3many import hash_many
from lamina.errors import StorageError, StoreDamaged
from lamina.storage import ReadHandle, Writer
from lamina.store import layout

PIECE: Final = 4 << 20  # bytes of records that are read at once, up to the end of the record that they end in
_HEAD: Final = layout.RECORD_HEADER.size
_HEADER: Final = np.dtype([("magic", "S4"), ("type", "u1"), ("codec", "u1"), ("zero", "<u2"), ("stored", "<u4"),
                           ("plain", "<u4"), ("rows", "<u4"), ("none", "<u4"), ("checksum", "<u8")])
_HINT: Final = "run lamina verify"


def copy_pack(pack: ReadHandle, writer: Writer, watch: Callable[[int], None]) -> None:
    """Write the whole pack, and seal it; `watch` is told of bytes as they are written.

    `StoreDamaged` if anything of the pack is not what it should be, or cannot be read; then nothing is sealed.
    Memory: `PIECE` and the largest record, at most 20 MiB, or the footer.
    """
    last = _footer_bytes(pack)
    tail = layout.Tail.parse(bytes(last[-layout.TAIL.size :]), pack.size, pack.name)
    name = bytes.fromhex(pack.name.rpartition("/")[2])
    if tail.name != name:
        raise StoreDamaged("a pack has another pack's name", pack.name, _HINT)
    footer = layout.Footer(tail, last[: -layout.TAIL.size], pack.name)
    head = _read(pack, 0, layout.HEADER.size)
    if head != layout.pack_header(name):
        raise StoreDamaged("a pack's header is damaged", pack.name, _HINT)
    writer.write(head)
    for piece in _records(pack, footer):
        writer.write(piece)
        watch(len(piece))
    writer.write(last)
    writer.seal()
    watch(len(head) + len(last))


def _footer_bytes(pack: ReadHandle) -> memoryview:
    """Columns and tail, as they lie."""
    size = layout.TAIL.size
    if pack.size < layout.HEADER.size + size:
        raise StoreDamaged("a pack is too short", pack.name, _HINT)
    tail = layout.Tail.parse(bytes(_read(pack, pack.size - size, size)), pack.size, pack.name)
    return _read(pack, tail.at, pack.size - tail.at)


def _records(pack: ReadHandle, footer: layout.Footer) -> Iterator[memoryview]:
    """All between header and footer, checked, in pieces that are good until the next one."""
    rows = np.sort(footer.records, order="offset")
    ends = rows["offset"].astype(np.int64) + rows["stored"]
    starts = np.concatenate([[layout.HEADER.size], ends])
    if not np.array_equal(starts[:-1] + _HEAD, rows["offset"].astype(np.int64)):
        raise StoreDamaged("there is something between a pack's records", pack.name, _HINT)
    bounds = [0, *(np.flatnonzero(np.diff(ends // PIECE)) + 1).tolist(), len(rows)] if len(rows) else [0]
    buffer = memoryview(bytearray(max((int(starts[after] - starts[first]) for first, after in pairwise(bounds)), default=0)))
    for first, after in pairwise(bounds):
        at = int(starts[first])
        piece = buffer[: int(starts[after]) - at]
        _read_into(pack, at, piece)
        _check(np.frombuffer(piece, np.uint8), at, rows[first:after], pack.name)
        yield piece
    end = int(starts[-1])
    gap = _read(pack, end, footer.tail.at - end) if footer.tail.at - end < 8 else memoryview(b"?")
    if gap != layout.padding(end):
        raise StoreDamaged("there is something between a pack's records and its footer", pack.name, _HINT)
    yield gap


def _check(piece: npt.NDArray[np.uint8], at: int, rows: npt.NDArray[Any], where: str) -> None:
    """Records and their headers, which lie in a piece that begins at `at`, against the footer's rows."""
    offsets = rows["offset"].astype(np.int64) - at
    found = hash_many(piece, offsets, rows["stored"].astype(np.int64))[:, :8]
    bad = np.ascontiguousarray(found).view("<u8").ravel() != rows["checksum"]
    headers = np.zeros(len(rows), _HEADER)
    headers["magic"] = layout.RECORD_MAGIC
    for field in ("type", "codec", "stored", "plain", "rows", "checksum"):
        headers[field] = rows[field]
    there = piece[(offsets - _HEAD)[:, None] + np.arange(_HEAD)]
    bad |= (there != headers.view(np.uint8).reshape(-1, _HEAD)).any(axis=1)
    if bad.any():
        raise StoreDamaged(f"the record at {int(rows['offset'][bad][0])} is damaged", where, _HINT)


def _read(pack: ReadHandle, at: int, count: int) -> memoryview:
    data = memoryview(bytearray(count))
    _read_into(pack, at, data)
    return data


def _read_into(pack: ReadHandle, at: int, view: memoryview) -> None:
    with _unreadable():
        if pack.pread_into(view, at) != len(view):
            raise StoreDamaged("a pack ends too early", pack.name, _HINT)


@contextmanager
def _unreadable() -> Iterator[None]:
    """What the disk does not give is damage, too: the other packs are to be copied all the same."""
    try:
        yield
    except StorageError as error:
        raise StoreDamaged(error.what, error.where, error.hint) from error
