"""The log of file operations that shim.c writes, and a file as the log leaves it: see powerloss.py."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BYTES = ("none", "all", "zeros", "torn")


@dataclass(frozen=True, slots=True)
class Op:
    """One record of the log; of a mark (`op` "mark") all but `more` is empty."""

    op: str
    path: str = ""
    to: str = ""
    ino: int = 0
    offset: int = 0
    size: int = 0
    mode: int = 0
    dir: bool = False
    data: bytes = b""
    more: Mapping[str, object] = field(default_factory=dict)


def encode(header: Mapping[str, object], data: bytes = b"") -> bytes:
    """A record as the shim writes it."""
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + data


def read_log(path: Path) -> list[Op]:
    """All records of a log; ValueError for one that is cut short."""
    log, at, ops = path.read_bytes(), 0, []
    while at < len(log):
        (length,) = struct.unpack_from("<I", log, at)
        header = json.loads(log[at + 4 : at + 4 + length])
        at += 4 + length
        op = header["op"]
        size = header.get("size", 0) if op == "write" else 0
        if at + size > len(log):
            raise ValueError(f"the log ends in the middle of {header}")
        known = {key: header[key] for key in ("path", "to", "ino", "offset", "size", "mode", "dir") if key in header}
        ops.append(Op(op, **known, data=log[at : at + size], more=header if op == "mark" else {}))
        at += size
    return ops


class File:
    """The bytes that last, and what was done since the last fsync: writes (offset, bytes) and sizes (least, exactly)."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending: list[tuple[int, bytes] | tuple[str, int]] = []
        self._now: bytes | None = b""

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append((offset, data))
        self._now = None

    def resize(self, how: str, size: int) -> None:
        self.pending.append((how, size))
        self._now = None

    def sync(self) -> None:
        self.durable, self.pending = self.now(), []

    def now(self) -> bytes:
        """What a reader sees."""
        if self._now is None:
            self._now = self._played(lambda _: True)
        return self._now

    def _played(self, stays: Callable[[int], bool], piece: int = 1 << 40) -> bytes:
        """The durable bytes and those pending pieces that stay; pieces end at multiples of `piece` of the file."""
        out = bytearray(self.durable)
        for what in self.pending:
            if isinstance(what[0], str):
                how, size = what
                assert isinstance(size, int)
                if stays(size):
                    out.extend(bytes(max(0, size - len(out))))
                    if how == "exactly":
                        del out[size:]
                continue
            at, data = what
            assert isinstance(data, bytes)
            done = 0
            while done < len(data):
                take = min(len(data) - done, piece - (at + done) % piece)
                if stays(at + done):
                    out.extend(bytes(max(0, at + done - len(out))))
                    out[at + done : at + done + take] = data[done : done + take]
                done += take
        return bytes(out)

    def after_cut(self, manner: str, rng: random.Random) -> bytes:
        """The bytes that came to the disk, by one of BYTES."""
        if manner == "none" or not self.pending:
            return self.durable
        if manner == "all":
            return self.now()
        if manner == "zeros":
            size = len(self.now())
            return self.durable[:size].ljust(size, b"\0")
        share = rng.choice((0.1, 0.5, 0.9))
        torn = self._played(lambda _: rng.random() < share, rng.choice((512, 4096)))
        return torn.ljust(len(self.now()), b"\0") if rng.random() < 0.5 else torn
