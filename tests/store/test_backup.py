"""Backups: what is copied, what is not, what is refused; and that a copy never gets worse."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from storekit import assert_whole, flip, full, layer, leftovers, load, names, pack_files, problems, push, read, remove, tar_of

from lamina.content.verify import read_all
from lamina.errors import Conflict, LeaseLost, StorageError, StoreDamaged, StoreError, UsageError
from lamina.storage import mounts
from lamina.storage.direct import DirectFile
from lamina.storage.local import LocalBackend
from lamina.store import BlobStore, room
from lamina.store.backup import BackedUp
from lamina.store.catalog import Catalog
from lamina.store.copied import Copied
from lamina.store.packcopy import copy_pack
from lamina.store.packs import pack_path
from lamina.store.snapshot import snapshot


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "one", layer(1), layer(2))
        load(store, "two", layer(1), layer(3))
        yield store


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "copy"


def done(store: BlobStore, place: Path) -> BackedUp:
    """A backup that is whole."""
    result = store.backup(place)
    assert result.whole and result.problems == []
    assert_same(store, place)
    return result


def assert_same(store: BlobStore, place: Path) -> None:
    """The copy is what the store is, and nothing besides."""
    with BlobStore.open(place, create=False) as copy:
        assert copy.backend.read_format() == store.backend.read_format()
        assert names(copy) == names(store)
        assert {row.digest: row for row in copy.catalog.blobs()} == {row.digest: row for row in store.catalog.blobs()}
        for row in store.catalog.blobs():
            assert read(copy, row.digest) == read(store, row.digest)
        assert copy.catalog.packs() == store.catalog.packs("live")
        assert copy.catalog.leases() == []
        assert_whole(copy)
    assert not [*(place / "state").glob("backup.*"), *(place / "state").glob("catalog.sqlite.backup*")]


def test_a_copy_is_a_store(store: BlobStore, place: Path) -> None:
    with store.session() as session:  # it is at work meanwhile
        push(session, "three", layer(4))
        result = done(store, place)
    assert (result.packs_copied, result.packs_removed) == (2, 0)
    assert result.bytes_copied == sum(pack.bytes for pack in store.catalog.packs())
    assert leftovers(store) == []
    with BlobStore.open(place) as copy:  # restored: it is worked with
        load(copy, "four", layer(5))
        remove(copy, "one")
        copy.collect(max_unused=0)
        assert_whole(copy, layer(3), layer(5))


def test_only_what_is_new_is_copied_and_what_is_gone_goes(store: BlobStore, place: Path) -> None:
    done(store, place)
    before = {path: path.stat().st_ino for path in (place / "packs").rglob("*") if path.is_file()}
    assert done(store, place).packs_copied == 0
    load(store, "three", layer(4))
    assert done(store, place).packs_copied == 1
    assert {path: path.stat().st_ino for path in before} == before
    remove(store, "one")
    store.collect(max_unused=0)
    result = done(store, place)
    assert result.packs_removed >= 1 and result.bytes_removed > 0
    store.optimize(level=3)
    done(store, place)
    assert pack_files(store) == {path.name for path in (place / "packs").rglob("*") if path.is_file()}


def test_condemned_packs_are_left_out(store: BlobStore, place: Path) -> None:
    remove(store, "one")
    with store.reading():
        store.collect(max_unused=0)
        assert store.catalog.packs("condemned")
        done(store, place)


def test_restored_by_a_backup_the_other_way(store: BlobStore, place: Path, tmp_path: Path) -> None:
    done(store, place)
    with BlobStore.open(place) as copy:
        done(copy, tmp_path / "restored")


def test_a_reader_of_the_copy_reads_on(store: BlobStore, place: Path) -> None:
    done(store, place)
    with BlobStore.open(place) as copy, copy.reading() as reading:
        remove(store, "one")
        store.collect(max_unused=0)
        assert store.backup(place).packs_removed == 0
        for row in copy.catalog.blobs():
            reader = reading.fetch(copy.resolve(row.digest))
            assert len(read_all(reader, 1 << 30)) == row.size
            reader.close()
    assert done(store, place).packs_removed >= 1


def test_a_writer_of_the_copy_is_told(store: BlobStore, place: Path) -> None:
    done(store, place)
    with BlobStore.open(place) as copy, pytest.raises(LeaseLost), copy.session() as session:
        push(session, "lost", layer(9))
        assert store.backup(place).whole
        session.commit()
    done(store, place)


def test_what_was_written_by_hand_is_not_written_over(store: BlobStore, place: Path) -> None:
    done(store, place)
    with BlobStore.open(place) as copy:
        load(copy, "mine", layer(9))
    with pytest.raises(Conflict, match=r"written to since its last backup \(1 packs .*choose another directory"):
        store.backup(place)
    with BlobStore.open(place) as copy:
        assert full("mine") in names(copy)
        assert_whole(copy, layer(9))


def test_a_commit_that_comes_while_it_copies_is_not_lost(
    store: BlobStore, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(store, place)
    load(store, "three", layer(4))

    def and_load(*given: object) -> None:
        copy_pack(*given)  # type: ignore[arg-type]
        with BlobStore.open(place) as copy:
            load(copy, "mine", layer(9))

    monkeypatch.setattr("lamina.store.backup.copy_pack", and_load)
    with pytest.raises(Conflict, match="written to"):
        store.backup(place)
    with BlobStore.open(place) as copy:
        assert full("mine") in names(copy)
        copy.collect()  # what was copied is not named by anything
        assert_whole(copy, layer(9))


def test_what_the_store_collected_is_no_stranger(store: BlobStore, place: Path) -> None:
    done(store, place)
    load(store, "three", layer(4))
    remove(store, "one", "two")
    store.collect(max_unused=0)
    done(store, place)


def test_nor_is_what_it_collected_after_a_backup_that_broke_off_behind_the_new_view(
    store: BlobStore, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(store, place)
    load(store, "three", layer(4))

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lamina.store.backup._tidy", broken)
        store.backup(place)
    remove(store, "one", "three")
    store.collect(max_unused=0)
    done(store, place)


def test_the_old_catalog_is_whole_until_the_new_one_is_in_place(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fresh = store.state_dir / "catalog.sqlite", tmp_path / "fresh"
    snapshot(path, fresh)
    load(store, "three", layer(4))
    there = names(store)
    assert path.with_name("catalog.sqlite-wal").stat().st_size

    def broken(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(Path, "rename", broken)
        Catalog.replace(path, fresh, lambda catalog: None)
    with Catalog.open(path) as catalog:
        assert {ref.name: ref.digest for ref in catalog.refs()} == there


def test_another_store_is_refused(store: BlobStore, place: Path) -> None:
    with BlobStore.open(place) as other:
        load(other, "other", layer(8))
    with pytest.raises(Conflict, match="the directory is another store"):
        store.backup(place)
    with BlobStore.open(place) as other:
        assert_whole(other, layer(8))


@pytest.mark.parametrize("version", [1, 2])
def test_a_copy_has_the_version_of_its_store(store: BlobStore, place: Path, version: int) -> None:
    """A program that knows no later one than the store's can use it in place of the store."""
    format = store.path / "format"
    format.write_text(format.read_text().replace("version 2", f"version {version}"))
    with BlobStore.open(store.path) as again:
        again.backup(place)
    assert (place / "format").read_text() == format.read_text()


