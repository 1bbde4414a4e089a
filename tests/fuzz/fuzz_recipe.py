"""What a blob is made again from, as a pack has it: recipe blocks, heads, blocks of entry tables, journals, partials.

Anything is read or refused; what is read and written again is read the same; a weaver goes by any recipe to its end.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator

import numpy as np
from _native.tarscan_samples import member, pax
from fuzz.fuzz_tar import same_entries
from fuzz.fuzzkit import Feed, accepted

from lamina._native.tarscan import TarScanner
from lamina._native.weave import Weaver
from lamina.digest import Digest
from lamina.store import partial
from lamina.store.entries import decode_block, encode_block
from lamina.store.names import last_checkpoint, names_of, parse_journal
from lamina.store.recipe import BLOCK_HEADER, Block, Head

WORDS = (b'"digest"', b'"sha256"', b'"size"', b'"recipe"', b'"entry_blocks"', b'"diff_id"', b'"plain_size"', b'"entries"',
         b'"file_bytes"', b'"seq"', b'"set"', b'"remove"', b'"checkpoint"', b'"parts"', b'"name"', b'"time"', b"1e999", b"NaN",
         b"9223372036854775808", b"sha256:")
INT64 = range(-1, 1 << 63)


def _block(data: bytes) -> None:
    block = Block.decode(data, "a blob")
    assert block.encode() == data[:1] + bytes(3) + data[4:]
    assert (block.span_segment >= 0).all() and (block.span_content >= 0).all()
    weaver = Weaver()
    weaver.spans(block.span_segment, block.span_content)
    at = [0, 0, 0, 0]
    total = 0
    while True:
        rows, skips, lengths, *at = weaver.plan(1 << 20, 100, block.segment_lengths, at[0], at[1],
                                                block.content_lengths, at[2], at[3])  # fmt: skip
        assert len(rows) == len(skips) == len(lengths) <= 100 and int(lengths.sum(dtype=np.int64)) <= 1 << 20
        total += int(lengths.sum(dtype=np.int64))
        if not len(rows) or total > 1 << 24:
            break


def _built_block(data: bytes) -> None:
    """The same with a header that fits."""
    feed = Feed(data)
    contents, segments, spans = (feed.number() % 8 for _ in range(3))
    rest = feed.rest()[: 36 * (contents + segments) + 16 * spans].ljust(36 * (contents + segments) + 16 * spans, b"\0")
    _block(BLOCK_HEADER.pack(1, contents, segments, spans) + rest)


def _head(data: bytes) -> None:
    head = Head.decode(data, "a blob")
    numbers = (head.size, head.plain_size, head.entries, head.file_bytes, *(n for row in head.recipe for n in row[1:]))
    assert all(number in INT64 for number in numbers), "beyond what the catalog holds"
    assert all(len(chunk) == 32 for chunk in (*head.entry_blocks, *(row[0] for row in head.recipe)))
    head.media_type.encode()
    assert Head.decode(head.encode(), "a blob").encode() == head.encode()


def _entries(data: bytes) -> None:
    entries = decode_block(data)
    n = len(entries.kind)
    assert all(len(column) == n for column in entries[:12])
    for text in entries[12:]:
        assert len(text.starts) == n + 1 and text.starts[0] == 0 and text.starts[-1] == len(text.data)
        assert (text.starts[1:] >= text.starts[:-1]).all()
    same_entries(decode_block(encode_block(entries)), entries)


def _built_entries(data: bytes) -> None:
    """The same, whose lengths fit."""
    feed = Feed(data)
    n = feed.number() % 5
    texts = [feed.number() % 40 for _ in range(6)]
    size = 94 * n + sum(texts)
    _entries(struct.pack("<BI6I", 1, n, *texts) + feed.rest()[:size].ljust(size, b"\0"))


def _journals(data: bytes) -> None:
    journals = [one for text in data.split(b"\n") if (one := accepted(parse_journal, text, "a pack")) is not None]
    for name, row in names_of(journals).items():
        assert name == row.name and all(isinstance(text, str) for text in row[:3])
        assert all(number in INT64 for number in row[3:6])
    assert last_checkpoint(journals) in INT64


def _partial(data: bytes) -> None:
    for block in partial.blocks(io.BytesIO(data), 1 << 20):
        assert block.covered <= 1 << 20 and len(block.rows) <= partial.ROWS and len(block.packs) <= partial.PACKS


def _built_partial(data: bytes) -> None:
    """The same under right checksums."""
    feed = Feed(data)
    out = partial.header(1 << 20)
    covered = 0
    while feed and len(out) < 1 << 16:
        packs = [feed.bytes(16).ljust(16, b"\0") for _ in range(feed.number() % 3)]
        raw = b"".join(feed.bytes(64).ljust(64, b"\0") for _ in range(feed.number() % 4))
        rows = np.frombuffer(raw, partial.ROW) if raw else np.empty(0, partial.ROW)
        covered += int(rows["length"].sum(dtype=np.int64))
        out += partial.encode_block(packs, rows, covered if feed.number() else feed.number(8))
    _partial(out)


READERS: tuple[Callable[[bytes], None], ...] = (
    _block, _built_block, _head, _entries, _built_entries, _journals, _partial, _built_partial,
)


def run(data: bytes) -> None:
    if data:
        accepted(READERS[data[0] % len(READERS)], data[1:])


def seeds() -> Iterator[bytes]:
    ids, lengths = np.arange(64, dtype=np.uint8).reshape(2, 32), np.array([600, 5], np.uint32)
    spans = np.array([4, 1], np.int64), np.array([0, 600], np.int64)
    block = Block(ids, lengths, ids[:1], lengths[1:], *spans).encode()
    yield b"\0" + block
    yield b"\1\2\1\2" + block[BLOCK_HEADER.size :]
    yield b"\1\0\0\1" + bytes([5, 0, 0, 0, 0, 0, 0, 0x80])
    digest = Digest.of(b"")
    head = Head(digest, digest, 605, "a/b", digest, 605, 2, 600, [(bytes(32), 0, 0, 0)], [bytes(32)])
    yield b"\2" + head.encode()
    for name in ("size", "entries", "file_bytes", "plain_size"):
        yield b"\2" + json.dumps(json.loads(head.encode()) | {name: float("inf"), "recipe": [], "entry_blocks": []}).encode()
    scanner = TarScanner()
    scanner.feed(pax([(b"SCHILY.xattr.user.a", b"1")]) + member(b"x" * 600, name=b"dir/a") + member(b"", name=b"dir/b"))
    entries = scanner.take_entries()
    assert entries is not None
    yield b"\3" + encode_block(entries)
    yield b"\4\1" + bytes([0, 3, 0, 0, 0, 0])
    yield b"\4\2" + bytes([len(b"dir/a") + 1, 0, 0, 0, 16, 0]) + encode_block(entries)[29:]
    name = {"name": "docker.io/library/a:1", "digest": digest, "media_type": "a/b", "size": 1, "time": 1}
    journals = [{"seq": 1, "set": [name], "remove": []}, {"seq": 2, "checkpoint": True, "part": 0, "parts": 1, "set": [name]},
                {"seq": 3, "set": [], "remove": ["docker.io/library/a:1"]}]  # fmt: skip
    journals.append({"seq": 4, "set": [name | {"time": float("inf")}]})
    yield b"\5" + b"\n".join(json.dumps(one).encode() for one in journals)
    rows = np.zeros(2, partial.ROW)
    rows["length"], rows["stored"], rows["plain"], rows["codec"] = 100, 200, 200, 0
    rows["offset"] = 0, 100
    yield b"\6" + partial.header(1 << 20) + partial.encode_block([bytes(16)], rows, 200)
    yield b"\7\1" + bytes(16) + b"\2" + rows.tobytes() + b"\1"
    yield b"\7\0\1" + rows[:1].tobytes() + b"\0" + (100).to_bytes(8, "little")
