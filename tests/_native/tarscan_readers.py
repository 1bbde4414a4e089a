"""What the scanner, Python's tarfile, GNU tar and bsdtar make of a stream, in forms that compare."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from lamina._native.tarscan import Column, EntryColumns, TarScanner

LOCALE = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
GNU_LINE = re.compile(rb"(?:block \d+: )*block (\d+): (.)\S+ \S+ +(\d+(?:,\d+)?) \S+ \S+ (.*)")

ESCAPE = re.compile(rb"\\([0-7]{3})")


class Scan(NamedTuple):
    """A whole stream: its spans, joined over the calls; its members; and the scanner at the end."""

    spans: list[tuple[int, int]]
    entries: EntryColumns | None
    scanner: TarScanner


class Member(NamedTuple):
    name: bytes
    size: int


def cell(column: Column, row: int) -> bytes:
    return column.data[column.starts[row] : column.starts[row + 1]]


def cells(column: Column) -> list[bytes]:
    return [cell(column, i) for i in range(len(column.starts) - 1)]


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans as they would come from one call: pieces of one content together, segments in a row together."""
    out: list[tuple[int, int]] = []
    for kind, length in spans:
        if out and out[-1][0] == kind & 1:
            out[-1] = (kind, out[-1][1] + length)
        else:
            out.append((kind, length))
    return out


def scan(raw: bytes, cuts: Iterable[int] = (), inline_limit: int = 512) -> Scan:
    """Feeds the stream in the pieces that the cuts make, and holds what must be so after every call."""
    scanner = TarScanner(inline_limit)
    spans: list[tuple[int, int]] = []
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    for begin, end in pairwise(edges):
        kinds, lengths = scanner.feed(raw[begin:end])
        spans += zip(kinds.tolist(), lengths.tolist(), strict=True)
        assert 0 <= scanner.pending < 512
        assert scanner.position == end - scanner.pending == sum(length for _, length in spans)
    kinds, lengths = scanner.finish()
    spans += zip(kinds.tolist(), lengths.tolist(), strict=True)
    assert scanner.pending == 0
    assert sum(length for _, length in spans) == scanner.position == len(raw)
    assert all(length > 0 for _, length in spans) or spans[-1] == (3, 0)
    whole = joined(spans)
    assert all(kind in (0, 3) for kind, _ in whole), "every content ends"
    entries = scanner.take_entries()
    assert (len(entries.kind) if entries else 0) == scanner.entry_count
    return Scan(whole, entries, scanner)


def listed(raw: bytes) -> list[Member]:
    entries = scan(raw).entries
    return [] if entries is None else [
        Member(name, int(size)) for name, size in zip(cells(entries.path), entries.size, strict=True)
    ]  # fmt: skip


def real_header(raw: bytes, header: int) -> int:
    """Where the header stands that a member's PAX and GNU extension headers precede."""
    while raw[header + 156 : header + 157] in (b"x", b"L", b"K"):
        size = int(raw[header + 124 : header + 135], 8)
        header += 512 + size + -size % 512
    return header


def by_tarfile(raw: bytes, **options: bool) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), encoding="utf-8", errors="surrogateescape", **options) as tar:
            return tar.getmembers()
    except tarfile.TarError:
        return []


def _run(*command: str | Path) -> bytes:
    """The listing; a tool that finds fault with the archive still lists what it could read."""
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | LOCALE).stdout


def by_gnu(path: Path, *options: str) -> list[tuple[int, Member]]:
    """Block numbers and members as `tar -tvR` lists them; devices have the size 0."""
    out = []
    listing = _run("tar", "-tvRf", path, "--numeric-owner", "--quoting-style=literal", *options)
    for line in listing.splitlines():
        match = GNU_LINE.fullmatch(line)
        if not match:
            assert line.endswith((b"** Block of NULs **", b"** End of File **")), line
            continue
        block, kind, size, name = match.groups()
        name = name.split(b" -> ")[0].split(b" link to ")[0] if kind in b"lh" else name
        out.append((int(block), Member(name, 0 if b"," in size else int(size))))
    return out


def by_bsdtar(path: Path, *options: str) -> list[Member]:
    """Members as `bsdtar -tv` lists them; devices have the size 0."""
    out = []
    for line in _run("bsdtar", "-tvf", path, "--numeric-owner", *options).splitlines():
        kind, size, name = line[:1], line.split(None, 8)[4], line.split(None, 8)[8]
        name = ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), name.split(b" -> ")[0].split(b" link to ")[0])
        out.append(Member(name, 0 if b"," in size or kind in b"bc" else int(size)))
    return out