def test_a_copy_of_an_earlier_version_is_no_place_for_a_later_store(store: BlobStore, place: Path) -> None:
    done(store, place)
    format = place / "format"
    format.write_text(format.read_text().replace("version 2", "version 1"))
    with pytest.raises(Conflict, match="has format version 1, the store 2"):
        store.backup(place)


@pytest.mark.parametrize("where", [".", "packs/new", "..", "link"])
def test_itself_is_refused(store: BlobStore, where: str) -> None:
    (store.path.parent / "link").symlink_to(store.path)
    place = store.path.parent / "link" if where == "link" else store.path / where
    with pytest.raises(UsageError):
        store.backup(place)
    assert_whole(store)


def test_a_directory_of_something_else_is_refused(store: BlobStore, place: Path) -> None:
    place.mkdir(parents=True)
    (place / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="not empty and no store"):
        store.backup(place)
    with pytest.raises(StorageError, match="not a directory"):
        store.backup(place / "letter.txt")
    assert [path.name for path in place.iterdir()] == ["letter.txt"]


def test_a_network_file_system_is_refused(store: BlobStore, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "NETWORK", {mounts.file_system(store.path, Path("/proc/self/mountinfo").read_bytes())[0]})
    with pytest.raises(StoreError, match="network file system"):
        store.backup(place)


