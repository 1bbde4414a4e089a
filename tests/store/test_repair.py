"""Repair of a store: what goes where, beside readers and writers, and what is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import put
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

from lamina.digest import Digest
from lamina.errors import Conflict, LaminaError, StoreDamaged
from lamina.oci import OCI_CONFIG
from lamina.store import BlobStore, layout, quarantine
from lamina.store.catalogdiff import differences, suspicion
from lamina.store.packs import pack_path
from lamina.store.replacing import alone


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "one", layer(1), layer(2))
        load(store, "two", layer(1), layer(3))
        yield store


def damage(store: BlobStore, kind: int, at: int = 5) -> str:
    """Flip a bit in a record of that kind in the first pack; the pack."""
    file, row = record_at(store, kind)
    flip(file, int(row["offset"]) + at)
    return file.name


def test_nothing_to_do(store: BlobStore) -> None:
    before, sequence = live_packs(store), len(list(store.catalog.packs()))
    result = store.mend()
    assert not result.damaged and not result.lacking and live_packs(store) == before
    assert len(list(store.catalog.packs())) == sequence and differences(store) == [] and suspicion(store) == ""


@pytest.mark.parametrize("kind", [layout.DOCUMENT, layout.JOURNAL])
def test_what_the_catalog_has_is_no_loss(store: BlobStore, kind: int) -> None:
    name = damage(store, kind)
    result = store.mend()
    assert list(result.damaged) == [name] and not result.lacking
    assert [file for file, _ in quarantine.files(store.backend)] == [name]
    assert_whole(store, layer(1), layer(2), layer(3))


@pytest.mark.parametrize("kind", [layout.CONTENT, layout.SEGMENT, layout.META, layout.HEAD])
def test_what_is_lost_is_told_and_taken_again(store: BlobStore, kind: int) -> None:
    damage(store, kind)
    result = store.mend()
    assert result.lacking and pack_files(store) == live_packs(store)
    with store.session(verify=True) as session:
        push(session, "one", layer(1), layer(2))
        session.commit()
    assert_whole(store, layer(1), layer(2), layer(3))


def test_a_dry_run_changes_nothing(store: BlobStore) -> None:
    name = damage(store, layout.CONTENT)
    before, packs = problems(store), pack_files(store)
    dry = store.mend(dry_run=True)
    assert list(dry.damaged) == [name] and dry.lacking and dry.copied
    assert problems(store) == before and pack_files(store) == packs == live_packs(store)
    assert leftovers(store) == [] and not quarantine.files(store.backend)
    assert store.mend().lacking.keys() == dry.lacking.keys()


def test_beside_a_collection(store: BlobStore) -> None:
    with alone(store, "collect"), pytest.raises(Conflict):
        store.mend()


def test_a_reader_keeps_what_it_began_to_read(store: BlobStore) -> None:
    """The damaged pack's file stays for it, and goes when it has ended."""
    name = damage(store, layout.JOURNAL)
    with BlobStore.open(store.path) as other, other.reading() as reading:
        from lamina.content.verify import read_all

        row = other.catalog.blob(Digest.of(layer(2)))
        assert row is not None
        reader = reading.fetch(other.resolve(row.digest))
        result = store.mend()
        assert result.pending and name in pack_files(store)
        assert read_all(reader, 1 << 30) == layer(2)
        reader.close()
    store.collect(max_unused=1)
    assert name not in pack_files(store) and (store.path / "quarantine" / name).exists()
    assert_whole(store, layer(1), layer(2), layer(3))


def test_a_writer_that_relied_on_a_damaged_pack(store: BlobStore) -> None:
    """Its chunks are found in the new pack; what is lost ends it, and nothing is published."""
    damage(store, layout.JOURNAL)
    with store.session() as session:
        push(session, "three", layer(1), layer(4))
        with BlobStore.open(store.path) as other:
            other.mend()
        session.commit()
    store.collect(max_unused=1)
    assert_whole(store, layer(1), layer(2), layer(3), layer(4))


def test_a_writer_that_relied_on_what_is_lost(store: BlobStore) -> None:
    """It fails, for there is nothing to write anew; the next one knows."""
    damage(store, layout.CONTENT)
    more = tar_of({"other": b"x" * 600, **{f"large{seed}": noise(seed, 60_000) for seed in (1, 2)}})
    with store.session() as session:
        push(session, "three", more)
        with BlobStore.open(store.path) as other:
            assert other.mend().lacking
        with pytest.raises(LaminaError):
            session.commit()
    assert full("three") not in names(store)
    load(store, "three", more)
    assert read(store, Digest.of(more)) == more


def test_killed_before_it_publishes(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(store, layout.CONTENT)
    before, packs = problems(store), pack_files(store)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quarantine, "keep_pack", stop)
    with pytest.raises(KeyboardInterrupt):
        store.mend()
    assert problems(store) == before and pack_files(store) == packs and leftovers(store) == []


def test_a_config_that_is_no_text(store: BlobStore) -> None:
    """Only its pack has it: it is told, and what names it stays named."""
    with store.session() as session:
        config = put(session, b'{"architecture":"amd64","os":"linux","x":"\xff"}', OCI_CONFIG)
        session.root(config)
        session.commit()
    row = store.catalog.blob(config.digest)
    assert row is not None
    name = next(pack.name for pack in store.catalog.packs() if pack.number == row.pack)
    flip(store.path / pack_path(name), int(store.packs.footer(row.pack).records[row.record]["offset"]))
    assert set(store.mend().lacking) == {config.digest}
    assert any(config.digest in problem for problem in problems(store))


def lose_catalog(store: BlobStore) -> None:
    store.close()
    for file in (store.path / "state").glob("catalog.sqlite*"):
        file.unlink()


