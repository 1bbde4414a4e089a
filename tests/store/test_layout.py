from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from lamina.errors import StoreDamaged, StoreTooNew
from lamina.storage.local import LocalHandle
from lamina.store import layout
from lamina.store.packs import read_footer

NAME = bytes(range(16))
# A change of this hash is a change of the format: version 1 stays readable, so it asks for a version 2.
GOLDEN = "b43731ae88dfeba668215ea6ded7f7bfdf7e1e49d973eefc3f6d3e107dc8d1d9"


def small_pack(name: bytes = NAME) -> bytes:
    """A pack of every sort of record, by hand from FORMAT.md's tables."""
    chunks = [b"content one", b"content two", b"segment"]
    records = [
        (layout.CONTENT, layout.RAW, chunks[0] + chunks[1], 22, 2),
        (layout.SEGMENT, layout.RAW, chunks[2], 7, 1),
        (layout.HEAD, layout.RAW, b'{"head":1}', 10, 0),
        (layout.DOCUMENT, layout.RAW, b"{}", 2, 0),
        (layout.JOURNAL, layout.RAW, b'{"seq":1}', 9, 0),
    ]
    out = layout.pack_header(name)
    rows = []
    for kind, codec, stored, plain, count in records:
        check = layout.checksum(stored)
        out += layout.record_header(kind, codec, len(stored), plain, count, check)
        rows.append((len(out), len(stored), plain, count, kind, codec, 0, check))
        out += stored
    out += layout.padding(len(out))
    ids = np.frombuffer(b"".join(blake3(chunk).digest() for chunk in chunks), np.uint8).reshape(-1, 32)
    places = np.array([(0, 0, 11), (0, 11, 11), (1, 0, 7)], layout.PLACE)
    keys = layout.encode_keys([{"digest": "a", "kind": "layer", "size": 1}, {"digest": "b"}, {"seq": 1}])
    return out + b"".join(layout.footer(name, len(out), np.array(rows, layout.RECORD), ids, places, keys))


def opened(tmp_path: Path, data: bytes, name: bytes = NAME) -> layout.Footer:
    path = tmp_path / name.hex()
    path.write_bytes(data)
    with LocalHandle(f"packs/00/{name.hex()}", path) as handle:
        return read_footer(handle)


def test_golden_bytes() -> None:
    assert hashlib.sha256(small_pack()).hexdigest() == GOLDEN


def test_what_was_written_is_read(tmp_path: Path) -> None:
    data = small_pack()
    footer = opened(tmp_path, data)
    assert [int(kind) for kind in footer.records["type"]] == [1, 2, 4, 5, 6]
    for row in footer.records:
        stored = data[row["offset"] : row["offset"] + row["stored"]]
        assert layout.checksum(stored) == row["checksum"]
        assert data[row["offset"] - 32 : row["offset"] - 28] == b"LREC"
    assert footer.ids[1].tobytes() == blake3(b"content two").digest()
    assert footer.places[1].tolist() == (0, 11, 11)
    assert footer.key_rows() == [(2, {"digest": "a", "kind": "layer", "size": 1}), (3, {"digest": "b"}), (4, {"seq": 1})]


def test_an_empty_pack(tmp_path: Path) -> None:
    none = np.empty(0, layout.RECORD), np.empty((0, 32), np.uint8), np.empty(0, layout.PLACE)
    footer = opened(tmp_path, layout.pack_header(NAME) + b"".join(layout.footer(NAME, 64, *none, b"")))
    assert (len(footer.records), len(footer.ids), footer.key_rows()) == (0, 0, [])


def test_any_flipped_bit_of_footer_and_tail_shows(tmp_path: Path) -> None:
    data = small_pack()
    (at,) = np.frombuffer(data[-64:-56], "<u8")  # the tail's footer offset, as FORMAT.md has it
    for place in range(int(at), len(data)):
        for bit in (1, 128):
            bad = bytearray(data)
            bad[place] ^= bit
            with pytest.raises((StoreDamaged, StoreTooNew)):
                opened(tmp_path, bytes(bad))


def test_any_missing_or_further_byte_shows(tmp_path: Path) -> None:
    data = small_pack()
    for bad in (*(data[:size] for size in range(len(data))), data + b"\0", b"\0" + data, data + data):
        with pytest.raises(StoreDamaged):
            opened(tmp_path, bad)


def test_a_pack_under_another_name(tmp_path: Path) -> None:
    with pytest.raises(StoreDamaged, match="another pack's name"):
        opened(tmp_path, small_pack(), bytes(16))


def test_a_newer_version_is_said_to_be_one(tmp_path: Path) -> None:
    data = bytearray(small_pack())
    data[-88] = 2
    with pytest.raises(StoreTooNew):
        opened(tmp_path, bytes(data))


@pytest.mark.parametrize(("column", "field", "value"), [
    ("records", "offset", 1 << 40), ("records", "stored", 1 << 31), ("records", "plain", (16 << 20) + 1),
    ("places", "record", 1), ("places", "offset", 8), ("places", "length", 0xFFFFFFFF),
])
def test_places_outside_of_records_under_a_good_checksum(tmp_path: Path, column: str, field: str, value: int) -> None:
    columns = {"records": np.array([(96, 7, 7, 1, 1, 0, 0, 0)], layout.RECORD), "places": np.array([(0, 0, 7)], layout.PLACE)}
    columns[column][field] = value
    ids = np.zeros((1, 32), np.uint8)
    start = layout.pack_header(NAME) + bytes(40)
    data = start + b"".join(layout.footer(NAME, len(start), columns["records"], ids, columns["places"], b""))
    with pytest.raises(StoreDamaged, match="points outside"):
        opened(tmp_path, data)


@pytest.mark.parametrize("keys", [
    b"", b"\xff\xff\xff\xff{}", b"\x02\0\0\0{", b"\x02\0\0\0[]", b"\x01\0\0\0\xff", b"\x01\0\0\x001",
])
def test_keys_that_are_none(tmp_path: Path, keys: bytes) -> None:
    start = layout.pack_header(NAME) + bytes(40)
    records = np.array([(96, 7, 7, 0, layout.HEAD, 0, 0, 0)], layout.RECORD)
    none = np.empty((0, 32), np.uint8), np.empty(0, layout.PLACE)
    footer = opened(tmp_path, start + b"".join(layout.footer(NAME, len(start), records, *none, keys)))
    with pytest.raises(StoreDamaged):
        footer.key_rows()
