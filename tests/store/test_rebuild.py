"""The catalog and the index are derived: what the packs say is all there is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contracts.samples import index_bytes, put, put_image
from storekit import (
    assert_whole,
    flip,
    full,
    layer,
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
from lamina.oci import OCI_INDEX
from lamina.store import BlobStore, layout
from lamina.store.packs import pack_path


def drop_catalog(path: Path) -> None:
    for file in (path / "state").glob("catalog.sqlite*"):
        file.unlink()


def damage_catalog(path: Path) -> None:
    for file in (path / "state").glob("catalog.sqlite-*"):
        file.unlink()
    (path / "state" / "catalog.sqlite").write_bytes(noise(1, 10_000))


def empty_catalog(path: Path) -> None:
    drop_catalog(path)
    (path / "state" / "catalog.sqlite").touch()


def drop_index(path: Path) -> None:
    shutil.rmtree(path / "state" / "index")


def damage_index(path: Path) -> None:
    for file in (path / "state" / "index").glob("*.idx"):
        flip(file, file.stat().st_size // 2)


def drop_state(path: Path) -> None:
    shutil.rmtree(path / "state")


LOSSES = [drop_catalog, damage_catalog, empty_catalog, drop_index, damage_index, drop_state]


def contents(store: BlobStore) -> dict[str, object]:
    """All that a user can see; numbers of packs may change."""
    usage = store.usage()
    return {
        "names": {ref.name: ref._replace(seq=0) for ref in store.catalog.refs()},
        "blobs": {row.digest: row._replace(pack=0, record=0) for row in store.catalog.blobs()},
        "texts": {row.digest: store.document(row.digest) for row in store.catalog.blobs("document")},
        "images": list(store.catalog.images()),
        "edges": {row.digest: sorted(store.catalog.children(row.digest)) for row in store.catalog.blobs("document")},
        "packs": {(pack.name, pack.bytes, pack.chunks) for pack in store.catalog.packs()},
        "usage": (usage, usage.image_usage),
    }


def filled(path: Path) -> None:
    """Names that were set, moved, removed; an index; a made manifest; a document that is no text; a gc; flushed index."""
    with BlobStore.open(path) as store:
        load(store, "one", layer(1), layer(2))
        load(store, "two", layer(1), layer(3))
        load(store, "two", layer(1), layer(4))
        load(store, "gone", layer(5))
        with store.session() as session:
            images = [put_image(session, layer(number)) for number in (1, 6)]
            index = put(session, index_bytes(images), OCI_INDEX)
            session.tag(index, full("index"))
            session.root(images[0])
            session.mark_made(images[1])
            session.commit()
        remove(store, "gone")
        store.collect(max_unused=0)
        load(store, "late", layer(7))
        load(store, "later", layer(8))
        remove(store, "late")
        store.collect(max_unused=1)
        index_files = store.new_index()
        index_files.flush(force=True)
        index_files.close()


@pytest.mark.parametrize("lose", LOSSES)
def test_everything_comes_back(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    path = tmp_path / "store"
    filled(path)
    assert list((path / "state" / "index").glob("*.idx"))
    with BlobStore.open(path) as store:
        before = contents(store)
    lose(path)
    with BlobStore.open(path) as store:
        assert contents(store) == before
        assert problems(store) == []
        load(store, "more", layer(9))
        store.collect(max_unused=0)
        assert_whole(store, layer(1), layer(2), layer(4), layer(6), layer(8), layer(9))
        assert set(names(store)) >= {full("one"), full("two"), full("index"), full("later"), full("more")}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "store"
    with BlobStore.open(path) as store:
        load(store, "one", layer(1))
        load(store, "two", layer(2))
    yield path


def test_numbers_go_on_from_where_they_were(path: Path) -> None:
    """A name set after the rebuild wins over all journals before, at the next rebuild too."""
    with BlobStore.open(path) as store:
        for _ in range(50):  # far beyond what a rebuild draws for itself
            store.catalog.next_seq()
        load(store, "one", layer(4))
    drop_catalog(path)
    with BlobStore.open(path) as store:
        last = load(store, "one", layer(3))
    drop_catalog(path)
    with BlobStore.open(path) as store:
        assert names(store)[full("one")] == last.digest
        assert problems(store) == []


def test_a_damaged_pack_is_left_out(path: Path) -> None:
    with BlobStore.open(path) as store:
        row = store.catalog.blob(Digest.of(layer(1)))
        assert row is not None
        pack = store.catalog.pack(row.pack)
        assert pack is not None
    flip(path / pack_path(pack.name), pack.bytes - 10)
    drop_catalog(path)
    with BlobStore.open(path) as store:
        assert set(names(store)) == {full("two")}
        assert read(store, Digest.of(layer(2))) == layer(2)
        assert pack.name in pack_files(store) - live_packs(store)


def test_a_missing_pack_is_a_problem_and_no_crash(path: Path) -> None:
    with BlobStore.open(path) as store:
        row = store.catalog.blob(Digest.of(layer(1)))
        assert row is not None
        pack = store.catalog.pack(row.pack)
        assert pack is not None
    (path / pack_path(pack.name)).unlink()
    with BlobStore.open(path) as store:
        found = store.verify().problems
        assert any(Digest.of(layer(1)) in problem.digests for problem in found)
        assert any(pack.name in problem.where for problem in found)
        assert not any(Digest.of(layer(2)) in problem.digests for problem in found)
        load(store, "three", layer(3))
        assert read(store, Digest.of(layer(3))) == layer(3)
        assert read(store, Digest.of(layer(2))) == layer(2)
    drop_catalog(path)
    with BlobStore.open(path) as store:
        assert set(names(store)) == {full("two"), full("three")}


def test_a_damaged_record_costs_what_it_holds(path: Path) -> None:
    """The head of one image's layer: the image goes, its name goes with what it led to still known."""
    with BlobStore.open(path) as store:
        file, row = record_at(store, layout.HEAD)
        lost = next(each for each in store.catalog.blobs() if each.kind == "layer" and file.name in {
            pack.name for pack in store.catalog.packs() if pack.number == each.pack})
    flip(file, int(row["offset"]))
    drop_catalog(path)
    with BlobStore.open(path) as store:
        assert store.catalog.blob(lost.digest) is None
        assert len(list(store.catalog.images())) == 1
        assert set(names(store)) == {full("one"), full("two")}  # the manifest is there: a load brings back what it lacks


