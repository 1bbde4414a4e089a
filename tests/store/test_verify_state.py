"""What is derived, held against the packs: the catalog row by row, index files slot by slot."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import put_image
from storekit import flip, full, layer, load, push, read, remove

from lamina import oci
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.store import BlobStore
from lamina.store.catalog import Catalog
from lamina.store.catalogcheck import check_catalog
from lamina.store.indexcheck import check_index
from lamina.store.peek import CATALOG


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        with store.session() as session:
            push(session, "one", layer(1), layer(2))
            push(session, "two", layer(1), layer(3))
            session.commit()
        load(store, "three", layer(4))
        yield store


def change(store: BlobStore, sql: str, *values: object) -> None:
    """Alter the catalog behind everybody's back; something must change."""
    store.close()
    with sqlite3.connect(store.path / CATALOG) as connection:
        assert connection.execute(sql, values).rowcount > 0, sql


def said(store: BlobStore) -> tuple[list[str], set[str]]:
    """What a store that is opened anew has wrong, and the blobs that it costs."""
    with BlobStore.open(store.path) as again:
        problems = again.verify().problems
    return [problem.what for problem in problems], {digest for problem in problems for digest in problem.digests}


ALTERED = [
    "UPDATE blobs SET media_type = media_type || 'x' WHERE kind = 'layer' AND digest = :layer",
    "UPDATE blobs SET kind = 'blob' WHERE digest = :layer",
    "UPDATE blobs SET sha256 = replace(sha256, 'a', 'b') WHERE digest = :layer",
    "UPDATE blobs SET diff_id = NULL WHERE digest = :layer",
    "UPDATE blobs SET diff_id = replace(diff_id, 'a', 'b') WHERE digest = :layer",
    "UPDATE blobs SET plain_size = plain_size + 1 WHERE digest = :layer",
    "UPDATE blobs SET entries = entries + 1 WHERE digest = :layer",
    "UPDATE blobs SET file_bytes = file_bytes + 1 WHERE digest = :layer",
    "UPDATE blobs SET made = 1 - made WHERE digest = :manifest",
    "UPDATE blobs SET text = replace(text, '{', '[') WHERE digest = :manifest",
    "UPDATE edges SET child = child || '0' WHERE parent = :manifest AND child = :layer",
    "DELETE FROM edges WHERE parent = :manifest AND child = :layer",
    "INSERT INTO edges (parent, child) VALUES (:manifest, 'sha256:other')",
    "UPDATE images SET created = created || '0' WHERE manifest = :manifest",
    "UPDATE images SET config = replace(config, 'a', 'b') WHERE manifest = :manifest",
    "UPDATE images SET diff_ids = replace(diff_ids, 'a', 'b') WHERE manifest = :manifest",
    "UPDATE images SET os = 'plan9', size = size + 1 WHERE manifest = :manifest",
    "DELETE FROM images WHERE manifest = :manifest",
    "UPDATE images SET manifest = replace(manifest, 'a', 'b') WHERE manifest = :manifest",
    "UPDATE refs SET time = time + 1 WHERE digest = :manifest",
    "UPDATE refs SET size = size + 1 WHERE digest = :manifest",
    "UPDATE refs SET media_type = 'x' WHERE digest = :manifest",
    "UPDATE refs SET name = name || 'x' WHERE digest = :manifest",
    "UPDATE refs SET removed = 1 WHERE digest = :manifest",
    "UPDATE refs SET seq = 1000000 WHERE digest = :manifest",
    "UPDATE packs SET bytes = bytes + 1 WHERE number = 1",
    "UPDATE packs SET chunks = chunks + 1 WHERE number = 1",
    "UPDATE packs SET state = 'alive' WHERE number = 1",
    "UPDATE packs SET changed = 1000000 WHERE number = 1",
    "UPDATE packs SET number = 1000 WHERE number = 1",
    "UPDATE meta SET value = 1 WHERE key = 'sequence'",
    "UPDATE meta SET value = 0 WHERE key = 'pack_number'",
    "UPDATE meta SET value = 1000000 WHERE key = 'checkpoint'",
]


@pytest.mark.parametrize("sql", ALTERED)
def test_a_row_that_says_something_else(store: BlobStore, sql: str) -> None:
    names = {":layer": Digest.of(layer(2)), ":manifest": store.resolve(full("one")).digest}
    for name, digest in names.items():
        sql = sql.replace(name, f"'{digest}'")
    change(store, sql)
    assert said(store)[0]


@pytest.mark.parametrize("sql", [
    "UPDATE blobs SET size = size + 1 WHERE digest = :layer",
    "UPDATE blobs SET pack = 1000 WHERE digest = :layer",
    "UPDATE blobs SET record = 1000 WHERE digest = :layer",
    "UPDATE blobs SET record = (SELECT record FROM blobs WHERE digest = :other) WHERE digest = :layer",
    "UPDATE blobs SET digest = replace(digest, '1', '2'), sha256 = replace(sha256, '1', '2') WHERE digest = :layer",
    "DELETE FROM blobs WHERE digest = :layer",
])
def test_a_layer_that_the_catalog_has_lost(store: BlobStore, sql: str) -> None:
    """The images that have it cannot be given back, others can."""
    for name, data in ((":layer", layer(2)), (":other", layer(3))):
        sql = sql.replace(name, f"'{Digest.of(data)}'")
    change(store, sql)
    what, digests = said(store)
    assert what and Digest.of(layer(2)) in digests
    assert not digests & {Digest.of(layer(1)), Digest.of(layer(3)), Digest.of(layer(4))}
    with BlobStore.open(store.path) as again:
        assert again.verify([Digest.of(layer(3))]).problems == []
        manifest = again.resolve(full("one")).digest
        assert again.verify(again.catalog.reachable_from([manifest])).problems
        with pytest.raises(LaminaError):
            read(again, Digest.of(layer(2)))


