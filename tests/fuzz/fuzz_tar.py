"""The tar scanner, the splitter over it and the blocks of entry tables: any bytes, in any buffers.

Spans cover the input exactly, buffers of any size give the same, columns make sense, chunks and spans give the input back, and
blocks of entries come back as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
from _native import tarscan_samples as samples
from _native.tarscan_readers import Scan, cells, scan
from fuzz.fuzzkit import Feed, part

from lamina._native.cdc import Cutter
from lamina._native.split import Splitter
from lamina._native.tarscan import Column, EntryColumns, front_decode
from lamina.store.entries import decode_block, encode_blocks

LIMITS = (0, 1, 512, 4096)
MOST = 64 << 10  # bytes of a stream that is made of an input
CUTTER = Cutter(64, 256, 1024)
FIELDS = sorted(samples.FIELDS)
WORDS = (*samples.KEYS, *samples.TYPES, b"LIBARCHIVE.xattr.", b"%41")

_RAW, _HEADER, _BYTES, _ZEROS, _DATA, _PAX, _GLOBAL, _LONG, _AGAIN, _RECORDS = range(10)


def run(data: bytes) -> None:
    feed = Feed(data)
    flags, cuts = feed.number(), feed.number()
    raw = built(feed) if flags & 4 else feed.rest()
    limit = LIMITS[flags & 3]
    whole = scan(raw, inline_limit=limit)
    random = Random(cuts)
    if cuts:
        same(whole, scan(raw, sorted(random.randrange(len(raw) + 1) for _ in range(12)), limit))
    if whole.entries is not None:
        sane(whole.entries)
        come_back(whole.entries)
    split(raw, limit, random)


def built(feed: Feed) -> bytes:
    """A stream of headers with right checksums, records with right lengths, contents with padding."""
    out = bytearray()
    last = b""
    while feed and len(out) < MOST:
        kind = feed.number()
        if kind == _HEADER:
            last = _header(feed)
        elif kind == _ZEROS:
            last = bytes(64 * feed.number())
        elif kind == _DATA:
            last = samples.padded(feed.part())
        elif kind in (_PAX, _GLOBAL):
            records = [(feed.part(), feed.part()) for _ in range(feed.number() % 9)]
            last = samples.pax(records, b"x" if kind == _PAX else b"g")
        elif kind == _RECORDS:
            last = samples.pax(feed.part())
        elif kind == _LONG:
            last = samples.member(feed.part(), type=b"LK"[feed.number() & 1 :][:1])
        elif kind == _AGAIN:
            last *= min(feed.number(), MOST // (len(last) or 1))
        else:
            last = feed.part()
        out += last
    return bytes(out)


def _header(feed: Feed) -> bytes:
    fields: dict[str, bytes | int] = {}
    for _ in range(feed.number() % 16):
        name = FIELDS[feed.number() % len(FIELDS)]
        width = samples.FIELDS[name][1]
        fields[name] = feed.bytes(feed.number() % (width + 1))
    extra = {feed.number(2) % 500: feed.bytes(12) for _ in range(feed.number() % 5)}
    return samples.header(extra=extra, **fields)  # type: ignore[arg-type]


def same(one: Scan, other: Scan) -> None:
    """Two ways through one stream."""
    assert one.spans == other.spans
    assert (one.entries is None) == (other.entries is None)
    if one.entries is not None and other.entries is not None:
        same_entries(one.entries, other.entries)
    for name in ("is_tar", "entry_count", "file_bytes", "position", "content_left"):
        assert getattr(one.scanner, name) == getattr(other.scanner, name), name


def same_entries(one: EntryColumns, other: EntryColumns) -> None:
    for name, a, b in zip(EntryColumns._fields, one, other, strict=True):
        assert cells(a) == cells(b) if isinstance(a, Column) else np.array_equal(a, b), name


def sane(entries: EntryColumns) -> None:
    """What the documentation of `EntryColumns` says."""
    n = len(entries.kind)
    assert (entries.mtime_ns < 10**9).all() and (entries.size >= 0).all() and (entries.stored >= 0).all()
    assert (entries.header >= 0).all() and (entries.header + 512 <= entries.offset).all()
    assert (np.diff(entries.offset) > 0).all() and (entries.header[1:] >= entries.offset[:-1]).all()
    for column in (entries.path, entries.link, entries.uname, entries.gname, entries.xattrs, entries.sparse):
        assert len(column.starts) == n + 1 and column.starts[0] == 0 and column.starts[-1] == len(column.data)
        assert (column.starts[1:] >= column.starts[:-1]).all()
    for number, pieces in enumerate(cells(entries.sparse)):
        pairs = np.frombuffer(pieces, "<i8").reshape(-1, 2)
        assert (pairs >= 0).all() and (pairs[:, 0] <= entries.size[number] - pairs[:, 1]).all()
    for pairs_of in cells(entries.xattrs):
        rest = Feed(pairs_of)
        while rest:
            for _ in ("key", "value"):
                length = rest.number(4)
                assert len(rest.bytes(length)) == length


def come_back(entries: EntryColumns) -> None:
    blocks = [decode_block(block) for block in encode_blocks(entries)]
    assert len(blocks) == 1, "a few KiB are one block"
    same_entries(entries, blocks[0])
    assert front_decode(np.zeros(0, np.uint8), np.zeros(0, np.uint32), b"") is not None


def split(raw: bytes, limit: int, random: Random) -> None:
    """Cut with buffers of two sizes: the same chunks, and out of them the stream."""
    found = [chunks(raw, limit, body) for body in (max(512, len(raw)), random.choice([512, 513, 777, 1024, 4096]))]
    assert found[0] == found[1]
    contents, segments, spans = found[0]
    content, segment = b"".join(contents), b"".join(segments)
    out = bytearray()
    at = done = 0
    for of_segment, of_content in spans:
        out += segment[at : at + of_segment] + content[done : done + of_content]
        at, done = at + of_segment, done + of_content
    assert out == raw and at == len(segment) and done == len(content)


def chunks(raw: bytes, limit: int, body: int) -> tuple[list[bytes], list[bytes], list[tuple[int, int]]]:
    splitter = Splitter(CUTTER, body, inline_limit=limit)
    buffer = bytearray(splitter.headroom + body)
    contents: list[bytes] = []
    segments: list[bytes] = []
    spans: list[tuple[int, int]] = []
    for start in range(0, len(raw) + 1, body):
        piece = raw[start : start + body]
        buffer[splitter.headroom : splitter.headroom + len(piece)] = piece
        last = start + body > len(raw)
        offsets, lengths, seg_offsets, seg_lengths = splitter.feed(buffer, len(piece), last)
        contents += [bytes(buffer[a : a + n]) for a, n in zip(offsets.tolist(), lengths.tolist(), strict=True)]
        gathered = splitter.segment_bytes()
        segments += [bytes(gathered[a : a + n]) for a, n in zip(seg_offsets.tolist(), seg_lengths.tolist(), strict=True)]
        spans += zip(*(column.tolist() for column in splitter.take_spans()), strict=True)
    return contents, segments, spans


def seeds() -> Iterator[bytes]:
    for number in (3, 8, 21, 40, 77):
        yield b"\2\7" + samples.stream(number)[:1536].rstrip(b"\0")
    size, kind, magic = (bytes([FIELDS.index(name)]) for name in ("size", "type", "magic"))
    plain = b"\1\2" + size + b"\3" + b"600" + kind + b"\1" + b"0" + b"\0"
    yield b"\6\5" + plain + b"\4" + part(b"x" * 384) + b"\3\20"
    yield b"\4\5" + b"\5\3" + part(b"path") + part(b"a/b") + part(b"size") + part(b"3") + part(b"mtime") + part(b"1.5") + plain
    yield b"\6\5" + b"\5\2" + part(b"SCHILY.xattr.user.a") + part(b"1") + part(b"GNU.sparse.map") + part(b"0,1,5,2") + plain
    yield b"\4\5\x09" + part(samples.record(b"path", b"a/b") + b"9999 path=c\n") + plain
    escaped = [b"LIBARCHIVE.xattr.user.%41%4", b"YWJj", b"LIBARCHIVE.xattr.b", b"YQ="]
    yield b"\6\5" + b"\5\2" + b"".join(map(part, escaped)) + plain
    old = b"\1\3" + size + b"\2" + b"50" + kind + b"\1" + b"S" + magic + b"\10" + samples.GNU
    yield b"\6\5" + old + b"\2" + b"\x82\1" + b"00000000000\0" + b"\x8e\1" + b"00000000050\0" + b"\4" + part(b"y" * 40)
    yield b"\6\5" + b"\7" + part(b"n" * 120 + b"\0") + b"\0" + plain + b"\10\3" + b"\3\20"
    versions = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"700")]
    yield b"\6\5" + b"\5\3" + b"".join(part(key) + part(value) for key, value in versions) + plain + b"\4" + part(b"1\n0\n5\n")
