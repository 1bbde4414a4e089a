"""The bytes of a pack (FORMAT.md, "Pack"): what writer and reader agree on."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina.errors import StoreDamaged, StoreTooNew

VERSION: Final = 1

CONTENT, SEGMENT, META, HEAD, DOCUMENT, JOURNAL = 1, 2, 3, 4, 5, 6
FRAMES: Final = (CONTENT, SEGMENT, META)
RAW, ZSTD = 0, 1

FRAME_BYTES: Final = 1 << 20  # plain bytes of a new frame; FORMAT.md, "Sizes of frames", has the table
RECORD_LIMIT: Final = 16 << 20  # plain bytes of any record; a head is there at 450 GB of files of 512 B

HEADER: Final = struct.Struct("<8sII16s32x")
RECORD_HEADER: Final = struct.Struct("<4sBBHIIIIQ")
TAIL: Final = struct.Struct("<8sII16sQIIII32s8s")
KEY_LENGTH: Final = struct.Struct("<I")

RECORD: Final = np.dtype(
    [
        ("offset", "<u8"),
        ("stored", "<u4"),
        ("plain", "<u4"),
        ("rows", "<u4"),
        ("type", "u1"),
        ("codec", "u1"),
        ("zero", "<u2"),
        ("checksum", "<u8"),
    ]
)
PLACE: Final = np.dtype([("record", "<u4"), ("offset", "<u4"), ("length", "<u4")])

RECORD_MAGIC: Final = b"LREC"
_HEADER_MAGIC, _FOOTER_MAGIC, _END_MAGIC = b"LAMINAPK", b"LAMINAFT", b"LAMINAND"

Ids = npt.NDArray[np.uint8]


def checksum(stored: bytes | memoryview) -> int:
    """The checksum of a record's stored bytes: the first 8 bytes of their BLAKE3."""
    return int.from_bytes(blake3(stored).digest(8), "little")


def pack_header(name: bytes) -> bytes:
    """The first 64 bytes of the pack called `name`."""
    return HEADER.pack(_HEADER_MAGIC, VERSION, HEADER.size, name)


def record_header(kind: int, codec: int, stored: int, plain: int, rows: int, check: int) -> bytes:
    """The 32 bytes before a record's stored bytes."""
    return RECORD_HEADER.pack(RECORD_MAGIC, kind, codec, 0, stored, plain, rows, 0, check)


def padding(length: int) -> bytes:
    """Zeros from `length` to the next multiple of 8."""
    return bytes(-length % 8)


def encode_keys(keys: list[dict[str, Any]]) -> bytes:
    """The keys column: compact JSON, each with its length before it."""
    texts = [json.dumps(key, separators=(",", ":"), sort_keys=True).encode() for key in keys]
    return b"".join(KEY_LENGTH.pack(len(text)) + text for text in texts)


def footer(name: bytes, at: int, records: npt.NDArray[Any], ids: Ids, places: npt.NDArray[Any], keys: bytes) -> list[bytes]:
    """The columns and the tail of a pack whose footer begins at offset `at`."""
    parts: list[bytes] = []
    for column in (records.tobytes(), ids.tobytes(), places.tobytes(), keys):
        parts += [column, padding(len(column))]
    tail = [_FOOTER_MAGIC, VERSION, TAIL.size, name, at, len(records), len(ids), len(keys), 0]
    check = blake3(pack_header(name))
    for part in parts:
        check.update(part)
    check.update(TAIL.pack(*tail, bytes(32), _END_MAGIC))
    parts.append(TAIL.pack(*tail, check.digest(), _END_MAGIC))
    return parts


