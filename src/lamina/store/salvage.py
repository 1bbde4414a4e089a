"""What is still whole of a damaged pack: by its footer, by what is left of that, or by the records' own headers.

Nothing is taken that does not check out: a record by its checksum, a chunk by its id.  Memory: a footer (44 bytes a chunk), and
one record, stored and plain (32 MiB at most).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from lamina._native.blake3many import hash_many
from lamina.errors import LaminaError
from lamina.storage import ReadHandle
from lamina.store import layout
from lamina.store.codec import decode
from lamina.store.packscan import Record, read_at, scan, stored_bytes

U8 = npt.NDArray[np.uint8]
_STEP = 256  # stored bytes that are decompressed at a time of a damaged frame: they give 8 MiB at most


@dataclass(frozen=True, slots=True)
class Piece:
    """A record, or what holds of it.

    `whole`: its stored bytes are what they were.  `ids` and `places` (PLACE) are of the chunks that hold; `cut` is false of a
    frame of which is not known where its chunks begin.  `key`: what the footer says of a record that is no frame; of one that
    does not hold there is nothing else.  `sure`: the footer is checked.
    """

    record: Record
    stored: memoryview
    plain: memoryview
    whole: bool
    cut: bool = True
    ids: U8 = field(default_factory=lambda: np.empty((0, 32), np.uint8))
    places: npt.NDArray[Any] = field(default_factory=lambda: np.empty(0, layout.PLACE))
    key: dict[str, Any] = field(default_factory=dict)
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """A footer, checked (`sure`) or not.  `shift`: by how many bytes the records behind a tear lie elsewhere than it says."""

    footer: layout.Footer
    keys: dict[int, dict[str, Any]]
    shift: int
    sure: bool


def outline(handle: ReadHandle) -> Outline | None:
    """The footer of a pack, or what is left of it; None if it cannot be told where its columns are."""
    size = handle.size
    raw = read_at(handle, max(0, size - layout.TAIL.size), layout.TAIL.size)
    if len(raw) != layout.TAIL.size or size < layout.HEADER.size + layout.TAIL.size:
        return None
    _, _, _, name, at, records, chunks, keys, _, check, _ = layout.TAIL.unpack(raw)
    tail = layout.Tail(name, at, records, chunks, keys, check)
    length = sum(tail.columns)
    begin = size - layout.TAIL.size - length
    if begin < layout.HEADER.size:
        return None
    data = read_at(handle, begin, length)
    if len(data) != length:
        return None
    try:
        footer = layout.Footer(tail, data, handle.name)
        return Outline(footer, dict(footer.key_rows()), begin - at, True)
    except LaminaError:
        if begin != at:  # not where its own tail says: the numbers of columns may be wrong
            return None
    footer = layout.Footer(tail, data, handle.name, sure=False)
    found: dict[int, dict[str, Any]] = {}
    with suppress(LaminaError):
        found = dict(footer.key_rows())
    return Outline(footer, found, 0, False)


def salvage(handle: ReadHandle) -> Iterator[Piece]:
    """All that holds of a pack, in the order of its records."""
    known = outline(handle)
    if known is None:
        yield from filter(None, (_alone(handle, record) for record in scan(handle)))
        return
    rows = _Rows(known.footer)
    if known.sure:
        for number, record in _listed(known):
            if (piece := _listed_piece(handle, known, rows, number, record)) is not None:
                yield piece
        return
    # Headers say more than a footer that is damaged; it tells where chunks begin, and of records whose header is damaged.
    numbers = {record.offset: (number, record) for number, record in _listed(known)}
    found = {record.offset: record for record in scan(handle)}
    for offset in sorted(numbers.keys() | found.keys()):
        number = numbers[offset][0] if offset in numbers else -1
        record = found[offset] if offset in found else numbers[offset][1]
        piece = _listed_piece(handle, known, rows, number, record) if number >= 0 else _alone(handle, record)
        if piece is not None:
            yield piece


def _listed(known: Outline) -> Iterator[tuple[int, Record]]:
    """The records of a footer that make sense, by their place."""
    for number in np.argsort(known.footer.records["offset"], kind="stable"):
        row = known.footer.records[number]
        record = Record(*(int(row[name]) for name in ("offset", "stored", "plain", "rows", "type", "codec", "checksum")))
        if max(record.stored, record.plain) <= layout.RECORD_LIMIT and record.offset >= layout.HEADER.size:
            yield int(number), record


class _Rows:
    """The chunks of each record of a footer."""

    def __init__(self, footer: layout.Footer) -> None:
        records = footer.places["record"]
        self._order = np.lexsort((footer.places["offset"], records))
        self._bounds = np.searchsorted(records[self._order], np.arange(len(footer.records) + 1))

    def of(self, number: int) -> npt.NDArray[np.int64]:
        """Their ordinals, by their place in the record."""
        rows: npt.NDArray[np.int64] = self._order[self._bounds[number] : self._bounds[number + 1]]
        return rows


def _listed_piece(handle: ReadHandle, known: Outline, rows: _Rows, number: int, record: Record) -> Piece | None:
    """What holds of a record that a footer lists."""
    key = known.keys.get(number, {})
    for place in dict.fromkeys((record.offset, record.offset + known.shift)):
        record = record._replace(offset=place)
        if (stored := stored_bytes(handle, record)) is not None and (plain := _decoded(record, stored)) is not None:
            if record.kind not in layout.FRAMES:
                return Piece(record, stored, plain, True, key=key, sure=known.sure)
            return _chunks(known, rows.of(number), Piece(record, stored, plain, True))
    if record.kind not in layout.FRAMES:
        return Piece(record, memoryview(b""), memoryview(b""), False, key=key, sure=known.sure) if known.sure and key else None
    found = [piece for place in dict.fromkeys((record.offset - known.shift, record.offset))
             if (piece := _beginning(handle, known, rows.of(number), record._replace(offset=place))) is not None]
    return max(found, key=lambda piece: len(piece.ids), default=None)


def _beginning(handle: ReadHandle, known: Outline, rows: npt.NDArray[np.int64], record: Record) -> Piece | None:
    """The chunks that hold of a frame whose stored bytes are damaged."""
    piece = _broken(handle, record)
    piece = _chunks(known, rows, piece)
    return piece if len(piece.ids) or not piece.cut else None


def _chunks(known: Outline, rows: npt.NDArray[np.int64], piece: Piece) -> Piece:
    """The chunks of a frame that are what the footer says; of an unsure one, those that it cuts the frame into."""
    places, claimed = known.footer.places[rows], known.footer.ids[rows]
    ends = places["offset"].astype(np.int64) + places["length"]
    there = ends <= len(piece.plain)
    places, claimed, ends = places[there], claimed[there], ends[there]
    ids = hash_many(piece.plain, places["offset"].astype(np.int64), places["length"].astype(np.int64))
    good = (ids == claimed).all(axis=1)
    if not known.sure:
        starts = places["offset"].astype(np.int64)
        tiled = len(starts) > 0 and starts[0] == 0 and ends[-1] == len(piece.plain) and bool((starts[1:] == ends[:-1]).all())
        if piece.whole and tiled:
            good[:] = True  # an id of the footer is damaged, the chunk is not
        elif not good.all() or not tiled:
            return Piece(piece.record, piece.stored, piece.plain, piece.whole, cut=False)
    return Piece(piece.record, piece.stored, piece.plain, piece.whole, True, ids[good], places[good])


def _alone(handle: ReadHandle, record: Record) -> Piece | None:
    """A record of which only its header is known.  A frame of one chunk, as all of recipes are, needs no cutting."""
    stored = stored_bytes(handle, record)
    plain = None if stored is None else _decoded(record, stored)
    if stored is None or plain is None:
        return _broken(handle, record) if record.kind in (layout.CONTENT, layout.SEGMENT) else None
    if record.kind not in layout.FRAMES:
        return Piece(record, stored, plain, True)
    if record.kind != layout.META and record.rows != 1:
        return Piece(record, stored, plain, True, cut=False)
    places = np.zeros(1, layout.PLACE)
    places["length"] = len(plain)
    ids = hash_many(plain, np.zeros(1, np.int64), np.array([len(plain)], np.int64))
    return Piece(record, stored, plain, True, True, ids, places)


def _broken(handle: ReadHandle, record: Record) -> Piece:
    """A frame whose stored bytes are damaged, as far as it can be read, not cut yet."""
    stored = read_at(handle, record.offset, record.stored)
    return Piece(record, stored, _beginning_of(record, stored), False, cut=False)


def _decoded(record: Record, stored: memoryview) -> memoryview | None:
    try:
        return memoryview(decode(record.codec, stored, record.plain, ""))
    except LaminaError:
        return None


def _beginning_of(record: Record, stored: memoryview) -> memoryview:
    """The plain bytes of a damaged frame: all of a raw one, of another those before what cannot be decompressed."""
    if record.codec == layout.RAW:
        return stored[: record.plain]
    plain = bytearray()
    reader = zstandard.ZstdDecompressor().decompressobj()
    with suppress(zstandard.ZstdError):
        for at in range(0, len(stored), _STEP):
            plain += reader.decompress(stored[at : at + _STEP])
            if len(plain) >= record.plain or reader.eof:
                break
    return memoryview(plain)[: record.plain]