def test_strays_are_kept_by_a_collection_and_read(store: BlobStore) -> None:
    """A pack that lost its footer before the catalog was lost: a rebuild does not know it, and nobody deletes it."""
    load(store, "gone", layer(7))
    remove(store, "gone")
    row = store.catalog.blob(Digest.of(layer(1)))
    assert row is not None
    name = next(pack.name for pack in store.catalog.packs() if pack.number == row.pack)
    with (store.path / pack_path(name)).open("r+b") as file:
        file.truncate((store.path / pack_path(name)).stat().st_size - 96)
    lose_catalog(store)
    with BlobStore.open(store.path) as again:
        assert full("one") not in names(again) and any("does not know" in each for each in problems(again))
        again.collect(max_unused=0)
        assert name in pack_files(again)
        result = again.mend()
        assert result.names == [full("one")] and not result.lacking
        assert set(names(again)) == {full("one"), full("two")}  # what was removed stays so
        assert_whole(again, layer(1), layer(2), layer(3))
    lose_catalog(again)
    with BlobStore.open(store.path) as again:
        assert set(names(again)) == {full("one"), full("two")}
        assert_whole(again, layer(1), layer(2), layer(3))


def test_one_damaged_version_number_keeps_no_store_from_opening(store: BlobStore) -> None:
    for file in (store.path / "packs").rglob("*"):
        if file.is_file():
            flip(file, file.stat().st_size - layout.TAIL.size + 8, 2)
    lose_catalog(store)
    with BlobStore.open(store.path) as again:
        assert again.mend().names and not problems(again)


@pytest.mark.parametrize("sql", [
    "UPDATE blobs SET size = size + 1 WHERE kind = 'layer'", "UPDATE blobs SET media_type = 'x' WHERE kind = 'document'",
    "UPDATE blobs SET pack = pack + 1", "UPDATE images SET created = 'never'", "DELETE FROM edges", "DELETE FROM images",
    "UPDATE packs SET chunks = chunks + 1", "UPDATE packs SET state = 'lige'", "UPDATE refs SET time = 1",
    "UPDATE refs SET name = name || 'x'", "UPDATE meta SET value = 0 WHERE key = 'sequence'",
    "UPDATE blobs SET text = replace(text, 'linux', 'minux')"])
def test_a_catalog_that_says_something_else(store: BlobStore, sql: str) -> None:
    with store.catalog._db.transaction():
        store.catalog._db.write(sql)
    assert differences(store)
    store.rebuild_catalog()
    assert differences(store) == []
    assert_whole(store, layer(1), layer(2), layer(3))


def test_a_pack_that_the_catalog_has_under_another_name(store: BlobStore) -> None:
    """Its file is no orphan."""
    with store.catalog._db.transaction():
        store.catalog._db.write("UPDATE packs SET name = CASE WHEN name LIKE '0%' THEN '1' ELSE '0' END || substr(name, 2) "
                                "WHERE number = 1")
    store.pack_names.clear()
    store.packs.close()
    files = pack_files(store)
    store.collect(max_unused=1)
    assert pack_files(store) == files
    assert suspicion(store)
    store.rebuild_catalog()
    assert_whole(store, layer(1), layer(2), layer(3))


def test_names_of_the_quarantine(store: BlobStore) -> None:
    refs = store.catalog.refs()
    quarantine.keep_names(store.backend, refs[:1], "someone")
    quarantine.keep_names(store.backend, refs[1:], "someone")
    assert [ref for lost in quarantine.lost_names(store.backend) for ref in lost.names] == refs
    (store.path / "quarantine" / "names-0.json").write_bytes(b"[")
    assert [ref for lost in quarantine.lost_names(store.backend) for ref in lost.names] == refs[1:]
    assert quarantine.drop(store.backend)[0] == 2 and quarantine.files(store.backend) == []


def test_a_read_of_what_is_lost_says_so(store: BlobStore) -> None:
    damage(store, layout.HEAD)
    store.mend()
    lost = [row for row in (layer(1), layer(2)) if store.catalog.blob(Digest.of(row)) is None]
    assert len(lost) == 1
    with pytest.raises((StoreDamaged, LaminaError)):
        read(store, Digest.of(lost[0]))


def cut_footer(store: BlobStore, data: bytes) -> None:
    """Of the pack with that layer's head."""
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    name = next(pack.name for pack in store.catalog.packs() if pack.number == row.pack)
    with (store.path / pack_path(name)).open("r+b") as file:
        file.truncate((store.path / pack_path(name)).stat().st_size - 96)


def test_a_stray_pack_has_journals_that_are_over(tmp_path: Path) -> None:
    """A name that was removed before the last checkpoint stays so; one that the checkpoint has waits in the quarantine."""
    with BlobStore.open(tmp_path / "store") as store:
        with store.session() as session:
            image = push(session, "one", layer(1), layer(2))
            session.tag(image, full("old"))
            session.commit()
        remove(store, "old")
        load(store, "gone", layer(5, 300_000))
        remove(store, "gone")
        assert store.collect(max_unused=0.5).packs_removed == 1
        cut_footer(store, layer(1))
        lose_catalog(store)
        with BlobStore.open(store.path) as again:
            assert names(again) == {}
            result = again.mend()
            assert result.names == [] and again.catalog.blob(Digest.of(layer(1))) is not None
            (lost,) = quarantine.lost_names(again.backend)
            assert [ref.name for ref in lost.names] == [full("one")]


def test_a_name_that_was_removed_after_the_rebuild(store: BlobStore) -> None:
    cut_footer(store, layer(3))
    lose_catalog(store)
    with BlobStore.open(store.path) as again:
        assert set(names(again)) == {full("one")}
        load(again, "two", layer(8))
        remove(again, "two")
        assert again.mend().names == [] and set(names(again)) == {full("one")}
