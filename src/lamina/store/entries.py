"""The block of an entry table: members of a layer as columns, in bytes that compress well.

A block holds n members (the scanner's `EntryColumns`). It is not compressed by itself; its user compresses it. All
numbers are little-endian:

    u8       version, 1
    u32      n
    u32 x 6  stored bytes of the texts: path, link, uname, gname, xattrs, sparse
    u8  x n  kind
    u32 x n  mode, mtime_ns, devmajor, devminor
    i64 x n  uid, gid, mtime
    i64 x n  in planes: stored; size - stored; offset - header; header - the end of the member before (0 for the first)
    u8  x n  bytes that a path shares with the path before it, at most 255
    per text: u32 x n in planes, the lengths; then the bytes (of a path those that are not shared)

In a store of version 2 a block of 64 KiB or more is kept as three chunks, in this order: up to the last mtime; the planes
of sizes and places; the rest, which is names.  Layers that are kin (an image built again) differ in few of them: of ten layers
with the same 6,275 names, a fifth of whose files are of other bytes and times, the tables are an eighth of what they are whole.

*Planes* are the lowest bytes of all n numbers, then the next bytes, up to the highest. The end of a member is its
offset, plus what it stores, plus the padding of that to 512 bytes. Differences are modulo 2**64.

Over the 35,893 members of nine real layers, in blocks of up to 8,192 or so, zstd level 1 leaves 6.7 bytes a member: 3.6 are
paths, 1.6 sizes, and the places cost nearly nothing. The bare columns leave 17.6; paths as they stand would add 2.2, sizes that
are not in planes 0.3. Before compression a member has 115.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina._native.tarscan import Column, EntryColumns, front_code, front_decode
from lamina.errors import StoreDamaged
from lamina.store.layout import RECORD_LIMIT

VERSION = 1
_HEAD = struct.Struct("<BI6I")
_SMALL = ("mode", "mtime_ns", "devmajor", "devminor")
_LARGE = ("uid", "gid", "mtime")
_PLANES = 4
_BLOCK_BYTES = 1 << 20
_PARTS, _PARTS_FROM = 3, 64 << 10  # a part costs 200 bytes by itself: record, footer, index, head
_TEXTS = ("path", "link", "uname", "gname", "xattrs", "sparse")
_BYTES_PER_MEMBER = 1 + 4 * len(_SMALL) + 8 * len(_LARGE) + 8 * _PLANES + 1 + 4 * len(_TEXTS)
_Number = TypeVar("_Number", np.uint8, np.uint32, np.int64, np.uint64)


def encode_block(entries: EntryColumns) -> bytes:
    """The block of these members.

    The columns must be of one length, and the starts of a text those of its data, else ValueError.
    """
    n = len(entries.kind)
    prefix, rest = front_code(entries.path.starts, entries.path.data)
    texts = [rest, *(getattr(entries, name).data for name in _TEXTS[1:])]
    parts = [
        _HEAD.pack(VERSION, n, *map(len, texts)),
        entries.kind.tobytes(),
        *(getattr(entries, name).astype("<u4").tobytes() for name in _SMALL),
        *(getattr(entries, name).astype("<i8").tobytes() for name in _LARGE),
        *(_to_planes(column.astype("<u8")) for column in _differences(entries)),
        prefix.tobytes(),
    ]
    for name, text in zip(_TEXTS, texts, strict=True):
        lengths = np.diff(getattr(entries, name).starts)
        parts += [_to_planes((lengths - prefix if name == "path" else lengths).astype("<u4")), text]
    block = b"".join(parts)
    if len(block) != _size(n, map(len, texts)):
        raise ValueError("entry columns of different lengths")
    return block


def encode_blocks(entries: EntryColumns) -> Iterator[bytes]:
    """The members in as many blocks as keep each near a megabyte; one member may have more (names and maps of some MiB)."""
    n = len(entries.kind)
    if n <= 1 or sum(len(getattr(entries, name).data) for name in _TEXTS) + n * _BYTES_PER_MEMBER <= _BLOCK_BYTES:
        yield encode_block(entries)
        return
    yield from encode_blocks(_some(entries, 0, n // 2))
    yield from encode_blocks(_some(entries, n // 2, n))


def parts(block: bytes) -> list[bytes]:
    """A block as chunks that other layers may have, too: itself, or owners and times, sizes and places, names."""
    if len(block) < _PARTS_FROM:
        return [block]
    n = _HEAD.unpack_from(block)[1]
    places = _HEAD.size + (1 + 4 * len(_SMALL) + 8 * len(_LARGE)) * n
    names = places + 8 * _PLANES * n
    return [block[:places], block[places:names], block[names:]]


def joined(ids: Sequence[bytes], read: Callable[[bytes], bytes | memoryview]) -> Iterator[tuple[bytes, int]]:
    """The blocks whose chunks these are, and how many chunks each has; `read` gives the bytes of one.

    StoreDamaged where chunks make no block.  Memory: two records at most (`layout.RECORD_LIMIT`).
    """
    at = 0
    while at < len(ids):
        found, block = 0, b""
        while not found or (found < _PARTS and at + found < len(ids) and len(block) < _length(block)):
            part = read(ids[at + found])
            if len(block) + len(part) > RECORD_LIMIT:
                _damaged("an entry block is longer than any")
            block += part
            found += 1
        yield block, found
        at += found


def _length(block: bytes) -> int:
    """Bytes of a block, by its beginning; 0 for what is none."""
    if len(block) < _HEAD.size or block[0] != VERSION:
        return 0
    _, n, *sizes = _HEAD.unpack_from(block)
    return _size(n, sizes)


def _some(entries: EntryColumns, start: int, end: int) -> EntryColumns:
    def part(column: NDArray[np.generic] | Column) -> NDArray[np.generic] | Column:
        if not isinstance(column, Column):
            return column[start:end]
        starts = column.starts[start : end + 1]
        return Column(starts - starts[0], column.data[int(starts[0]) : int(starts[-1])])

    return EntryColumns(*map(part, entries))  # type: ignore[arg-type]


def decode_block(block: bytes) -> EntryColumns:
    """The members of a block, as they were given to `encode_block`; StoreDamaged for bytes that are no whole block.

    What it allocates is bounded by the block's length: at most 256 bytes a member beside what the block holds.
    """
    if len(block) < _HEAD.size or block[0] != VERSION:
        _damaged("an entry block has no known beginning")
    _, n, *sizes = _HEAD.unpack_from(block)
    if len(block) != _size(n, sizes):
        _damaged("an entry block has not the length that it states")
    reader = _Reader(block, n)
    kind = reader.numbers(np.uint8)
    mode, mtime_ns, devmajor, devminor = (reader.numbers(np.uint32) for _ in _SMALL)
    uid, gid, mtime = (reader.numbers(np.int64) for _ in _LARGE)
    size, stored, offset, header = _places(*(reader.planes(np.uint64) for _ in range(_PLANES)))
    path = front_decode(reader.numbers(np.uint8), reader.planes(np.uint32), reader.take(sizes[0]))
    if path is None:
        _damaged("an entry block has paths that do not fit together")
    texts = [reader.text(size) for size in sizes[1:]]
    return EntryColumns(
        kind, mode, uid, gid, size, stored, offset, header, mtime, mtime_ns, devmajor, devminor, path, *texts
    )


def _size(n: int, texts: Iterable[int]) -> int:
    """Bytes of a block of n members whose texts have these lengths."""
    return _HEAD.size + _BYTES_PER_MEMBER * n + sum(texts)


def _differences(entries: EntryColumns) -> list[NDArray[np.uint64]]:
    """The four columns in planes; a layer without extension headers makes the last two nearly constant."""
    size, stored, offset, header = (
        column.view(np.uint64) for column in (entries.size, entries.stored, entries.offset, entries.header)
    )
    gap = offset - header
    follows = header.copy()
    follows[1:] -= header[:-1] + _extent(gap, stored)[:-1]
    return [stored, size - stored, gap, follows]


def _places(
    stored: NDArray[np.uint64], beyond: NDArray[np.uint64], gap: NDArray[np.uint64], follows: NDArray[np.uint64]
) -> list[NDArray[np.int64]]:
    """Size, stored, offset and header out of what `_differences` made of them."""
    steps = follows.copy()
    steps[1:] += _extent(gap, stored)[:-1]
    header = np.cumsum(steps, dtype=np.uint64)
    return [column.view(np.int64) for column in (stored + beyond, stored, header + gap, header)]


def _extent(gap: NDArray[np.uint64], stored: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bytes from a member's first header to the end of its padding."""
    return gap + stored + (-stored.view(np.int64) & 511).view(np.uint64)


