"""One pack from front to end: header, gaps, every record against its checksum and its header, every chunk against its id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina._native.blake3many import hash_many
from lamina.content.progress import Progress
from lamina.errors import LaminaError, StoreDamaged
from lamina.storage import ReadHandle
from lamina.store import layout
from lamina.store.codec import decode
from lamina.store.packs import Packs, pack_path
from lamina.store.schema import PackRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

Rows = npt.NDArray[np.int64]
Plain = npt.NDArray[np.uint8] | memoryview | bytes

_HEADER = np.dtype([("magic", "S4"), ("type", "u1"), ("codec", "u1"), ("zero", "<u2"), ("stored", "<u4"), ("plain", "<u4"),
                    ("rows", "<u4"), ("zero2", "<u4"), ("checksum", "<u8")])
_SLICE = 1 << 15  # record headers that are read before they are compared: 1 MiB


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a pack: the ids of the chunks that it spoils, or the digest of a head or document.

    `record` of `pack` (its name in hex) is where they lie; -1 for what is no record's.
    """

    what: str
    where: str
    chunks: frozenset[bytes] = frozenset()
    digest: str = ""
    pack: str = ""
    record: int = -1


class Grouped:
    """The rows of a footer's chunk columns by the record that they lie in."""

    def __init__(self, footer: layout.Footer) -> None:
        records = footer.places["record"]
        # As they are written, mostly: then no order needs to be kept (8 bytes a chunk).
        sorted_already = not len(records) or bool((records[1:] >= records[:-1]).all())
        self._order = None if sorted_already else np.argsort(records, kind="stable")
        self._bounds = np.searchsorted(records if self._order is None else records[self._order],
                                       np.arange(len(footer.records) + 1))

    def rows(self, record: int) -> Rows:
        """Those of one record."""
        begin, end = int(self._bounds[record]), int(self._bounds[record + 1])
        return np.arange(begin, end) if self._order is None else self._order[begin:end]


def check_pack(store: BlobStore, pack: PackRow, damage: list[Damage], progress: Progress) -> None:
    """Every record against its checksum and its header, every chunk against its id."""
    progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)
    store.packs.forget(pack.number)  # what lies on disk now, not what was read before
    footer = check_frame(store.packs, pack, damage)
    if footer is None:
        return
    grouped = Grouped(footer)
    for record, plain in _records(store.packs, pack, footer):
        check_record(store.packs, pack, footer, record, plain, grouped.rows(record), damage)
        progress.advance(pack.name, int(footer.records[record]["stored"]))
    progress.done(pack.name, "verified")


def check_frame(packs: Packs, pack: PackRow, damage: list[Damage]) -> layout.Footer | None:
    """All of a pack that is in no record: header, gaps, footer.  None if the footer, and with it all of the pack, is lost."""
    where = pack_path(pack.name)
    try:
        footer = packs.footer(pack.number)
        footer.key_rows()
        handle = packs.handle(pack.number)
    except LaminaError as error:  # an I/O error too: the rest is to be looked at all the same
        damage.append(Damage(error.what, where, pack=pack.name))
        return None
    for check in (_check_header, _check_gaps):
        try:
            check(handle, pack, footer)
        except LaminaError as error:
            damage.append(Damage(error.what, where, pack=pack.name))
    return footer


def _records(packs: Packs, pack: PackRow, footer: layout.Footer) -> Iterator[tuple[int, Plain | None]]:
    """Every record, and its plain bytes if it is a frame that could be read: frames on several cores, then the others."""
    frames = np.isin(footer.records["type"], layout.FRAMES)
    located = packs.locate(pack.number, np.flatnonzero(frames).astype(np.uint32))
    for frame, plain in packs.frames.each(located):
        yield frame.record, plain
    for record in np.flatnonzero(~frames):
        yield int(record), None


def check_record(packs: Packs, pack: PackRow, footer: layout.Footer, record: int, plain: Plain | None, rows: Rows,
                 damage: list[Damage]) -> None:
    """One record; what could not be read among others (None) is read by itself, to say what is wrong with it."""
    where = pack_path(pack.name)
    try:
        if plain is None:
            row, stored = packs.stored(pack.number, record)
            plain = decode(int(row["codec"]), stored, int(row["plain"]), footer.where)
    except LaminaError as error:
        spoiled = frozenset(bytes(chunk_id) for chunk_id in footer.ids[rows])
        digest = "" if len(rows) else str(dict(footer.key_rows()).get(record, {}).get("digest", ""))
        damage.append(Damage(error.what, where, spoiled, digest, pack.name, record))
        return
    wrong = wrong_rows(footer, plain, rows)
    if len(wrong):
        spoiled = frozenset(bytes(chunk_id) for chunk_id in footer.ids[wrong])
        damage.append(Damage(f"record {record} holds other chunks than its pack says", where, spoiled, "", pack.name, record))


def wrong_rows(footer: layout.Footer, plain: Plain, rows: Rows) -> Rows:
    """Those of the rows whose bytes, in the plain record, do not have their id."""
    places = footer.places[rows]
    ids = hash_many(plain, places["offset"].astype(np.int64), places["length"].astype(np.int64))
    wrong: Rows = rows[(ids != footer.ids[rows]).any(axis=1)]
    return wrong


def _check_header(handle: ReadHandle, pack: PackRow, footer: layout.Footer) -> None:
    head = bytearray(layout.HEADER.size)
    handle.pread_into(memoryview(head), 0)
    if head != layout.pack_header(bytes.fromhex(pack.name)):
        raise StoreDamaged("a pack's header is damaged", handle.name)
    if (handle.size, len(footer.ids)) != (pack.bytes, pack.chunks):
        raise StoreDamaged(f"a pack has {handle.size} bytes and {len(footer.ids)} chunks, the catalog says {pack.bytes} and "
                           f"{pack.chunks}", handle.name)


def _check_gaps(handle: ReadHandle, pack: PackRow, footer: layout.Footer) -> None:
    """The bytes between records: each record's header before it, zeros behind the last, and nothing else."""
    at = layout.HEADER.size
    records = np.sort(footer.records, order="offset")
    for first in range(0, len(records), _SLICE):
        some = records[first : first + _SLICE]
        wanted = _headers(some)
        found = np.zeros(len(some), _HEADER)
        view = memoryview(found.view(np.uint8))
        size = _HEADER.itemsize
        for i, offset in enumerate(some["offset"].tolist()):
            handle.pread_into(view[i * size : (i + 1) * size], max(0, offset - size))
        ends = some["offset"] + some["stored"]
        begins = np.concatenate([np.array([at], np.uint64), ends[:-1]])
        bad = np.flatnonzero((some["offset"] != begins + np.uint64(size)) | (found != wanted))
        if len(bad):
            raise StoreDamaged(f"the header of the record at {int(begins[bad[0]])} is damaged", handle.name)
        at = int(ends[-1])
    gap = bytearray(max(0, min(footer.tail.at - at, _HEADER.itemsize)))
    handle.pread_into(memoryview(gap), at)
    if gap != layout.padding(at):
        raise StoreDamaged("there is something between a pack's records and its footer", handle.name)


def _headers(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """`layout.record_header` of each."""
    headers = np.zeros(len(records), _HEADER)
    headers["magic"] = layout.record_header(0, 0, 0, 0, 0, 0)[:4]
    for name in ("type", "codec", "stored", "plain", "rows", "checksum"):
        headers[name] = records[name]
    return headers
