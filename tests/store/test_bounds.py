"""What keeps a large, damaged or hostile input from harming what is stored already."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard
from storekit import assert_whole, flip, full, layer, load, names, pack_files, problems, push, read, record_at, remove, tar_of

from lamina._native.tarscan import TarScanner
from lamina.content.verify import BytesReader
from lamina.errors import LimitExceeded
from lamina.store import BlobStore, collect, inflated, layout, replacing
from lamina.store.entries import decode_block, encode_block, encode_blocks
from lamina.store.names import last_checkpoint, names_of
from lamina.store.packs import pack_path
from lamina.store.schema import LIVE
from lamina.store.stream import PATIENCE, BufferPool


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


def without_catalog(store: BlobStore) -> BlobStore:
    """The same store after its catalog was lost."""
    store.close()
    for file in (store.path / "state").glob("catalog.sqlite*"):
        file.unlink()
    return BlobStore.open(store.path)


def test_a_checkpoint_of_many_names_comes_in_parts(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "CHECKPOINT_NAMES", 3)
    manifest = load(store, "one", layer(1))
    load(store, "gone", layer(2))
    with store.session() as session:
        for number in range(10):
            session.tag(manifest, full(f"tag{number}"))
        session.commit()
    remove(store, "gone")
    store.collect(max_unused=0)
    before = names(store)
    assert len(before) == 11
    with without_catalog(store) as again:
        assert names(again) == before
        assert_whole(again, layer(1))


def test_a_checkpoint_without_one_of_its_parts_does_not_count() -> None:
    entry = {"digest": "sha256:" + "0" * 64, "media_type": "x", "size": 1, "time": 1}
    old = {"seq": 1, "set": [{"name": "old", **entry}]}
    parts = [{"seq": 2, "checkpoint": True, "part": part, "parts": 2, "set": [{"name": f"new{part}", **entry}]}
             for part in range(2)]
    assert set(names_of([old, *parts])) == {"new0", "new1"}
    assert (last_checkpoint([old, *parts]), last_checkpoint([old, parts[1]])) == (2, 0)
    assert "old" in names_of([old, parts[1]])


def test_a_collection_goes_round_by_round(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one pack at a time: the originals of a round are gone before the next one copies."""
    shared = [layer(seed, 300_000) for seed in range(4)]
    for seed, data in enumerate(shared):
        load(store, f"keep{seed}", data, layer(10 + seed, 200_000))
        load(store, f"also{seed}", data)
    remove(store, *(f"keep{seed}" for seed in range(4)))
    monkeypatch.setattr(collect, "ROUND_BYTES", 1)
    monkeypatch.setattr(collect, "SMALL", 0)
    most = len(pack_files(store))
    real = collect._Collection._round

    def watched(self: collect._Collection, group: list[object], *rest: object) -> None:
        assert len(pack_files(store)) <= most + 1
        real(self, group, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(collect._Collection, "_round", watched)
    assert store.collect(max_unused=0).bytes_freed > 0
    assert_whole(store, *shared)


def test_a_record_that_no_reader_would_take_is_refused(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load(store, "one", layer(1))
    monkeypatch.setattr(layout, "RECORD_LIMIT", 2000)
    with pytest.raises(LimitExceeded, match="a record of"):
        load(store, "two", layer(2))
    monkeypatch.undo()
    assert_whole(store, layer(1))


def test_a_damaged_image_keeps_the_collector_from_freeing_and_df_from_nothing(store: BlobStore) -> None:
    load(store, "one", layer(1))
    manifest = load(store, "two", layer(2))
    path, row = record_at(store, layout.HEAD)
    flip(path, int(row["offset"]))
    remove(store, "two")
    packs = pack_files(store)
    done = store.collect(max_unused=0)
    assert "is damaged" in done.problems[0]
    assert packs <= pack_files(store)
    assert len(store.usage().damaged) == 1
    remove(store, "one")
    assert store.collect(max_unused=0).problems == []
    assert store.catalog.blob(manifest.digest) is None
    assert problems(store) == []


def test_loading_again_with_verify_replaces_a_lost_pack(store: BlobStore) -> None:
    load(store, "one", layer(1))
    for pack in store.catalog.packs(LIVE):
        (store.path / pack_path(pack.name)).unlink()
        store.packs.forget(pack.number)
    with store.session(verify=True) as session:
        push(session, "one", layer(1))
        session.commit()
    digest = next(row.digest for row in store.catalog.blobs() if row.kind == "layer")
    assert read(store, digest) == layer(1)


def test_a_layer_that_inflates_without_end_is_kept_as_it_came(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflated, "FREE", 1 << 16)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(200 << 20))
    assert len(bomb) * inflated.RATIO < 200 << 20
    with store.session() as session:
        taken = session.intake(BytesReader(bomb), plain=False)
        row = session._given.blobs[taken.digest]
        assert (row.size, row.diff_id) == (len(bomb), None)


def test_entries_with_long_names_come_in_several_blocks() -> None:
    scanner = TarScanner()
    scanner.feed(tar_of({f"{number}/" + "n" * 60_000: b"" for number in range(60)}))
    entries = scanner.take_entries()
    assert entries is not None
    blocks = list(encode_blocks(entries))
    assert len(blocks) > 2
    assert max(map(len, blocks)) < 2 << 20
    decoded = [decode_block(block) for block in blocks]
    assert b"".join(block.path.data for block in decoded) == entries.path.data
    assert np.array_equal(np.concatenate([block.offset for block in decoded]), entries.offset)
    assert list(encode_blocks(decode_block(blocks[0]))) == [encode_block(decoded[0])]


def test_a_reader_that_does_not_return_keeps_nobody(store: BlobStore) -> None:
    """A silent pipe under Ctrl-C: the generator is closed while its thread sits in a read."""
    silence = threading.Event()

    class Silent:
        size = None
        calls = 0

        def readinto(self, buffer: memoryview, /) -> int:
            self.calls += 1
            if self.calls > 1:
                silence.wait()
            return len(buffer) if self.calls == 1 else 0

        def close(self) -> None:
            """Nothing."""

    pool = BufferPool(0)
    pieces = pool.read(Silent())
    next(pieces)
    started = time.monotonic()
    pieces.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < PATIENCE + 30
    assert [piece.count for piece in pool.read(BytesReader(b"abc"))] == [3]
    silence.set()
