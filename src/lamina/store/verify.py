"""Reading everything back: packs from front to end, then every blob as it leaves, then names against journals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.content.progress import Progress, Silent
from lamina.digest import Digest
from lamina.errors import LaminaError, NotFound
from lamina.oci import Descriptor
from lamina.store import layout
from lamina.store.marks import chunk_ids
from lamina.store.names import names_of
from lamina.store.packcheck import Damage, check_pack
from lamina.store.schema import LIVE, BlobRow

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
            damage: list[Damage] = []
            for pack in store.catalog.packs(LIVE):
                check_pack(store, pack, damage, progress)
            result.problems += _touched(reading, damage)
            _check_names(store, result)
        else:
            rows = [store.catalog.blob(digest) for digest in sorted(set(digests))]
        for row in rows:
            if row is not None:
                _check_blob(reading, row, result, progress)
        _check_references(store, result)
    return result


def _touched(reading: Reading, damage: list[Damage]) -> list[Problem]:
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
    except NotFound:  # a collection has come in between: nothing led to it any more
        progress.done(row.digest, "removed")
        return
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
        if store.catalog.blob(ref.digest) is None and store.catalog.ref(ref.name) == ref:  # else it has gone in between
            result.problems.append(Problem(f"the name {ref.name} leads to {ref.digest}, which is missing", str(store.path),
                                           (ref.digest,)))
