"""Stored bytes against their checksums, without taking them apart: every flipped bit is found at the speed of reading.

What it does not do is decompress, compare chunks with their ids, or hash blobs; `verify` without `stored` does.  A checksum is
8 bytes of BLAKE3 over what one record stores, so that this is BLAKE3 and reading: some 0.4 CPU s a GB of packs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from lamina.store import layout
from lamina.store.packs import Packs

SLICE: Final = 1 << 20  # bytes that are read at once; more only for one large record


def mismatched(packs: Packs, number: int, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[int, bool]]:
    """Each wanted record of a pack, in the order of their places, and whether its stored bytes miss their checksum."""
    records = packs.footer(number).records
    chosen = np.flatnonzero(wanted)
    chosen = chosen[np.argsort(records["offset"][chosen], kind="stable")]
    offsets, sizes, sums = (records[name][chosen].tolist() for name in ("offset", "stored", "checksum"))
    ends = [offset + size for offset, size in zip(offsets, sizes, strict=True)]
    handle, spare = packs.handle(number), memoryview(bytearray(SLICE))
    first = 0
    while first < len(chosen):
        last = first + 1
        while last < len(chosen) and ends[last] - offsets[first] <= SLICE:
            last += 1
        span = ends[last - 1] - offsets[first]
        if span > len(spare):
            spare = memoryview(bytearray(span))
        got = handle.pread_into(spare[:span], offsets[first])
        packs.count(got)
        for i in range(first, last):
            begin, end = offsets[i] - offsets[first], ends[i] - offsets[first]
            yield int(chosen[i]), end > got or layout.checksum(spare[begin:end]) != sums[i]
        first = last
