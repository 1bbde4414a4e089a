"""A blob that came in part before: its beginning is read back from disk, the rest is got (FORMAT.md, "Partials")."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final

from blake3 import blake3

from lamina.content import Resumable
from lamina.errors import LaminaError, NotFound
from lamina.storage import Backend, ReadHandle
from lamina.store import layout, partial
from lamina.store.codec import decode
from lamina.store.packs import pack_path
from lamina.store.partials import Partial

HANDLES: Final = 4  # open packs at a time

Bytes = bytes | memoryview


class Resumed:
    """A reader: the chunks that a partial names, each checked against its id, then `rest` from the end of the last good one.

    `find(id)` gives a chunk of the store's own; `LaminaError` if there is none.  `tell` hears "resuming" and,
    when `rest` begins, "downloading".
    Memory: a block of the partial, a frame stored and plain: 2.5 MiB.
    """

    def __init__(self, old: Partial, size: int, rest: Resumable, backend: Backend, find: Callable[[bytes], Bytes],
                 tell: Callable[[str], None]) -> None:
        self._old, self._rest, self._backend, self._find, self._tell = old, rest, backend, find, tell
        self.size = size
        self.offset = 0  # bytes that were read back
        self._handles: dict[bytes, ReadHandle] = {}
        self._frame: tuple[tuple[bytes, int], Bytes] | None = None
        self._view = memoryview(b"")
        self._chunks = self._read_back()
        self._over = False  # all that can be read back has been

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes; what is no good of the partial is not noticed here but by where `rest` begins."""
        if not self.offset and not self._over:
            self._tell("resuming")
        while not self._view and not self._over:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._over = True
                if 0 < self.offset < self.size:
                    self._rest.start_at(self.offset)
                if self.offset < self.size:
                    self._tell("downloading")
            else:
                self._view = memoryview(chunk)
                self.offset += len(chunk)
        if self._view:
            count = min(len(buffer), len(self._view))
            buffer[:count] = self._view[:count]
            self._view = self._view[count:]
            return count
        return self._rest.readinto(buffer) if self.offset < self.size else 0

    def close(self) -> None:
        """Close what was opened here; `rest` is its owner's."""
        with suppress(ValueError):  # a thread that does not return from reading
            self._chunks.close()
        self._close_handles()

    def _read_back(self) -> Generator[Bytes, None, None]:
        """Chunk by chunk, up to the first that is not what it should be, or is not there any more."""
        try:
            with self._old.path.open("rb") as file:
                for block in partial.blocks(file, self.size):
                    for row in block.rows:
                        chunk_id = bytes(row["id"])
                        chunk = self._chunk(block, row, chunk_id)
                        if len(chunk) != row["length"] or blake3(chunk).digest() != chunk_id:
                            return
                        yield chunk
        except (LaminaError, OSError):
            return
        finally:
            self._close_handles()

    def _chunk(self, block: partial.Block, row: Any, chunk_id: bytes) -> Bytes:
        if row["pack"] == partial.ELSEWHERE:
            return self._find(chunk_id)
        name, at, offset, length = block.packs[row["pack"]], int(row["at"]), int(row["offset"]), int(row["length"])
        if row["codec"] == layout.RAW:
            return self._read(name, at + offset, length)
        if self._frame is None or self._frame[0] != (name, at):
            plain = decode(int(row["codec"]), self._read(name, at, int(row["stored"])), int(row["plain"]), name.hex())
            self._frame = (name, at), plain
        return memoryview(self._frame[1])[offset : offset + length]

    def _read(self, name: bytes, at: int, length: int) -> Bytes:
        handle = self._handles.get(name)
        if handle is None:
            if len(self._handles) >= HANDLES:
                self._handles.pop(next(iter(self._handles))).close()
            handle = self._handles[name] = self._open(name.hex())
        data = memoryview(bytearray(length))
        return data[: handle.pread_into(data, at)]

    def _open(self, name: str) -> ReadHandle:
        """Where its writer left it, or where it was sealed."""
        try:
            return self._backend.open_temporary(self._old.lease, name)
        except NotFound:
            return self._backend.open(pack_path(name))

    def _close_handles(self) -> None:
        while self._handles:
            self._handles.popitem()[1].close()