def test_a_newer_copy_is_not_written_over(store: BlobStore, place: Path, tmp_path: Path) -> None:
    shutil.copytree(store.path, tmp_path / "old")
    for seed in range(3):
        load(store, f"more{seed}", layer(20 + seed))
    done(store, place)
    with BlobStore.open(tmp_path / "old") as old, pytest.raises(Conflict, match="the copy is newer than the store"):
        old.backup(place)
    assert_same(store, place)


def test_two_at_once_are_refused(store: BlobStore, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*given: object) -> None:
        with pytest.raises(Conflict, match="another backup into this directory"):
            store.backup(place)
        copy_pack(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("lamina.store.backup.copy_pack", meanwhile)
    done(store, place)


def damage(path: Path) -> None:
    flip(path, 200)


def shorten(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1000)


@pytest.mark.parametrize("spoil", [damage, shorten, Path.unlink])
def test_damage_is_told_the_rest_is_copied_and_the_old_view_stays(store: BlobStore, place: Path, spoil: object) -> None:
    done(store, place)
    old = names(store)
    load(store, "three", layer(4))
    load(store, "four", layer(5))
    path = store.path / pack_path(store.catalog.packs()[-2].name)
    sound = path.read_bytes()
    spoil(path)  # type: ignore[operator]
    result = store.backup(place)
    assert not result.whole and len(result.problems) == 1 and path.name in result.problems[0]
    assert result.packs_copied == 1
    with BlobStore.open(place) as copy:
        assert names(copy) == old
        assert problems(copy) == [] and leftovers(copy) == []
    path.write_bytes(sound)
    assert done(store, place).packs_copied == 1


def test_damage_where_the_copy_is_whole_costs_nothing(store: BlobStore, place: Path) -> None:
    done(store, place)
    flip(store.path / pack_path(store.catalog.packs()[0].name), 200)
    load(store, "three", layer(4))
    assert store.backup(place).whole
    with BlobStore.open(place) as copy:
        assert_whole(copy, layer(1), layer(4))


def test_a_damaged_catalog_does_not_take_the_place_of_a_good_one(store: BlobStore, place: Path) -> None:
    done(store, place)
    load(store, "three", layer(4))
    store.catalog._db.settle()
    page = store.catalog._db.read("SELECT rootpage FROM sqlite_master WHERE name = 'images_config'")[0][0]
    with (store.path / "state/catalog.sqlite").open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(os.urandom(4096))
    with pytest.raises(StoreDamaged, match=r"store/state/catalog\.sqlite, run lamina repair"):
        store.backup(place)
    with BlobStore.open(place) as copy:
        assert full("three") not in names(copy)
        assert_whole(copy, layer(1))


def test_a_cut_pack_in_the_copy_is_copied_again(store: BlobStore, place: Path) -> None:
    done(store, place)
    shorten(place / pack_path(store.catalog.packs()[0].name))
    assert done(store, place).packs_copied == 1


@pytest.mark.parametrize("lost", ["state/catalog.sqlite", "state/backup", "state"])
def test_what_the_copy_lost_comes_back(store: BlobStore, place: Path, lost: str) -> None:
    done(store, place)
    shutil.rmtree(place / lost) if (place / lost).is_dir() else (place / lost).unlink()
    done(store, place)
    assert Copied.read(place / "state").packs == {pack.name for pack in store.catalog.packs()}


def test_a_rebuilt_catalog_is_as_good(store: BlobStore, place: Path, tmp_path: Path) -> None:
    for seed in range(3):
        with store.reading():  # numbers are drawn that no journal has
            load(store, f"more{seed}", layer(20 + seed))
    done(store, place)
    shutil.copytree(store.path, tmp_path / "again")
    shutil.rmtree(tmp_path / "again/state")
    with BlobStore.open(tmp_path / "again") as again:
        assert again.catalog.sequence() < store.catalog.sequence()
        assert again.backup(place).whole
        with BlobStore.open(place) as copy:
            assert names(copy) == names(again)
            assert_whole(copy, layer(1))


def test_no_room(store: BlobStore, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(store, place)
    load(store, "three", layer(4))
    least = store.catalog.packs()[-1].bytes + room.FLOOR
    monkeypatch.setattr(LocalBackend, "free_space", lambda self: least - 1)
    with pytest.raises(StorageError, match=r"not enough free space to back up: .*copy, make room there"):
        store.backup(place)
    monkeypatch.setattr(LocalBackend, "free_space", lambda self: least)
    done(store, place)


def test_a_disk_that_fills_up(store: BlobStore, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(store, place)
    old = names(store)
    for seed in range(3):
        load(store, f"more{seed}", layer(20 + seed))
    finish, count = DirectFile.finish, iter(range(100))

    def full_disk(self: DirectFile) -> None:
        if next(count) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finish(self)

    monkeypatch.setattr(DirectFile, "finish", full_disk)
    with pytest.raises(StorageError, match="no space left"):
        store.backup(place)
    with BlobStore.open(place) as copy:
        assert names(copy) == old
        assert problems(copy) == [] and leftovers(copy) == []
    assert done(store, place).packs_copied == 2


def test_beside_all_that_a_store_does(store: BlobStore, place: Path) -> None:
    """Whatever moment it is of: the copy is whole, and the names lead where they led at one moment."""
    stop, failures = threading.Event(), []
    pair = [layer(30), layer(31)]

    def work() -> None:
        try:
            with BlobStore.open(store.path) as mine:
                for turn in range(1000):
                    if stop.is_set():
                        return
                    with mine.session() as session:  # both or none
                        push(session, "left", pair[turn % 2], layer(40 + turn))
                        push(session, "right", pair[turn % 2], layer(40 + turn))
                        session.commit()
                    if turn % 3 == 1:
                        mine.collect(max_unused=0)
                    if turn % 5 == 4:
                        mine.optimize(level=1)
        except BaseException as error:
            failures.append(error)
            raise

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(8):
            result = store.backup(place)
            assert result.whole and not result.problems
            with BlobStore.open(place) as copy:
                assert problems(copy) == [] and leftovers(copy) == []
                found = names(copy)
                assert found.get(full("left")) == found.get(full("right"))
    finally:
        stop.set()
        worker.join()
    assert failures == []
    done(store, place)


def test_every_flipped_bit_of_a_pack_is_found(store: BlobStore, place: Path) -> None:
    load(store, "small", tar_of({"a": random.Random(1).randbytes(900), "b": b"b" * 5000}))
    name = store.catalog.packs()[-1].name
    path = store.path / pack_path(name)
    whole = path.read_bytes()
    target = LocalBackend(place)
    target.initialise()
    for bit in range(0, 8 * len(whole), 47):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        with (store.backend.open(pack_path(name)) as source, target.create(pack_path(name), "me") as writer,
              pytest.raises(StoreError)):
            copy_pack(source, writer, lambda _: None)
    assert list(target.list("packs/")) == [] and target.temporaries() == []
    path.write_bytes(whole)
    told: list[int] = []
    with store.backend.open(pack_path(name)) as source, target.create(pack_path(name), "me") as writer:
        copy_pack(source, writer, told.append)
    assert (place / pack_path(name)).read_bytes() == whole and sum(told) == len(whole)
