"""Which chunks should lie side by side: those of files of the same path, whatever layer they come from.

Two versions of a file share most of their bytes though no chunk, and a window of some MiB finds that only if they are near each
other.  Directories in order, then names, then places in the file: what is near in a layer's tar stays near, so that a layer is
still read from front to end.  FORMAT.md, "What the optimizer does", has what this gains.

Memory: 20 bytes a chunk, and the directories' names.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina._native.chunkindex import NONE
from lamina.errors import StoreDamaged
from lamina.store import layout
from lamina.store.entries import decode_block, joined
from lamina.store.recipe import Head, blocks

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex
    from lamina.store.marks import Marks
    from lamina.store.packs import ChunkReader
    from lamina.store.schema import PackRow

INLINE = 512  # contents below ride along in the segments: they are no content chunks
DIRECTORIES = 1 << 18  # that are known by name; files of further ones lie together as they come
STEP = 16  # places in a file count by 64 KiB, the size of a chunk

I64 = npt.NDArray[np.int64]
Key = tuple[int, int, int]  # number of the directory, beginning of the name, checksum of the whole name
KEY = np.dtype([("directory", "u4"), ("name", "u8"), ("check", "u4"), ("at", "u4")])


class Neighbours:
    """The keys by which chunks of some packs are put in order; each content chunk has that of the first file that has it."""

    def __init__(self, store: BlobStore, marks: Marks, packs: list[PackRow]) -> None:
        self._store, self._marks = store, marks
        self._directories: dict[bytes, int] = {}
        self._keys = {pack.number: np.full(pack.chunks, NONE, KEY) for pack in packs}
        index = store.new_index()  # the one that things were marked by knows packs that have gone since
        try:
            for row in store.catalog.blobs():
                if row.kind != "document":
                    with suppress(StoreDamaged):  # an entry block: paths are only a hint, and its pack will be left alone
                        self._add(index, store.head_of_row(row))
        finally:
            index.close()
        self._ranks = self._rank()

    def order(self, packs: list[PackRow]) -> npt.NDArray[np.uint32]:
        """The live chunks of contents, then those of segments, as (pack number, ordinal) u32[n, 2]."""
        columns, kinds, rows = [], [], []
        for pack in packs:
            footer = self._store.packs.footer(pack.number)
            kind = footer.records["type"][footer.places["record"]]
            live = np.flatnonzero(self._marks.chunks(pack.number) & (kind <= layout.SEGMENT))
            columns.append(self._keys[pack.number][live])
            kinds.append(kind[live])
            rows.append(np.stack([np.full(len(live), pack.number, np.uint32), live.astype(np.uint32)], axis=1))
        keys, row, kind = np.concatenate(columns), np.concatenate(rows), np.concatenate(kinds)
        rank = self._ranks[np.minimum(keys["directory"], len(self._ranks) - 1)]
        return row[np.lexsort((keys["at"], keys["check"], keys["name"], rank, kind))]  # stable: else as they lie

    def _add(self, index: ChunkIndex, head: Head) -> None:
        """Note the keys of a blob's chunks, those of them that have none yet."""
        chunks = self._store.chunks(index)
        files = _Files(self._named(chunks, head))
        at = 0
        for block in blocks(head, lambda block_id: chunks.chunk(block_id, head.digest)):
            if not len(block.content):
                continue
            ends = at + np.cumsum(block.content_lengths, dtype=np.int64)
            keys = files.keys(ends - block.content_lengths)
            at = int(ends[-1])
            packs, ordinals = index.find(block.content)
            for number in np.unique(packs):
                if (column := self._keys.get(int(number))) is not None:
                    mine = np.flatnonzero(packs == number)
                    fresh = mine[column["directory"][ordinals[mine]] == NONE]
                    column[ordinals[fresh]] = keys[fresh]

    def _named(self, chunks: ChunkReader, head: Head) -> Iterator[tuple[I64, list[Key]]]:
        """Sizes and keys of a blob's contents, block by block; one that is no tar is a directory of its own."""
        if not head.entry_blocks:
            yield np.array([max(head.size, 1)], np.int64), [(self._directory(b"\xff" + head.digest.encode()), 0, 0)]
        for block, _ in joined(head.entry_blocks, lambda block_id: chunks.chunk(block_id, head.digest)):
            entries = decode_block(block)
            rows = np.flatnonzero(entries.stored >= INLINE)
            starts, text = entries.path.starts, bytes(entries.path.data)
            yield entries.stored[rows], [self._key(text[starts[row] : starts[row + 1]]) for row in rows]

    def _key(self, path: bytes) -> Key:
        directory, _, name = path.removeprefix(b"./").rpartition(b"/")
        return self._directory(directory), int.from_bytes(name[:8].ljust(8, b"\0"), "big"), zlib.crc32(name)

    def _directory(self, name: bytes) -> int:
        number = self._directories.get(name)
        if number is None:
            number = len(self._directories)
            if number >= DIRECTORIES:
                return DIRECTORIES
            self._directories[name] = number
        return number

    def _rank(self) -> npt.NDArray[np.uint32]:
        """The place of each directory among all, parents before children; the last for chunks that no path is known of."""
        names = sorted((name.replace(b"/", b"\0"), number) for name, number in self._directories.items())
        ranks = np.full(DIRECTORIES + 1 if len(names) == DIRECTORIES else len(names) + 1, NONE, np.uint32)
        ranks[[number for _, number in names]] = np.arange(len(names), dtype=np.uint32)
        return ranks


class _Files:
    """The contents of a stream, one after another, as its entry blocks tell of them."""

    def __init__(self, named: Iterator[tuple[I64, list[Key]]]) -> None:
        self._named = named
        self._ends: I64 = np.zeros(1, np.int64)  # of the file before, and of those at hand
        self._keys = np.full(1, NONE, KEY)

    def keys(self, starts: I64) -> npt.NDArray[np.void]:
        """The keys of chunks that begin at these ascending places."""
        while self._ends[-1] <= starts[-1] and (more := next(self._named, None)) is not None:
            sizes, keys = more
            column = np.empty(len(keys), KEY)
            for name, values in zip(KEY.names or (), zip(*keys, strict=True), strict=False):
                column[name] = values
            self._ends = np.concatenate([self._ends, self._ends[-1] + np.cumsum(sizes)])
            self._keys = np.concatenate([self._keys, column])
        file = np.minimum(np.searchsorted(self._ends, starts, side="right"), len(self._ends) - 1)
        found = self._keys[file]
        found["at"] = (starts - self._ends[file - 1]) >> STEP
        self._ends, self._keys = self._ends[file[-1] - 1 :], self._keys[file[-1] - 1 :]
        return found
