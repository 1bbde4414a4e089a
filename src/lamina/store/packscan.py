"""The records of a pack by their own headers, from its front: what serves when its footer is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lamina.errors import LaminaError
from lamina.storage import ReadHandle
from lamina.store import layout

_WINDOW = 1 << 20  # bytes that are searched at a time for the next header


class Record(NamedTuple):
    """What a header says of the stored bytes behind it, which begin at `offset`."""

    offset: int
    stored: int
    plain: int
    rows: int
    kind: int
    codec: int
    checksum: int


def read_at(handle: ReadHandle, offset: int, count: int) -> memoryview:
    """Bytes of a file, fewer at its end, none of what the disk does not give back."""
    data = memoryview(bytearray(max(0, min(count, handle.size - offset))))
    try:
        return data[: handle.pread_into(data, offset)]
    except LaminaError:
        return data[:0]


def stored_bytes(handle: ReadHandle, record: Record) -> memoryview | None:
    """The stored bytes of a record, if they are what their checksum says."""
    data = read_at(handle, record.offset, record.stored)
    return data if len(data) == record.stored and layout.checksum(data) == record.checksum else None


def scan(handle: ReadHandle) -> Iterator[Record]:
    """All records whose header can be found, in their order; what they hold is for the caller to check.

    Where there is no header, the next one is searched for byte by byte.  Within what a header covers that is followed by none
    only frames are taken: their chunks have ids, but what a file's content looks like must not pass for a journal.
    """
    at = layout.HEADER.size
    while (found := _next(handle, at)) is not None:
        at = found.offset + found.stored
        yield found


def _next(handle: ReadHandle, at: int) -> Record | None:
    """The record at `at`, or the first one behind it whose stored bytes are whole."""
    record = _parse(handle, at)
    if record is None:
        return _search(handle, at + 1, handle.size, tuple(range(layout.CONTENT, layout.JOURNAL + 1)))
    end = record.offset + record.stored
    if end > handle.size or stored_bytes(handle, record) is not None or _parse(handle, end) is not None:
        return record  # the first: the file is cut off in it
    return _search(handle, at + 1, end, layout.FRAMES) or record


def _parse(handle: ReadHandle, at: int) -> Record | None:
    """The header at `at`, if there is one that makes sense."""
    head = read_at(handle, at, layout.RECORD_HEADER.size)
    if len(head) < layout.RECORD_HEADER.size:
        return None
    magic, kind, codec, zero, stored, plain, rows, zeros, check = layout.RECORD_HEADER.unpack(head)
    if magic != layout.RECORD_MAGIC or zero or zeros or max(stored, plain) > layout.RECORD_LIMIT:
        return None
    if codec not in (layout.RAW, layout.ZSTD) or not layout.CONTENT <= kind <= layout.JOURNAL:
        return None
    return Record(at + len(head), stored, plain, rows, kind, codec, check)


def _search(handle: ReadHandle, at: int, end: int, kinds: tuple[int, ...]) -> Record | None:
    """The first record that is whole and begins there, before `end`."""
    step = _WINDOW - len(layout.RECORD_MAGIC) + 1
    for begin in range(at, end, step):
        window = bytes(read_at(handle, begin, min(_WINDOW, end - begin)))
        found = window.find(layout.RECORD_MAGIC)
        while found >= 0:
            record = _parse(handle, begin + found)
            if record is not None and record.kind in kinds and stored_bytes(handle, record) is not None:
                return record
            found = window.find(layout.RECORD_MAGIC, found + 1)
    return None
