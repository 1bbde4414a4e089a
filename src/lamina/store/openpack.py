"""Packs, frames and runs that are being written: what the caller of a sink knows before they are on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.storage import Writer


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
    keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    written: dict[int, tuple[int, int, int, int, int, int, int, int]] = field(default_factory=dict)  # the writer thread's
    runs: list[tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]] = field(default_factory=list)  # likewise: numbers, rows
    size: int = 0  # likewise, read by the caller to know when the pack is full
    written_plain: int = 0  # likewise
    given_plain: int = 0  # what the caller has handed over

    @property
    def size_to_be(self) -> int:
        """The size when all that is in flight has been written, if that compresses as the rest did."""
        flying = self.given_plain - self.written_plain
        return self.size + (flying * min(self.size, self.written_plain) // self.written_plain if self.written_plain else flying)

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
