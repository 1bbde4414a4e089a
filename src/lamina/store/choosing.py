"""Which packs a collection rewrites or drops, and how much that nothing refers to may be left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import StoreDamaged
from lamina.store import layout
from lamina.store.marks import Marks
from lamina.store.schema import PackRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

SMALL = 4 << 20  # packs below this are merged ...
SMALL_PACKS = 16  # ... when there are this many

@dataclass(frozen=True, slots=True)
class Unused:
    """What may be left unused: this part of each pack, or (not None) so many bytes of the whole store."""

    share: float = 0.05
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pack and its bytes of records that nothing refers to."""

    pack: PackRow
    dead: int

    @property
    def share(self) -> float:
        return self.dead / max(1, self.pack.bytes)


def choose(store: BlobStore, packs: list[PackRow], marks: Marks, unused: Unused, problems: list[str]) -> list[PackRow]:
    """Packs to rewrite or drop; small ones too, if they are many.  `problems` are told of packs that cannot be read."""
    weighed = []
    for pack in packs:
        try:
            weighed.append(Weighed(pack, marks.dead_bytes(pack.number)))
        except StoreDamaged as error:
            problems.append(str(error))  # verify names what it costs; the collector lets it be
    chosen = {each.pack.number for each in _doomed(weighed, unused)}
    doomed = [each.pack for each in weighed if each.pack.number in chosen]
    small = [each.pack for each in weighed if each.pack.number not in chosen and each.pack.bytes < SMALL]
    return doomed + (small if len(small) >= SMALL_PACKS else [])


def _doomed(weighed: list[Weighed], unused: Unused) -> list[Weighed]:
    """Of bytes that may stay those do that lie in the packs with the least of it: they cost the most to be had."""
    if unused.bytes is None:
        return [each for each in weighed if each.dead and each.dead > unused.share * each.pack.bytes]
    by_share = sorted((each for each in weighed if each.dead), key=lambda each: (each.share, each.pack.number))
    left = np.cumsum([each.dead for each in by_share], dtype=np.int64)
    return by_share[int(np.searchsorted(left, unused.bytes, side="right")) :]


def copied_bytes(store: BlobStore, packs: list[PackRow], marks: Marks) -> int:
    """Stored bytes of what is live in these packs, which a collection copies."""
    total = 0
    for pack in packs:
        records = store.packs.footer(pack.number).records
        live = marks.live_records(pack.number) & (records["type"] != layout.JOURNAL)
        total += int(records["stored"][live].sum(dtype=np.int64))
    return total
