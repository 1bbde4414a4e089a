"""Recipes: what rebuilds one blob (FORMAT.md, "Recipe block" and "Blob head")."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lamina.digest import Digest
from lamina.errors import InvalidDigest, StoreDamaged
from lamina.jsonlimits import natural, utf8

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

BLOCK_HEADER: Final = struct.Struct("<B3xIII")
BLOCK_CHUNKS: Final = 4096  # rows of ids in a block: 147 kB
BLOCK_SPANS: Final = 8192  # 131 kB
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Block:
    """One recipe block: ids u8[n, 32] and lengths u32[n] of each stream's chunks; spans as two columns of bytes."""

    content: U8
    content_lengths: U32
    segment: U8
    segment_lengths: U32
    span_segment: I64
    span_content: I64

    def encode(self) -> bytes:
        """The block's bytes."""
        head = BLOCK_HEADER.pack(_VERSION, len(self.content), len(self.segment), len(self.span_segment))
        columns = (self.content, self.content_lengths, self.segment, self.segment_lengths, self.span_segment, self.span_content)
        return head + b"".join(column.tobytes() for column in columns)

    @classmethod
    def decode(cls, data: bytes | memoryview, where: str) -> Block:
        """The inverse; `StoreDamaged`."""
        if len(data) < BLOCK_HEADER.size:
            raise StoreDamaged("a recipe block is cut short", where, "run lamina verify")
        version, contents, segments, spans = BLOCK_HEADER.unpack_from(data)
        if version != _VERSION or len(data) != BLOCK_HEADER.size + 36 * (contents + segments) + 16 * spans:
            raise StoreDamaged("a recipe block does not fit its header", where, "run lamina verify")
        at = BLOCK_HEADER.size

        def column(dtype: str, count: int) -> Any:
            nonlocal at
            array = np.frombuffer(data, dtype, count, at)
            at += array.nbytes
            return np.require(array, requirements="A")  # a block lies anywhere in its frame, and kernels read whole numbers

        block = cls(
            column("u1", contents * 32).reshape(-1, 32),
            column("<u4", contents),
            column("u1", segments * 32).reshape(-1, 32),
            column("<u4", segments),
            column("<i8", spans),
            column("<i8", spans),
        )
        if spans and (int(block.span_segment.min()) < 0 or int(block.span_content.min()) < 0):
            raise StoreDamaged("a recipe block has negative spans", where, "run lamina verify")
        return block


@dataclass(slots=True)
class Head:
    """A blob head: what is known of a blob, and the ids of its recipe and entry blocks."""

    digest: Digest
    sha256: str
    size: int
    media_type: str = ""
    diff_id: str = ""
    plain_size: int = -1
    entries: int = 0
    file_bytes: int = 0
    recipe: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    entry_blocks: list[bytes] = field(default_factory=list)

    def encode(self) -> bytes:
        """Compact JSON, keys in order: the same blob has the same head."""
        value: dict[str, Any] = {"digest": self.digest, "sha256": self.sha256, "size": self.size}
        if self.media_type:
            value["media_type"] = self.media_type
        if self.diff_id:
            value |= {"diff_id": self.diff_id, "plain_size": self.plain_size}
        value |= {"entries": self.entries, "file_bytes": self.file_bytes}
        value["recipe"] = [[block_id.hex(), *places] for block_id, *places in self.recipe]
        value["entry_blocks"] = [block_id.hex() for block_id in self.entry_blocks]
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes | memoryview, where: str) -> Head:
        """The inverse; `StoreDamaged`."""
        try:
            value = json.loads(bytes(data))
            return cls(
                Digest(value["digest"]),
                Digest(value["sha256"]),
                natural(value["size"]),
                utf8(value.get("media_type", "")),
                str(Digest(value["diff_id"])) if "diff_id" in value else "",
                natural(value["plain_size"]) if "diff_id" in value else -1,
                natural(value["entries"]),
                natural(value["file_bytes"]),
                [(_chunk_id(row[0]), natural(row[1]), natural(row[2]), natural(row[3])) for row in value["recipe"]],
                [_chunk_id(row) for row in value["entry_blocks"]],
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, InvalidDigest) as error:
            raise StoreDamaged("a blob head cannot be read", where, "run lamina verify") from error


