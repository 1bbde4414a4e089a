"""Damaged packs: every chunk whose bytes are still there is found, by its footer, by the rest of it, or without any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from storekit import flip, layer, load, noise, read, words

from lamina._native.cdc import Cutter
from lamina.digest import Digest
from lamina.storage.local import LocalHandle
from lamina.store import BlobStore, layout
from lamina.store.ingest import CUTTING, SEAMLESS
from lamina.store.layout import Footer
from lamina.store.packs import pack_path, read_footer
from lamina.store.packscan import scan
from lamina.store.recut import Recutter
from lamina.store.salvage import Piece, outline, salvage


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.open(tmp_path / "store")


@pytest.fixture
def pack(store: BlobStore) -> Path:
    """One pack of two layers."""
    load(store, "one", layer(1), layer(2))
    (row,) = store.catalog.packs()
    return store.path / pack_path(row.name)


def footer_of(path: Path) -> Footer:
    return read_footer(LocalHandle(path.name, path))


def salvaged(path: Path) -> list[Piece]:
    return list(salvage(LocalHandle(path.name, path)))


def ids(pieces: list[Piece]) -> set[bytes]:
    return {bytes(one) for piece in pieces for one in piece.ids}


def test_a_whole_pack(pack: Path) -> None:
    footer, found = footer_of(pack), salvaged(pack)
    assert ids(found) == {bytes(one) for one in footer.ids}
    assert len(found) == len(footer.records) and all(piece.whole and piece.cut for piece in found)
    known = outline(LocalHandle(pack.name, pack))
    assert known is not None and known.sure and known.shift == 0


def test_records_by_their_headers(pack: Path) -> None:
    footer = footer_of(pack)
    columns = ("offset", "stored", "plain", "rows", "type", "codec", "checksum")
    rows = sorted(tuple(int(row[name]) for name in columns) for row in footer.records)
    assert [tuple(record) for record in scan(LocalHandle(pack.name, pack))] == rows


def test_a_damaged_header_hides_one_record(pack: Path) -> None:
    """The next ones are found by their magic word."""
    footer = footer_of(pack)
    offsets = sorted(int(row["offset"]) for row in footer.records)
    flip(pack, offsets[3] - layout.RECORD_HEADER.size)
    found = [record.offset for record in scan(LocalHandle(pack.name, pack))]
    assert found == [offset for offset in offsets if offset != offsets[3]]


def test_content_that_looks_like_a_record(store: BlobStore) -> None:
    """Behind a damaged frame the next record is where the header says, whatever the frame's bytes look like."""
    text = b'{"remove":[],"seq":9,"set":[]}'
    fake = layout.record_header(layout.JOURNAL, 0, len(text), len(text), 0, layout.checksum(text)) + text
    with store.session(compression="none") as session:
        from storekit import push, tar_of

        push(session, "one", tar_of({"file": noise(1, 20_000) + fake + noise(2, 20_000)}))
        session.commit()
    path = store.path / pack_path(store.catalog.packs()[0].name)
    row = next(row for row in footer_of(path).records if row["type"] == layout.CONTENT)
    flip(path, int(row["offset"]) + 10)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 96)
    journals = [record for record in scan(LocalHandle(path.name, path)) if record.kind == layout.JOURNAL]
    assert len(journals) == 1 and journals[0].stored != len(text)


