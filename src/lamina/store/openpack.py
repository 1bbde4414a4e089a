"""Packs, frames and runs that are being written: what the caller of a sink knows before they are on disk."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.storage import Writer
from lamina.store import layout


class Written:
    """Footer rows of the records that are in the file, by number; the offset of those that are not is 0."""

    def __init__(self) -> None:
        self._rows = np.zeros(64, layout.RECORD)

    def put(self, numbers: int | npt.NDArray[np.uint32], rows: tuple[int, ...] | npt.NDArray[Any]) -> None:
        """Note one record or several."""
        self.rows(int(np.max(numbers)) + 1)[numbers] = rows

    def rows(self, count: int) -> npt.NDArray[Any]:
        """The first `count`."""
        if count > len(self._rows):
            more = np.zeros(max(count, 2 * len(self._rows)), layout.RECORD)
            more[: len(self._rows)] = self._rows
            self._rows = more
        return self._rows[:count]


@dataclass(slots=True)
class OpenPack:
    """A pack that is being written: the caller's side of its footer."""

    number: int
    name: bytes
    writer: Writer
    records: int = 0
    chunks: int = 0
    ids: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    places: list[npt.NDArray[Any]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # the ordinal with which each of `places` begins
    keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    written: Written = field(default_factory=Written)  # the writer thread's
    sealed: bool = False  # likewise
    size: int = 0  # likewise, read by the caller to know when the pack is full
    written_plain: int = 0  # likewise
    given_plain: int = 0  # what the caller has handed over

    @property
    def size_to_be(self) -> int:
        """The size when all that is in flight has been written, if that compresses as the rest did."""
        flying = self.given_plain - self.written_plain
        return self.size + (flying * min(self.size, self.written_plain) // self.written_plain if self.written_plain else flying)

    def place(self, ids: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> int:
        """These chunks are the next ones; the ordinal of the first."""
        first = self.chunks
        self.ids.append(ids)
        self.places.append(rows)
        self.starts.append(first)
        self.chunks += len(ids)
        return first

    def placed(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
        """Places (PLACE) of chunks that have been laid into it."""
        since = bisect_right(self.starts, int(ordinals.min())) - 1
        found: npt.NDArray[Any] = np.concatenate(self.places[since:])[ordinals - np.uint32(self.starts[since])]
        return found

    def next_record(self) -> int:
        """A record's number is drawn when its frame is begun; what comes to disk first may have the later number."""
        self.records += 1
        return self.records - 1


@dataclass(slots=True)
class OpenFrame:
    """A frame that is being filled; its chunks have their places already."""

    pack: OpenPack
    record: int
    buffer: npt.NDArray[np.uint8]
    used: int = 0
    rows: int = 0


@dataclass(slots=True)
class OpenRun:
    """Raw records of one chunk each, as they will lie in the pack; `parts`: their numbers, and rows of the footer."""

    pack: OpenPack
    buffer: npt.NDArray[np.uint8]
    used: int = 0
    parts: list[tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]] = field(default_factory=list)
