"""Chunk index kernels: from a 32-byte chunk id to (pack number, ordinal); store/INDEX.md has the format.

Shapes: ids u8[n, 32]; packs, ordinals, unmapped, first u32[n], all C-contiguous. NONE (2^32 - 1) in `packs`
means "not known (yet)"; look-ups touch such rows only, so that several tables are asked one after the other
with the same arrays.

Kernels run without the GIL and hold no lock: while one call runs on a PackIds or DeltaTable, no other thread
may change it. Wrong shapes and values raise ValueError or OverflowError; what tables hold raises nothing,
whatever the bytes are.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

_U8 = npt.NDArray[np.uint8]
_U32 = npt.NDArray[np.uint32]

NONE: int
SLOT_BYTES: int

class PackIds:
    """The id columns of packs, by pack number: what confirms a hit. Buffers stay referred to until they are
    dropped.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, pack: int) -> bool: ...
    def add(self, pack: int, ids: _U8) -> None:
        """Registers (or replaces) the id column of a pack: row = ordinal."""
    def drop(self, pack: int) -> None:
        """Lets go of a column; one that is not registered is no error."""
    def oldest(self, count: int) -> list[int]:
        """The numbers of the first `count` packs in order of registration."""

def fill_table(slots: Any, homes: int, multiplier: int, row: int, ids: _U8) -> tuple[int, int] | None:
    """Puts the ids of pack row `row` into a table under construction (writable bytes, zero at first).

    One call for each row, with all its ids: ordinal = row in `ids`; an id that comes twice is put once.
    Returns (slots filled, reach of this call), or None when a run has come to the end of the table: zero it
    and take another multiplier.
    """

def lookup_table(
    slots: Any,
    homes: int,
    multiplier: int,
    reach: int,
    pack_map: _U32,
    columns: PackIds,
    ids: _U8,
    packs: _U32,
    ordinals: _U32,
    unmapped: _U32,
) -> int:
    """Looks up the rows whose pack is NONE, confirming all 32 bytes against `columns`.

    `pack_map`: pack row of the file -> pack number, NONE for a pack that is not live (its slots are passed
    over). A row that meets a pack without a column gets its number in `unmapped` (others get NONE) and is to
    be asked again once the column is registered. Returns the number of such rows.
    """

def mark_repeats(ids: _U8, packs: _U32, multiplier: int, first: _U32) -> int:
    """Among the rows whose pack is NONE, refers each to the first with the same id; returns how many ids are
    new.

    `first[i]` becomes NONE (known row), i (new here), or the earlier row that holds the same id.
    """

class DeltaTable:
    """Chunks that no index file covers, in memory, with their whole ids: 51 to 61 bytes a chunk.

    `multiplier`: odd, secret, random. Growing moves no entry and rehashes one of 1024 shards at a time.
    """

    def __init__(self, multiplier: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
    def insert(self, ids: _U8, pack: int, first_ordinal: int) -> None:
        """Row i becomes (pack, first_ordinal + i); an id that this pack has already keeps its first place.

        The same id may be there for several packs; a look-up answers with the one put first that is not
        dropped.
        """
    def lookup(self, ids: _U8, packs: _U32, ordinals: _U32) -> None:
        """Fills the rows whose pack is NONE."""
    def drop_packs(self, packs: _U32) -> None:
        """Entries of these packs (ascending numbers) match no more. Takes time in proportion to the table."""
    def clear(self) -> None:
        """Empties the table and gives its memory back."""