def _chunk_id(text: str) -> bytes:
    chunk_id = bytes.fromhex(text)
    if len(chunk_id) != 32:
        raise ValueError("a chunk id has 32 bytes")
    return chunk_id


class _Column:
    """Arrays that come in pieces and go out in rows of a fixed number."""

    def __init__(self) -> None:
        self.pieces: list[npt.NDArray[Any]] = []
        self.rows = 0

    def add(self, piece: npt.NDArray[Any]) -> None:
        if len(piece):
            self.pieces.append(piece)
            self.rows += len(piece)

    def take(self, count: int, empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
        whole = np.concatenate(self.pieces) if self.pieces else empty
        self.pieces = [whole[count:].copy()] if len(whole) > count else []
        self.rows = max(0, len(whole) - count)
        return whole[:count]


class RecipeWriter:
    """Gathers the chunks and spans of one blob and hands on blocks of bounded size.

    `store(block bytes) -> chunk id` is called as blocks fill up; memory is that of one block and one buffer's rows.
    """

    def __init__(self, store: Callable[[bytes], bytes]) -> None:
        self._store = store
        self._content, self._content_lengths = _Column(), _Column()
        self._segment, self._segment_lengths = _Column(), _Column()
        self._span_segment, self._span_content = _Column(), _Column()
        self._places = [0, 0, 0]
        self.blocks: list[tuple[bytes, int, int, int]] = []

    def content(self, ids: U8, lengths: I64) -> None:
        """The next chunks of the content stream."""
        self._content.add(ids)
        self._content_lengths.add(lengths)
        self._drain()

    def segment(self, ids: U8, lengths: I64) -> None:
        """The next chunks of the segment stream."""
        self._segment.add(ids)
        self._segment_lengths.add(lengths)
        self._drain()

    def spans(self, segment: I64, content: I64) -> None:
        """The next spans."""
        self._span_segment.add(segment)
        self._span_content.add(content)
        self._drain()

    def finish(self) -> list[tuple[bytes, int, int, int]]:
        """All blocks: id, and where in stream, content and segments each begins."""
        while self._content.rows or self._segment.rows or self._span_segment.rows:
            self._block()
        return self.blocks

    def _drain(self) -> None:
        while max(self._content.rows, self._segment.rows) >= BLOCK_CHUNKS or self._span_segment.rows >= BLOCK_SPANS:
            self._block()

    def _block(self) -> None:
        none = np.empty((0, 32), np.uint8)
        zero = np.empty(0, np.int64)
        block = Block(
            self._content.take(BLOCK_CHUNKS, none),
            self._content_lengths.take(BLOCK_CHUNKS, zero).astype("<u4"),
            self._segment.take(BLOCK_CHUNKS, none),
            self._segment_lengths.take(BLOCK_CHUNKS, zero).astype("<u4"),
            self._span_segment.take(BLOCK_SPANS, zero).astype("<i8"),
            self._span_content.take(BLOCK_SPANS, zero).astype("<i8"),
        )
        self.blocks.append((self._store(block.encode()), *self._places))  # type: ignore[arg-type]
        self._places[0] += int(block.span_segment.sum()) + int(block.span_content.sum())
        self._places[1] += int(block.content_lengths.sum(dtype=np.int64))
        self._places[2] += int(block.segment_lengths.sum(dtype=np.int64))


def blocks(head: Head, chunk: Callable[[bytes], bytes | memoryview]) -> Iterator[Block]:
    """The recipe blocks of a blob in order; `chunk(id)` reads a meta chunk."""
    for block_id, *_ in head.recipe:
        yield Block.decode(chunk(block_id), head.digest)
