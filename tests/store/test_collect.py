"""The collector: what it frees, what it leaves, and what a death in its middle costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contracts.samples import describe, put_image
from storekit import (
    assert_whole,
    flip,
    full,
    layer,
    leftovers,
    live_packs,
    load,
    names,
    noise,
    pack_files,
    problems,
    push,
    read,
    record_at,
    remove,
    tar_of,
)

from lamina.content.verify import read_all
from lamina.digest import Digest
from lamina.errors import Conflict, StorageError
from lamina.store import BlobStore, collect, layout
from lamina.store.choosing import SMALL_PACKS
from lamina.store.packs import pack_path
from lamina.store.schema import CONDEMNED


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def other(tmp_path: Path, store: BlobStore) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as other:
        yield other


SHARED = noise(3, 900_000)
ONE = tar_of({"shared": SHARED, "one": noise(4, 400_000)})
TWO = tar_of({"shared": SHARED, "two": noise(5, 400_000)})


def stored(store: BlobStore) -> int:
    return sum(size for _, size in store.backend.list("packs/"))


def test_nothing_to_do(store: BlobStore) -> None:
    assert store.collect(max_unused=0).packs_removed == 0
    load(store, "one", ONE)
    before = pack_files(store)
    collected = store.collect(max_unused=0)
    assert (collected.packs_removed, collected.bytes_freed, collected.bytes_copied, collected.problems) == (0, 0, 0, [])
    assert pack_files(store) == before
    assert_whole(store, ONE)


def test_what_nothing_leads_to_goes_and_what_is_shared_stays(store: BlobStore) -> None:
    load(store, "one", ONE)
    load(store, "two", TWO)
    remove(store, "one")
    before = stored(store)
    collected = store.collect(max_unused=0)
    assert store.catalog.blob(Digest.of(ONE)) is None
    assert 200_000 <= collected.bytes_freed == before - stored(store)  # a frame that both have chunks in stays
    assert collected.bytes_copied >= 900_000
    assert_whole(store, TWO)
    assert store.collect(max_unused=0).packs_removed == 0  # all done at once
    remove(store, "two")
    store.collect(max_unused=0)
    assert stored(store) < 10_000 and store.usage().chunks == 0
    assert_whole(store)


def test_max_unused_leaves_packs_that_are_mostly_in_use(store: BlobStore) -> None:
    with store.session() as session:
        push(session, "large", tar_of({"large": noise(1, 4_000_000)}))
        push(session, "small", tar_of({"small": noise(2, 400_000)}))
        session.commit()
    remove(store, "small")
    before = pack_files(store)
    assert store.collect(max_unused=0.5).packs_removed == 0
    assert store.catalog.blob(Digest.of(tar_of({"small": noise(2, 400_000)}))) is None
    assert before <= pack_files(store)
    assert store.collect(max_unused=0).bytes_freed > 100_000
    assert_whole(store, tar_of({"large": noise(1, 4_000_000)}))


def test_roots_without_a_name_stay(store: BlobStore) -> None:
    with store.session() as session:
        manifest = put_image(session, ONE)
        session.root(manifest)
        session.commit()
    store.collect(max_unused=0)
    assert_whole(store, ONE)


def test_a_reader_keeps_its_files(store: BlobStore, other: BlobStore) -> None:
    load(store, "one", ONE)
    with store.reading() as reading:
        reader = reading.fetch(describe(ONE))
        start = bytearray(1000)
        reader.readinto(memoryview(start))
        remove(other, "one")
        collected = other.collect(max_unused=0)
        assert collected.pending > 1_000_000 and collected.packs_removed == 0
        assert bytes(start) + read_all(reader, 1 << 30) == ONE
        reader.close()
    assert store.catalog.packs(CONDEMNED)
    assert store.collect(max_unused=0).packs_removed > 0
    assert not store.catalog.packs(CONDEMNED)
    assert_whole(store)


def test_a_reader_that_begins_after_the_condemnation_keeps_nothing(store: BlobStore, other: BlobStore) -> None:
    load(store, "one", ONE)
    load(store, "two", TWO)
    remove(store, "one")
    with other.reading():
        assert store.collect(max_unused=0).pending > 0
    with other.reading() as late:
        assert store.collect(max_unused=0).pending == 0
        assert read_all(late.fetch(describe(TWO)), 1 << 30) == TWO
    assert_whole(store, TWO)


def test_only_one_at_a_time(store: BlobStore, other: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load(store, "one", ONE)
    remove(store, "one")
    real = collect._Collection._choose

    def choose(*args: object) -> object:
        with pytest.raises(Conflict, match="another collection"):
            other.collect()
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(collect._Collection, "_choose", choose)
    store.collect(max_unused=0)
    assert_whole(store)


def test_small_packs_are_merged(store: BlobStore) -> None:
    manifest = load(store, "one", ONE)
    for number in range(SMALL_PACKS):
        with store.session() as session:
            session.tag(manifest, full(f"tag{number}"))
            session.commit()
    remove(store, "tag3")
    assert len(pack_files(store)) > SMALL_PACKS
    store.collect()
    assert len(pack_files(store)) == 1
    assert set(names(store)) == {full("one")} | {full(f"tag{n}") for n in range(SMALL_PACKS) if n != 3}
    assert_whole(store, ONE)


def drop_catalog(store: BlobStore) -> BlobStore:
    path = store.path
    store.close()
    for file in (path / "state").glob("catalog.sqlite*"):
        file.unlink()
    return BlobStore.open(path)


def test_a_checkpoint_stands_for_all_journals(store: BlobStore) -> None:
    load(store, "one", ONE)
    load(store, "two", TWO)
    remove(store, "one")
    store.collect(max_unused=0)
    journals = []
    for pack in store.catalog.packs():
        for record, key in store.packs.footer(pack.number).key_rows():
            if store.packs.footer(pack.number).records[record]["type"] == layout.JOURNAL:
                journals.append(json.loads(bytes(store.packs.record(pack.number, record))))
                assert key == {"seq": journals[-1]["seq"]}
    assert max(journals, key=lambda each: each["seq"])["checkpoint"] is True
    last = load(store, "three", layer(7))
    before = names(store)
    with drop_catalog(store) as again:
        assert names(again) == before == {full("two"): again.resolve(full("two")).digest, full("three"): last.digest}
        assert_whole(again, TWO, layer(7))


def test_packs_of_a_dead_writer_go(store: BlobStore, tmp_path: Path) -> None:
    session = store.session()
    push(session, "half", ONE)
    session.sink.seal()
    orphans = pack_files(store)
    assert orphans and not live_packs(store)
    store.collect(max_unused=0)
    assert pack_files(store) == orphans  # its writer lives
    saved = {name: (store.path / pack_path(name)).read_bytes() for name in orphans}
    session.abort()
    for name, data in saved.items():
        (store.path / pack_path(name)).write_bytes(data)
    store.collect(max_unused=0)
    assert pack_files(store) == set()


STEPS = ["_choose", "_copy", "_checkpoint", "_condemn", "after condemning", "deleting"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["raises", "dies"])
def test_a_collection_that_ends_in_its_middle(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, how: str
) -> None:
    """`dies`: nothing is undone, as after kill -9."""
    load(store, "one", ONE)
    load(store, "two", TWO)
    remove(store, "one")

    before = pack_files(store)

    class End(BaseException):
        pass

    def end(*_: object) -> None:
        raise End

    if step == "after condemning":
        monkeypatch.setattr(collect, "delete_condemned", end)
    elif step == "deleting":
        monkeypatch.setattr(store, "drop_pack_file", end)
    elif step == "_condemn":
        real = collect.PackSink.seal

        def seal(sink: collect.PackSink) -> None:
            real(sink)
            raise End

        monkeypatch.setattr(collect.PackSink, "seal", seal)
    else:
        monkeypatch.setattr(collect._Collection, step, end)
    if how == "dies":
        monkeypatch.setattr(BlobStore, "drop_unpublished", lambda *_: None)
    with pytest.raises(End):
        store.collect(max_unused=0)
    monkeypatch.undo()
    if how == "raises" and step not in {"after condemning", "deleting"}:
        assert pack_files(store) == before
    assert problems(store) == []
    assert names(store).keys() == {full("two")}
    load(store, "three", layer(9))
    with drop_catalog(store) as again:
        assert names(again).keys() == {full("two"), full("three")}
        again.collect(max_unused=0)
        assert again.usage().dead == 0
        assert_whole(again, TWO, layer(9))


def test_a_full_disk_leaves_all_as_it_was(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load(store, "one", ONE)
    load(store, "two", TWO)
    remove(store, "one")
    before = pack_files(store)

    def fail(*_: object) -> None:
        raise StorageError("no space left", "here")

    monkeypatch.setattr("lamina.storage.local.LocalWriter.write", fail)
    with pytest.raises(StorageError, match="no space"):
        store.collect(max_unused=0)
    monkeypatch.undo()
    assert pack_files(store) == before and leftovers(store) == []
    store.collect(max_unused=0)
    assert_whole(store, TWO)


def test_damage_is_left_for_verify(store: BlobStore) -> None:
    """A pack with a damaged frame stays whole; the others are collected."""
    with store.session(compression="none") as session:
        push(session, "bad", ONE)
        push(session, "dead", layer(1))
        session.commit()
    load(store, "good", layer(2))
    load(store, "gone", tar_of({"gone": noise(9, 700_000)}))
    file, row = record_at(store, layout.CONTENT)
    flip(file, int(row["offset"]))
    remove(store, "gone", "dead")
    collected = store.collect(max_unused=0)
    assert any("checksum" in problem for problem in collected.problems)
    assert collected.bytes_freed > 600_000
    assert file.exists()
    assert read(store, Digest.of(layer(2))) == layer(2)
    with store.reading() as reading:
        assert reading.resolve(full("bad"))


@pytest.mark.parametrize("damage", [lambda file: flip(file, file.stat().st_size - 20), lambda file: file.unlink()])
def test_a_pack_without_its_footer(store: BlobStore, damage: Callable[[Path], None]) -> None:
    """What was in it cannot be collected around: it is said, and nothing is lost beyond it."""
    load(store, "bad", ONE)
    load(store, "good", layer(2))
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    pack = store.catalog.pack(row.pack)
    assert pack is not None
    remove(store, "bad")
    damage(store.path / pack_path(pack.name))
    store.packs.forget(pack.number)
    collected = store.collect(max_unused=0)
    assert len(collected.problems) == 1
    assert read(store, Digest.of(layer(2))) == layer(2)
    load(store, "again", ONE)
    assert read(store, Digest.of(ONE)) == ONE


def test_records_of_every_kind_are_copied_as_they_are(store: BlobStore) -> None:
    def frames() -> set[tuple[int, int, int]]:
        found = set()
        for pack in store.catalog.packs("live"):
            for row in store.packs.footer(pack.number).records:
                found.add((int(row["type"]), int(row["checksum"]), int(row["plain"])))
        return found

    with store.session() as session:
        push(session, "stays", ONE)
        push(session, "goes", tar_of({"text": noise(6, 2_000_000)}))
        session.commit()
    before = frames()
    remove(store, "goes")
    store.collect(max_unused=0)
    after = {frame for frame in frames() if frame[0] != layout.JOURNAL}
    assert after < before
    assert {kind for kind, _, _ in after} == {layout.CONTENT, layout.SEGMENT, layout.META, layout.HEAD, layout.DOCUMENT}


def test_what_a_rebuild_left_goes(tmp_path: Path) -> None:
    """One that was cut off, by a kill or by a power cut that lost the removal of its files."""
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "image", layer(1))
        left = [store.state_dir / f"catalog.sqlite.new{ending}" for ending in ("", "-wal", "-shm", ".lock")]
        for path in left:
            path.write_bytes(b"x")
        store.collect()
        assert not any(path.exists() for path in left)
        assert_whole(store, layer(1))
