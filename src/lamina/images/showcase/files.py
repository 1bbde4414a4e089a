"""The members of a layer, a page at a time, from its entry table."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from lamina.errors import NotFound
from lamina.registry.server.page.library import Busy, File, Files

if TYPE_CHECKING:
    from lamina._native.tarscan import EntryColumns
    from lamina.store import BlobStore

AT_ONCE = 2  # readers: each may take a core
LONGEST = 1.0  # seconds that one question is searched
MOST = 1000  # members in one answer
_ANSWERS, _LAYERS = 64, 256  # that are remembered: layers do not change
_PATIENCE = 2.0
_K = TypeVar("_K")
_V = TypeVar("_V")


class LayerFiles:
    """Over one store; usable from several threads."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, bytes, int, int], Files] = OrderedDict()
        # By layer the members and the chunks of each of its blocks, as far as they were read.
        self._counts: OrderedDict[str, list[tuple[int, int]]] = OrderedDict()

    def read(self, layer: str, prefix: bytes, start: int, limit: int) -> Files:
        """Members from number `start` on that begin so; `NotFound`, `Busy`, `StoreDamaged`."""
        limit = max(1, min(limit, MOST))
        key = layer, prefix, start, limit
        with self._lock:
            if (known := self._answers.get(key)) is not None:
                self._answers.move_to_end(key)
                return known
        if not self._slots.acquire(timeout=_PATIENCE):
            raise Busy("too many read lists of files", hint="try again in a moment")
        try:
            found, whole = self._search(layer, prefix, start, limit)
        finally:
            self._slots.release()
        if whole:
            with self._lock:
                _keep(self._answers, key, found, _ANSWERS)
        return found

    def _search(self, layer: str, prefix: bytes, start: int, limit: int) -> tuple[Files, bool]:
        """What there is, and whether that is all: time may be up, after one block at least."""
        from lamina.store.entries import decode_block, joined

        with self._store.reading() as reading:
            row = self._store.catalog.blob(layer)
            if row is None or row.kind == "document":
                raise NotFound("no such layer", layer)
            total, found, first, until = row.entries or 0, list[File](), 0, time.monotonic() + LONGEST
            chunks, counts = self._store.chunks(reading.index), self._counts_of(layer)
            ids, before, at = self._store.head_of_row(row).entry_blocks, 0, 0
            while before < len(counts) and first + counts[before][0] <= start:
                first, at, before = first + counts[before][0], at + counts[before][1], before + 1
            for number, (block, parts) in enumerate(joined(ids[at:], lambda each: chunks.chunk(each, layer)), before):
                entries = decode_block(block)
                if number == len(counts):
                    counts.append((len(entries.kind), parts))
                after = _matching(entries, prefix, max(start - first, 0), limit, found)
                if after is not None:
                    return Files(tuple(found), first + after if first + after < total else None, total), True
                first += len(entries.kind)
                if time.monotonic() > until and first < total:
                    return Files(tuple(found), max(first, start), total), False
        return Files(tuple(found), None, total), True

    def _counts_of(self, layer: str) -> list[tuple[int, int]]:
        with self._lock:
            counts = list(self._counts.get(layer, ()))
            _keep(self._counts, layer, counts, _LAYERS)
            return counts


def _keep(kept: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _matching(entries: EntryColumns, prefix: bytes, start: int, limit: int, found: list[File]) -> int | None:
    """Add those of a block from `start` on; the number behind the last one if the list is full, else None."""
    starts, data = entries.path.starts, entries.path.data
    for row in range(start, len(entries.kind)):
        path = data[starts[row] : starts[row + 1]]
        if not prefix or path.removeprefix(b"./").removeprefix(b"/").startswith(prefix):
            if len(found) == limit:
                return row
            found.append(_file(entries, row, path))
    return None


def _file(entries: EntryColumns, row: int, path: bytes) -> File:
    links = entries.link.starts
    return File(chr(entries.kind[row]), path, entries.link.data[links[row] : links[row + 1]], int(entries.size[row]),
                int(entries.mode[row]), int(entries.uid[row]), int(entries.gid[row]), int(entries.mtime[row]))