def _to_planes(column: NDArray[np.uint64] | NDArray[np.uint32]) -> bytes:
    return column.view(np.uint8).reshape(len(column), column.itemsize).T.tobytes()


def _damaged(what: str) -> NoReturn:
    raise StoreDamaged(what, hint="run `lamina verify`")


class _Reader:
    """Takes columns of n numbers, and texts, from a block whose length has been checked."""

    def __init__(self, block: bytes, n: int) -> None:
        self._rest, self._n = memoryview(block)[_HEAD.size :], n

    def take(self, size: int) -> memoryview:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def numbers(self, kind: type[_Number]) -> NDArray[_Number]:
        dtype = np.dtype(kind)
        column = np.frombuffer(self.take(self._n * dtype.itemsize), dtype.newbyteorder("<"))
        return column.astype(dtype)

    def planes(self, kind: type[_Number]) -> NDArray[_Number]:
        dtype = np.dtype(kind)
        planes = np.frombuffer(self.take(self._n * dtype.itemsize), np.uint8).reshape(dtype.itemsize, self._n)
        column = np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).reshape(self._n)
        return column.astype(dtype)

    def text(self, size: int) -> Column:
        starts = np.zeros(self._n + 1, np.uint64)
        np.cumsum(self.planes(np.uint32), dtype=np.uint64, out=starts[1:])
        if starts[-1] != size:
            _damaged("an entry block has a text of another length than its parts")
        return Column(starts.astype(np.uint32), bytes(self.take(size)))
