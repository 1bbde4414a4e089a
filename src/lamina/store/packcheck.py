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
from lamina.store.packs import pack_path
from lamina.store.schema import PackRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a pack: the ids of the chunks that it spoils, or the digest of a head or document."""

    what: str
    where: str
    chunks: frozenset[bytes] = frozenset()
    digest: str = ""


def check_pack(store: BlobStore, pack: PackRow, damage: list[Damage], progress: Progress) -> None:
    """Every record against its checksum and its header, every chunk against its id."""
    where = pack_path(pack.name)
    progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)
    try:
        store.packs.forget(pack.number)  # what lies on disk now, not what was read before
        footer = store.packs.footer(pack.number)
        _check_header(store, pack)
        keys = dict(footer.key_rows())
    except LaminaError as error:  # an I/O error too: the rest is to be looked at all the same
        damage.append(Damage(error.what, where))
        return
    try:
        _check_gaps(store, pack, footer)
    except StoreDamaged as error:
        damage.append(Damage(error.what, where))
    order = np.argsort(footer.places["record"], kind="stable")
    bounds = np.searchsorted(footer.places["record"][order], np.arange(len(footer.records) + 1))
    for record, plain in _records(store, pack, footer):
        rows = order[bounds[record] : bounds[record + 1]]
        try:
            _check_record(store, pack, footer, record, plain, rows)
        except LaminaError as error:
            spoiled = frozenset(bytes(chunk_id) for chunk_id in footer.ids[rows])
            damage.append(Damage(error.what, where, spoiled, keys.get(record, {}).get("digest", "")))
        progress.advance(pack.name, int(footer.records[record]["stored"]))
    progress.done(pack.name, "verified")


def _records(store: BlobStore, pack: PackRow, footer: layout.Footer) -> Iterator[tuple[int, npt.NDArray[np.uint8] | None]]:
    """Every record, and its plain bytes if it is a frame that could be read: frames on several cores, then the others."""
    frames = np.isin(footer.records["type"], layout.FRAMES)
    located = store.packs.locate(pack.number, np.flatnonzero(frames).astype(np.uint32))
    for frame, plain in store.packs.frames.each(located):
        yield frame.record, plain
    for record in np.flatnonzero(~frames):
        yield int(record), None


def _check_record(store: BlobStore, pack: PackRow, footer: layout.Footer, record: int,
                  plain: npt.NDArray[np.uint8] | memoryview | bytes | None, rows: npt.NDArray[np.int64]) -> None:
    """`StoreDamaged`, `StorageError`; what could not be read among others is read by itself, to say what is wrong with it."""
    if plain is None:
        row, stored = store.packs.stored(pack.number, record)
        plain = decode(int(row["codec"]), stored, int(row["plain"]), footer.where)
    places = footer.places[rows]
    ids = hash_many(plain, places["offset"].astype(np.int64), places["length"].astype(np.int64))
    if not np.array_equal(ids, footer.ids[rows]):
        raise StoreDamaged(f"record {record} holds other chunks than its pack says", footer.where)


def _check_header(store: BlobStore, pack: PackRow) -> None:
    with store.backend.open(pack_path(pack.name)) as handle:
        head = bytearray(layout.HEADER.size)
        handle.pread_into(memoryview(head), 0)
        if head != layout.pack_header(bytes.fromhex(pack.name)):
            raise StoreDamaged("a pack's header is damaged", handle.name)
        if handle.size != pack.bytes:
            raise StoreDamaged(f"a pack has {handle.size} bytes, the catalog says {pack.bytes}", handle.name)


def _check_gaps(store: BlobStore, pack: PackRow, footer: layout.Footer) -> None:
    """The bytes between records: each record's header before it, zeros behind the last, and nothing else."""
    at = layout.HEADER.size
    with store.backend.open(pack_path(pack.name)) as handle:
        for row in np.sort(footer.records, order="offset"):
            stored, plain, rows = int(row["stored"]), int(row["plain"]), int(row["rows"])
            expected = layout.record_header(int(row["type"]), int(row["codec"]), stored, plain, rows, int(row["checksum"]))
            if _read(handle, at, len(expected)) != expected or int(row["offset"]) != at + len(expected):
                raise StoreDamaged(f"the header of the record at {at} is damaged", handle.name)
            at = int(row["offset"]) + stored
        if _read(handle, at, footer.tail.at - at) != layout.padding(at):
            raise StoreDamaged("there is something between a pack's records and its footer", handle.name)


def _read(handle: ReadHandle, at: int, count: int) -> bytes:
    data = bytearray(max(0, min(count, layout.RECORD_HEADER.size)))
    handle.pread_into(memoryview(data), at)
    return bytes(data)
