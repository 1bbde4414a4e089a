"""Reading everything back: packs from front to end, then every blob as it leaves, then names against journals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina._native.blake3many import hash_many
from lamina.content.progress import Progress, Silent
from lamina.digest import Digest
from lamina.errors import LaminaError, StoreDamaged
from lamina.oci import Descriptor
from lamina.storage import ReadHandle
from lamina.store import layout
from lamina.store.codec import decode
from lamina.store.marks import chunk_ids
from lamina.store.names import names_of
from lamina.store.packs import pack_path
from lamina.store.schema import LIVE, BlobRow, PackRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore, Reading

BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not check out, where it lies, and the blobs that it spoils (none if nothing uses it)."""

    what: str
    where: str
    digests: tuple[str, ...] = ()


@dataclass(slots=True)
class Verified:
    """`bytes_read`: plain bytes of blobs that were read back."""

    bytes_read: int = 0
    blobs: int = 0
    problems: list[Problem] = field(default_factory=list)


def verify(store: BlobStore, digests: Iterable[str] | None, progress: Progress | None) -> Verified:
    """Check all packs, blobs and names; or only these blobs."""
    progress = progress or Silent()
    result = Verified()
    with store.reading() as reading:
        if digests is None:
            rows: Iterable[BlobRow | None] = list(store.catalog.blobs())
            damage: list[_Damage] = []
            for pack in store.catalog.packs(LIVE):
                _check_pack(store, pack, damage, progress)
            result.problems += _touched(reading, damage)
            _check_names(store, result)
        else:
            rows = [store.catalog.blob(digest) for digest in sorted(set(digests))]
        for row in rows:
            if row is not None:
                _check_blob(reading, row, result, progress)
        _check_references(store, result)
    return result


@dataclass(frozen=True, slots=True)
class _Damage:
    """What is wrong with a pack: the ids of the chunks that it spoils, or the digest of a head or document."""

    what: str
    where: str
    chunks: frozenset[bytes] = frozenset()
    digest: str = ""


def _check_pack(store: BlobStore, pack: PackRow, damage: list[_Damage], progress: Progress) -> None:
    """Every record against its checksum and its header, every chunk against its id."""
    where = pack_path(pack.name)
    progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)
    try:
        store.packs.forget(pack.number)  # what lies on disk now, not what was read before
        footer = store.packs.footer(pack.number)
        _check_header(store, pack)
        keys = dict(footer.key_rows())
    except LaminaError as error:  # an I/O error too: the rest is to be looked at all the same
        damage.append(_Damage(error.what, where))
        return
    try:
        _check_gaps(store, pack, footer)
    except StoreDamaged as error:
        damage.append(_Damage(error.what, where))
    order = np.argsort(footer.places["record"], kind="stable")
    bounds = np.searchsorted(footer.places["record"][order], np.arange(len(footer.records) + 1))
    for record, plain in _records(store, pack, footer):
        rows = order[bounds[record] : bounds[record + 1]]
        try:
            _check_record(store, pack, footer, record, plain, rows)
        except LaminaError as error:
            spoiled = frozenset(bytes(chunk_id) for chunk_id in footer.ids[rows])
            damage.append(_Damage(error.what, where, spoiled, keys.get(record, {}).get("digest", "")))
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


def _touched(reading: Reading, damage: list[_Damage]) -> list[Problem]:
    """Which blobs the damage spoils, by streaming over all recipes; nothing is streamed over where nothing is wrong.

    A damaged chunk of which another pack has a whole copy may be named all the same.
    """
    found: list[set[str]] = [{each.digest} - {""} for each in damage]
    if any(each.chunks for each in damage):
        for row in reading.store.catalog.blobs():
            if row.kind == "document":
                continue
            try:
                ids = chunk_ids(reading.store, reading.index, row)
                for block in ids:
                    column = {bytes(chunk_id) for chunk_id in block}
                    for number, each in enumerate(damage):
                        if not column.isdisjoint(each.chunks):
                            found[number].add(row.digest)
            except LaminaError:
                continue  # its head or recipe is damaged: named by its own record, and again when it is read
    return [Problem(each.what, each.where, tuple(sorted(digests))) for each, digests in zip(damage, found, strict=True)]


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


def _check_blob(reading: Reading, row: BlobRow, result: Verified, progress: Progress) -> None:
    """A blob's bytes against its size and digest, as they would leave."""
    progress.start(row.digest, row.digest, row.size)
    buffer = memoryview(bytearray(BUFFER))
    try:
        reader = reading.fetch(Descriptor(row.media_type, Digest(row.digest), row.size))
        try:
            while count := reader.readinto(buffer):
                result.bytes_read += count
                progress.advance(row.digest, count)
        finally:
            reader.close()
    except LaminaError as error:
        result.problems.append(Problem(f"blob {row.digest}: {error.what}", error.where, (row.digest,)))
        progress.done(row.digest, "damaged")
        return
    result.blobs += 1
    progress.done(row.digest, "verified")


def _check_names(store: BlobStore, result: Verified) -> None:
    """The catalog's names against the packs' journals.  If somebody commits meanwhile, the next run looks at it."""
    before = store.catalog.sequence()
    journals = []
    for pack in store.catalog.packs(LIVE):
        try:
            footer = store.packs.footer(pack.number)
            for record, _ in footer.key_rows():
                if int(footer.records[record]["type"]) == layout.JOURNAL:
                    journals.append(json.loads(bytes(store.packs.record(pack.number, record))))
        except LaminaError:
            return  # named already; without it the journals say too little
    said = {name: row.digest for name, row in names_of(journals).items()}
    have = {ref.name: ref.digest for ref in store.catalog.refs()}
    if store.catalog.sequence() != before:
        return
    for name in sorted(said.keys() | have.keys()):
        if said.get(name) != have.get(name):
            what = f"the name {name} leads to {have.get(name, 'nothing')}, by the packs to {said.get(name, 'nothing')}"
            result.problems.append(Problem(what, str(store.path), tuple(filter(None, [have.get(name)]))))


def _check_references(store: BlobStore, result: Verified) -> None:
    """What names lead to is there."""
    for ref in store.catalog.refs():
        if store.catalog.blob(ref.digest) is None:
            result.problems.append(Problem(f"the name {ref.name} leads to {ref.digest}, which is missing", str(store.path),
                                           (ref.digest,)))