def test_packs_that_were_never_published(path: Path) -> None:
    """Sealed by a session that died: after a rebuild they hold no blob, and a collection frees them."""
    with BlobStore.open(path) as store:
        session = store.session()
        push(session, "half", layer(5))
        session.sink.seal()
        orphan = next(iter(pack_files(store) - live_packs(store)))
        keep = tmp = path.parent / "orphan"
        shutil.copy(path / pack_path(orphan), tmp)
        session.abort()
        (path / pack_path(orphan)).parent.mkdir(exist_ok=True)
        shutil.copy(keep, path / pack_path(orphan))
    drop_catalog(path)
    with BlobStore.open(path) as store:
        assert set(names(store)) == {full("one"), full("two")}
        assert store.catalog.blob(Digest.of(layer(5))) is None
        store.collect(max_unused=0)
        assert orphan not in pack_files(store)
        assert_whole(store, layer(1), layer(2))


def test_what_was_removed_stays_removed(tmp_path: Path) -> None:
    """Its head lies on in a pack that was not worth a rewrite, while a collection has freed chunks of it."""
    path = tmp_path / "store"
    big = tar_of({"big": noise(1, 3_000_000)})
    with BlobStore.open(path) as store:
        load(store, "gone", tar_of({"shared": noise(2, 900_000)}))
        with store.session() as session:
            push(session, "doomed", tar_of({"shared": noise(2, 900_000), "own": noise(3, 5000)}))
            push(session, "stays", big)
            session.commit()
        remove(store, "gone", "doomed")
        store.collect(max_unused=0.05)  # the first pack goes whole; of the second too little is dead
        assert len(pack_files(store)) >= 1
        before = {row.digest for row in store.catalog.blobs()}
    drop_catalog(path)
    with BlobStore.open(path) as store:
        assert {row.digest for row in store.catalog.blobs()} == before
        assert problems(store) == []
        load(store, "doomed", tar_of({"shared": noise(2, 900_000), "own": noise(3, 5000)}))
        assert_whole(store, big, tar_of({"shared": noise(2, 900_000), "own": noise(3, 5000)}))