@dataclass(frozen=True, slots=True)
class Tail:
    """What the last bytes of a pack say of its footer."""

    name: bytes
    at: int
    records: int
    chunks: int
    keys: int
    check: bytes

    @property
    def columns(self) -> tuple[int, int, int, int]:
        """Padded lengths of the four columns."""
        sizes = (self.records * RECORD.itemsize, self.chunks * 32, self.chunks * PLACE.itemsize, self.keys)
        return tuple(size + -size % 8 for size in sizes)  # type: ignore[return-value]

    @classmethod
    def parse(cls, data: bytes, size: int, where: str) -> Tail:
        """Of the last `TAIL.size` bytes of a file of `size` bytes; `StoreDamaged`, `StoreTooNew`."""
        if len(data) != TAIL.size:
            raise StoreDamaged("a pack is too short to have a tail", where, "run lamina verify")
        magic, version, length, name, at, records, chunks, keys, zero, check, end = TAIL.unpack(data)
        if magic != _FOOTER_MAGIC or end != _END_MAGIC or zero:
            raise StoreDamaged("a pack has no tail", where, "run lamina verify")
        if version != VERSION or length != TAIL.size:
            raise StoreTooNew(f"a pack has format version {version}", where, "use a newer lamina")
        tail = cls(name, at, records, chunks, keys, check)
        if at < HEADER.size or at + sum(tail.columns) + TAIL.size != size:
            raise StoreDamaged("a pack's tail does not fit its length", where, "run lamina verify")
        return tail


class Footer:
    """The columns of a sealed pack, over its mapped bytes.  Immutable; every place has been checked.

    `records` and `places` are structured columns (RECORD, PLACE), `ids` is u8[chunks, 32].  With `sure` false nothing is
    checked: what a damaged footer says serves as a hint.
    """

    def __init__(self, tail: Tail, data: memoryview, where: str, *, sure: bool = True) -> None:
        self.tail, self.where = tail, where
        if sure:
            self._check(data)
        sizes = tail.columns
        at = [sum(sizes[:i]) for i in range(4)]
        self.records = np.frombuffer(data, RECORD, tail.records, at[0])
        self.ids: Ids = np.frombuffer(data, np.uint8, tail.chunks * 32, at[1]).reshape(-1, 32)
        self.places = np.frombuffer(data, PLACE, tail.chunks, at[2])
        self._keys = data[at[3] : at[3] + tail.keys]
        if sure:
            self._check_places()

    def _check(self, data: memoryview) -> None:
        tail, where = self.tail, self.where
        check = blake3(pack_header(tail.name))
        check.update(data)
        check.update(TAIL.pack(_FOOTER_MAGIC, VERSION, TAIL.size, tail.name, tail.at, tail.records, tail.chunks,
                               tail.keys, 0, bytes(32), _END_MAGIC))
        if check.digest() != tail.check:
            raise StoreDamaged("a pack's footer does not match its checksum", where, "run lamina verify")

    def _check_places(self) -> None:
        """A writer's mistake under a good checksum must not become a read out of bounds."""
        offset, stored = self.records["offset"], self.records["stored"].astype(np.uint64)
        at = np.uint64(self.tail.at)
        bad = bool((offset > at).any()) or bool((stored > at - np.minimum(offset, at)).any())  # no sum that may wrap
        bad = bad or bool((np.maximum(self.records["plain"], self.records["stored"]) > RECORD_LIMIT).any())
        if not bad and len(self.places):
            bad = int(self.places["record"].max()) >= len(self.records)
        if not bad and len(self.places):
            plain = self.records["plain"][self.places["record"]].astype(np.uint64)
            bad = bool((self.places["offset"].astype(np.uint64) + self.places["length"] > plain).any())
        if bad:
            raise StoreDamaged("a pack's footer points outside of its records", self.where, "run lamina verify")

    def key_rows(self) -> list[tuple[int, dict[str, Any]]]:
        """(record number, key) of every record that is no frame."""
        numbers = np.nonzero(self.records["type"] >= HEAD)[0]
        at, out = 0, []
        for number in numbers:
            if at + KEY_LENGTH.size > len(self._keys):
                raise StoreDamaged("a pack's keys are cut short", self.where, "run lamina verify")
            (length,) = KEY_LENGTH.unpack_from(self._keys, at)
            at += KEY_LENGTH.size
            try:
                key = json.loads(bytes(self._keys[at : at + length]))
            except (ValueError, RecursionError) as error:
                raise StoreDamaged("a pack's keys cannot be read", self.where, "run lamina verify") from error
            if not isinstance(key, dict) or at + length > len(self._keys):
                raise StoreDamaged("a pack's keys are none", self.where, "run lamina verify")
            out.append((int(number), key))
            at += length
        return out
