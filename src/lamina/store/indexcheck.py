"""Index files against the id columns of the packs, slot by slot (INDEX.md).  One that is damaged is thrown away: it is derived.

Memory: a byte a chunk of one file, and some columns of `SLICE` slots, 80 MB.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from lamina.errors import LaminaError, StoreDamaged
from lamina.store.indexfile import SUFFIX, IndexFile
from lamina.store.packs import Packs
from lamina.store.schema import LIVE

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

SLICE: Final = 1 << 20
_SLOT = np.dtype([("first", "<u8"), ("second", "<u8"), ("row", "<u4"), ("ordinal", "<u4")])
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

Found = tuple[list[tuple[str, str]], list[str]]
U64 = npt.NDArray[np.uint64]


def check_index(store: BlobStore, packs: Packs) -> Found:
    """(what, where) of each file that is damaged, and notes of what became of it: it goes, and is written anew when needed."""
    problems: list[tuple[str, str]] = []
    notes: list[str] = []
    numbers = {bytes.fromhex(pack.name): pack.number for pack in store.catalog.packs(LIVE)}
    for path in sorted((store.state_dir / "index").glob("*" + SUFFIX)):
        try:
            fault = _fault(path, packs, numbers)
        except OSError:
            continue  # merged away meanwhile
        if fault is not None:
            problems.append((f"an index file is damaged: {fault}", str(path)))
            with suppress(OSError):
                path.unlink()
                notes.append(f"the damaged index file {path.name} was removed; it is made again from the packs")
    return problems, notes


def _fault(path: Path, packs: Packs, numbers: dict[bytes, int]) -> str | None:
    try:
        file = IndexFile.open(path)
    except StoreDamaged as error:
        return error.what
    try:
        columns = [_column(packs, numbers.get(name), chunks) for name, chunks in file.packs]
        return _Slots(file, path, columns).fault()
    finally:
        file.close()


def _column(packs: Packs, number: int | None, chunks: int) -> npt.NDArray[np.uint8] | None:
    """The ids of a pack; None if it is not live, or cannot be read."""
    try:
        ids = None if number is None else packs.footer(number).ids
    except LaminaError:
        return None
    return ids if ids is not None and len(ids) == chunks else None


class _Slots:
    """The slots of one file, in slices from front to end."""

    def __init__(self, file: IndexFile, path: Path, columns: list[npt.NDArray[np.uint8] | None]) -> None:
        self._path, self._columns = path, columns
        self._table, self._used = file.table, file.used
        chunks = np.array([chunks for _, chunks in file.packs], np.int64)
        self._chunks = chunks
        self._begin = np.concatenate([np.zeros(1, np.int64), np.cumsum(chunks)])
        self._seen = np.zeros(int(self._begin[-1]), np.bool_)  # by pack row and ordinal
        self._slots: npt.NDArray[Any] = file.slots(_SLOT)

    def fault(self) -> str | None:
        """What is wrong, if anything is."""
        try:
            self._check()
        except StoreDamaged as error:
            return error.what
        return None

    def _check(self) -> None:
        used, last_empty, last_hash = 0, -1, np.uint64(0)
        for first in range(0, len(self._slots), SLICE):
            some = self._slots[first : first + SLICE].copy()
            full = some["row"] > 0
            empty = some[~full]
            if empty["first"].any() or empty["second"].any() or empty["ordinal"].any():
                raise self._damaged("an empty slot is not empty")
            used += int(full.sum())
            self._entries(some[full])
            at = np.arange(first, first + len(some), dtype=np.int64)
            hashes = some["first"] * np.uint64(self._table[1])
            empties = np.maximum.accumulate(np.concatenate([np.array([last_empty]), np.where(full, -1, at)]))
            self._places(at, hashes, full, empties[1:])
            before = np.concatenate([np.array([last_hash]), hashes[:-1]])
            follows = full & (empties[:-1] < at - 1)
            if bool((hashes[follows] < before[follows]).any()):
                raise self._damaged("slots are not in order")
            last_empty, last_hash = int(empties[-1]), hashes[-1]
        if used != self._used:
            raise self._damaged(f"{used} slots are in use, not {self._used}")

    def _entries(self, slots: npt.NDArray[Any]) -> None:
        """Each names a chunk of a pack, no chunk twice, with the beginning of its id."""
        rows, ordinals = slots["row"].astype(np.int64) - 1, slots["ordinal"].astype(np.int64)
        if bool((rows >= len(self._chunks)).any()) or bool((ordinals >= self._chunks[rows]).any()):
            raise self._damaged("a slot names no chunk of its packs")
        places = self._begin[rows] + ordinals
        if bool(self._seen[places].any()) or len(np.unique(places)) != len(places):
            raise self._damaged("two slots name one chunk")
        self._seen[places] = True
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], np.arange(len(self._chunks) + 1))
        for row in np.unique(rows).tolist():
            column = self._columns[row]
            if column is not None:
                mine = order[bounds[row] : bounds[row + 1]]
                ids = np.ascontiguousarray(column[ordinals[mine], :16]).view("<u8")
                if bool((ids[:, 0] != slots["first"][mine]).any()) or bool((ids[:, 1] != slots["second"][mine]).any()):
                    raise self._damaged("a slot has another id than its pack")

    def _places(self, at: npt.NDArray[np.int64], hashes: U64, full: npt.NDArray[np.bool_],
                empties: npt.NDArray[np.int64]) -> None:
        """Each lies at its home or behind it, within reach, with no empty slot between."""
        homes, _, reach = self._table
        # The high 64 bits of hash times homes, which are fewer than 2^32.
        high, low = hashes >> _HALF, hashes & _LOW
        home = ((high * np.uint64(homes) + (low * np.uint64(homes) >> _HALF)) >> _HALF).astype(np.int64)
        behind = (at - home)[full]
        if bool((behind < 0).any()) or bool((behind > reach).any()) or bool((empties[full] >= home[full]).any()):
            raise self._damaged("a slot lies where it is not looked for")

    def _damaged(self, what: str) -> StoreDamaged:
        return StoreDamaged(what, self._path, "it is derived from the packs and will be written again")