def test_nothing_is_said_of_what_is_right(store: BlobStore) -> None:
    """After removals, a collection, an image over what was there, and one that has a blob under two names."""
    remove(store, "two")
    assert store.verify().problems == []
    store.collect(max_unused=0)
    assert store.verify().problems == []
    load(store, "two", layer(1), layer(3))
    with store.session() as session:
        session.untag(full("three"))
        session.root(put_image(session, layer(4)))
        session.commit()
    assert store.verify().problems == []
    store.optimize()
    assert store.verify().problems == []


def test_bytes_of_the_catalog_file(store: BlobStore, tmp_path: Path) -> None:
    """Each is found, or harms nothing: everything is listed and read as before."""
    layers = [layer(number) for number in range(1, 5)]
    listing = [(ref.name, ref.digest) for ref in store.catalog.refs()]
    store.close()
    good = (store.path / CATALOG).read_bytes()
    rng = random.Random(7)
    used = [at for at, byte in enumerate(good) if byte]  # most of the pages is free
    found = 0
    for at in rng.sample(used, 60):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(store.path, tmp_path / "copy")
        flip(tmp_path / "copy" / CATALOG, at, 1 << rng.randrange(8))
        try:
            with BlobStore.open(tmp_path / "copy") as again:
                if again.verify().problems:
                    found += 1
                    continue
                assert [(ref.name, ref.digest) for ref in again.catalog.refs()] == listing
                assert all(read(again, Digest.of(data)) == data for data in layers)
        except LaminaError:
            found += 1
    assert found > 10


def test_a_log_of_the_catalog_that_was_lost(store: BlobStore, tmp_path: Path) -> None:
    """Commits that are in the packs only: their numbers were not drawn yet, by this catalog."""
    store.close()
    before = (store.path / CATALOG).read_bytes()
    with BlobStore.open(store.path) as again:
        load(again, "four", layer(5))
    (store.path / CATALOG).write_bytes(before)
    what, _ = said(store)
    assert any("it has lost commits" in each for each in what)


def test_an_image_without_a_manifest(store: BlobStore) -> None:
    change(store, "UPDATE images SET manifest = replace(manifest, 'a', 'b')")
    assert any("without a manifest" in each for each in said(store)[0])


def test_an_image_that_came_while_the_rows_were_read_is_no_damage(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often: removed and loaded over and over, say."""
    blobs = Catalog.blobs
    manifest = next(row.digest for row in store.catalog.blobs() if oci.is_manifest(row.media_type))
    monkeypatch.setattr(Catalog, "blobs", lambda self: (row for row in blobs(self) if row.digest != manifest))
    assert check_catalog(store, store.packs) == []


def index_of(store: BlobStore) -> Path:
    """The index as one file."""
    index = store.new_index()
    index.flush(force=True)
    index.close()
    (path,) = (store.state_dir / "index").glob("*.idx")
    return path


def test_bytes_of_an_index_file(store: BlobStore) -> None:
    """Every single one is found; no image is touched; the file goes, and is made again."""
    path = index_of(store)
    good = path.read_bytes()
    rng = random.Random(7)
    body = 4096
    places = [*range(96, 96 + 20), *range(64), *rng.sample(range(body, len(good)), min(40, len(good) - body))]
    assert store.verify().problems == []
    for at in places:
        path.write_bytes(good)
        flip(path, at, 1 << rng.randrange(8))
        result = store.verify()
        assert [problem.digests for problem in result.problems] == [()], at
        assert "an index file is damaged" in result.problems[0].what
        assert not path.exists() or path.read_bytes() != good
        assert path.name in result.notes[0]
        if not at % 8:
            assert store.verify().problems == []
    assert len(places) > 110


def test_slots_that_are_whole_and_wrong(store: BlobStore) -> None:
    """Each slot emptied, moved behind a gap, swapped with the next, or written over by it."""
    load(store, "more", layer(20, 4_000_000))
    path = index_of(store)
    good = path.read_bytes()
    slots = [good[at : at + 24] for at in range(4096, len(good), 24)]
    empty = bytes(24)
    wrong = []
    for at, slot in enumerate(slots):
        if slot == empty:
            continue
        wrong.append([*slots[:at], empty, *slots[at + 1 :]])
        if slots[at + 1 : at + 3] == [empty, empty]:
            wrong.append([*slots[:at], empty, empty, slot, *slots[at + 3 :]])
        if (after := slots[at + 1]) != empty:
            wrong.append([*slots[:at], after, slot, *slots[at + 2 :]])
            wrong.append([*slots[:at], slot, slot, *slots[at + 2 :]])
    assert len(wrong) > 60
    for table in wrong:
        path.write_bytes(good[:4096] + b"".join(table))
        with contextlib.closing(store.fresh_packs()) as packs:
            (problem,), _ = check_index(store, packs)
        assert "an index file is damaged" in problem[0]


def test_an_index_of_packs_that_have_gone(store: BlobStore) -> None:
    """Its slots say nothing wrong."""
    index_of(store)
    remove(store, "one", "two")
    store.collect(max_unused=0)
    assert store.verify().problems == []