@pytest.mark.parametrize("compression", ["zstd:1", "none"])
def test_a_damaged_frame_gives_the_chunks_that_hold(store: BlobStore, compression: str) -> None:
    data = words(1, 900_000)
    with store.session(compression=compression) as session:
        from storekit import push, tar_of

        push(session, "one", tar_of({"a": data}))
        session.commit()
    path = store.path / pack_path(store.catalog.packs()[0].name)
    footer = footer_of(path)
    number = max((int(each) for each in np.flatnonzero(footer.records["type"] == layout.CONTENT)),
                 key=lambda each: int(footer.records[each]["stored"]))
    row = footer.records[number]
    flip(path, int(row["offset"]) + int(row["stored"]) * 3 // 4)
    lost = {bytes(one) for one in footer.ids} - ids(salvaged(path))
    mine = footer.places["record"] == number
    assert 0 < len(lost) <= max(1, int(mine.sum()) // 2)


FOOTER = ["records", "ids", "places", "keys", "tail", "magic"]


@pytest.mark.parametrize("part", FOOTER)
def test_a_damaged_footer_still_tells_where_chunks_begin(pack: Path, part: str) -> None:
    footer = footer_of(pack)
    wanted = {bytes(one) for one in footer.ids}
    starts = np.cumsum([footer.tail.at, *footer.tail.columns])
    at = dict(zip(("records", "ids", "places", "keys"), starts, strict=False)) | {
        "tail": starts[4] + 16, "magic": pack.stat().st_size - 1}
    flip(pack, int(at[part]) + (3 if part != "magic" else 0), 4)
    found = salvaged(pack)
    if part == "records" or part == "places":  # the frame that it was of is to be cut by recipes
        assert ids(found) <= wanted and sum(not piece.cut for piece in found) <= 2
    else:
        assert ids(found) == wanted


@pytest.mark.parametrize("cut", ["tail", "footer", "half"])
def test_a_pack_without_a_footer(store: BlobStore, pack: Path, cut: str) -> None:
    """All that stands before the cut comes back, cut by recipes where those are there."""
    size, at = pack.stat().st_size, footer_of(pack).tail.at
    with pack.open("r+b") as file:
        file.truncate({"tail": size - 96, "footer": at, "half": at // 2}[cut])
    result = store.mend()
    assert list(result.damaged) == [pack.name]
    if cut != "half":
        assert not result.lacking and not store.verify().problems
        assert read(store, Digest.of(layer(1))) == layer(1)
    else:
        assert result.lacking


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_torn_pack_is_read_from_both_ends(pack: Path, at: float) -> None:
    footer, data = footer_of(pack), pack.read_bytes()
    begin = int(footer.tail.at * at)
    rows = footer.records[footer.places["record"]]
    ends = rows["offset"].astype(np.int64) + rows["stored"]
    apart = (ends <= begin) | (rows["offset"].astype(np.int64) >= begin + 500)
    wanted = {bytes(one) for one in footer.ids[apart]}
    pack.write_bytes(data[:begin] + data[begin + 500 :])
    assert wanted and wanted <= ids(salvaged(pack))


def cutter(*chunks: bytes) -> Recutter:
    found = Recutter()
    rows = np.frombuffer(b"".join(blake3(chunk).digest() for chunk in chunks), np.uint8).reshape(-1, 32)
    found.add(rows, np.array([len(chunk) for chunk in chunks], np.uint32))
    return found


@pytest.mark.parametrize("rule", [CUTTING, SEAMLESS])
def test_what_nobody_names_between_others_is_cut_by_the_rule_that_made_it(rule: tuple[int, int, int]) -> None:
    data = noise(3, 6_000_000)
    lengths = Cutter(*rule).cut(memoryview(data)).tolist()
    ends = np.cumsum(lengths).tolist()
    chunks = [data[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    live = [chunk for number, chunk in enumerate(chunks) if number % 3 == 1]
    ids, places = cutter(*live).cut(memoryview(data))
    assert [bytes(each) for each in ids] == [blake3(chunk).digest() for chunk in live]
    assert places["length"].tolist() == list(map(len, live))


CHUNKS = [noise(number, size) for number, size in enumerate([20_000, 70_000, 16_384, 1_000, 50_000])]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 4], [4, 0, 2], [2, 1, 0]])
def test_cutting_by_ids_and_lengths(order: list[int]) -> None:
    plain = b"".join(CHUNKS[number] for number in order)
    _, places = cutter(*CHUNKS).cut(memoryview(plain))
    assert places["length"].tolist() == [len(CHUNKS[number]) for number in order]
    assert places["offset"].tolist() == np.cumsum([0, *places["length"][:-1]]).tolist()


def test_cutting_around_what_no_recipe_names() -> None:
    """From the front, from the end, and behind a chunk that the chunker's rule ends."""
    unknown = noise(99, 30_000)
    plain = CHUNKS[0] + unknown + CHUNKS[1] + CHUNKS[4]
    _, places = cutter(*CHUNKS).cut(memoryview(plain))
    assert places["length"].tolist() == [20_000, 70_000, 50_000]


def test_nothing_is_cut_that_is_something_else() -> None:
    found, places = cutter(*CHUNKS).cut(memoryview(noise(50, 200_000)))
    assert len(found) == len(places) == 0


def damaged_copy(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 96, 100])
def test_next_to_nothing(pack: Path, size: int) -> None:
    damaged_copy(pack, lambda data: data[:size])
    assert ids(salvaged(pack)) == set()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_there(pack: Path, seed: int) -> None:
    """Bytes that are no pack, and a pack with holes and noise in it: no error, and no chunk that was not there."""
    rng = np.random.default_rng(seed)
    wanted = {bytes(one) for one in footer_of(pack).ids}
    data = bytearray(pack.read_bytes())
    for _ in range(int(rng.integers(1, 30))):
        begin = int(rng.integers(0, len(data)))
        data[begin : begin + int(rng.integers(1, 2000))] = b"" if seed % 3 == 0 else rng.bytes(int(rng.integers(0, 2000)))
    pack.write_bytes(bytes(data))
    for piece in salvaged(pack):
        if piece.whole is False and piece.cut:
            assert {bytes(one) for one in piece.ids} <= wanted
