"""From damage to the blobs that it costs: those that cannot be given back whole any more."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina._native.chunkindex import NONE, DeltaTable
from lamina.errors import LaminaError, StoreDamaged
from lamina.store.indexfile import random_multiplier
from lamina.store.marks import chunk_ids
from lamina.store.packcheck import Damage
from lamina.store.packs import ChunkReader, Packs, pack_path
from lamina.store.schema import BlobRow, PackRow

if TYPE_CHECKING:
    from lamina.store.blobstore import Reading


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not check out, where it lies, and the blobs that it spoils (none if nothing needs it)."""

    what: str
    where: str
    digests: tuple[str, ...] = ()


class Failed(NamedTuple):
    """A blob that could not be read back, and why."""

    digest: str
    what: str
    where: str


def problems_of(reading: Reading, packs: Packs, damage: list[Damage], failed: list[Failed],
                lost: list[PackRow]) -> list[Problem]:
    """Damage with the blobs that it spoils, and what failed for no damage that is known; `lost`: packs without a footer.

    A chunk of which another pack has a whole copy spoils nothing: readers take that.
    """
    chunks = ChunkReader(packs, reading.index)
    spoiled = [_spoiled_record(reading, each) for each in damage]
    digests, tables = _by_recipes(reading, chunks, damage)
    for number, more in enumerate(digests):
        spoiled[number] |= more
    damage = [replace(each, what=f"{each.what}; it had the table of entries of {', '.join(sorted(its))}") if its else each
              for each, its in zip(damage, tables, strict=True)]
    named = set().union(*spoiled)
    rest = [each for each in failed if each.digest not in named]
    if rest and lost:  # what lay in them cannot be known: what fails for no other reason has failed for that
        paths = {pack_path(pack.name) for pack in lost}
        gone = {each.digest for each in rest}
        for number, each in enumerate(damage):
            if each.where in paths and each.record < 0:
                spoiled[number] |= gone
        rest = []
    found = [Problem(each.what, each.where, tuple(sorted(digests))) for each, digests in zip(damage, spoiled, strict=True)]
    return found + [Problem(f"blob {each.digest}: {each.what}", each.where, (each.digest,)) for each in rest]


def _spoiled_record(reading: Reading, damage: Damage) -> set[str]:
    """The blob whose head or document is damaged, if that is the one in use, and the catalog has no text of it."""
    row = reading.store.catalog.blob(damage.digest) if damage.digest else None
    if row is None or row.record != damage.record:
        return set()
    pack = reading.store.catalog.pack(row.pack)
    if pack is None or pack.name != damage.pack:
        return set()
    if row.kind == "document":
        try:
            reading.store.reader_of_row(row, reading.index)
        except LaminaError:
            return {row.digest}
        return set()
    return {row.digest}


def _by_recipes(reading: Reading, chunks: ChunkReader, damage: list[Damage]) -> tuple[list[set[str]], list[set[str]]]:
    """For each damage the blobs that have a chunk which is nowhere whole any more, by streaming over all recipes; nothing is
    streamed over where nothing is lost.  And those that have lost a table of entries: it is no part of their bytes."""
    found: list[set[str]] = [set() for _ in damage]
    tables: list[set[str]] = [set() for _ in damage]
    owners: dict[bytes, list[int]] = {}
    for number, each in enumerate(damage):
        for chunk_id in each.chunks:
            owners.setdefault(chunk_id, []).append(number)
    lost = [chunk_id for chunk_id in sorted(owners) if not _whole(chunks, chunk_id)]
    if not lost:
        return found, tables
    nowhere = set(lost)
    table = DeltaTable(random_multiplier())
    table.insert(np.frombuffer(b"".join(lost), np.uint8).reshape(-1, 32), 0, 0)
    for row in reading.store.catalog.blobs():
        if row.kind == "document":
            continue
        for at in _hits(reading, row, table):
            for number in owners[lost[at]]:
                found[number].add(row.digest)
        with suppress(LaminaError):
            for block in reading.store.head_of_row(row).entry_blocks:
                for number in owners.get(block, ()) if block in nowhere else ():
                    tables[number].add(row.digest)
    return found, tables


def _hits(reading: Reading, row: BlobRow, table: DeltaTable) -> Iterable[int]:
    """Rows of the table that a blob's recipe names."""
    hits: set[int] = set()
    try:
        for ids in chunk_ids(reading.store, reading.index, row, entries=False):
            wanted = np.ascontiguousarray(ids)
            found, at = np.full(len(wanted), NONE, np.uint32), np.empty(len(wanted), np.uint32)
            table.lookup(wanted, found, at)
            hits.update(at[found != NONE].tolist())
    except LaminaError:
        pass  # its head or recipe is damaged: what came before that is named, and itself by its own record
    return hits


def _whole(chunks: ChunkReader, chunk_id: bytes) -> bool:
    """Whether any copy of a chunk can be read."""
    try:
        chunks.copy(chunk_id, (-1, -1), StoreDamaged("no copy of the chunk is whole", chunk_id.hex()))
    except LaminaError:
        return False
    return True
