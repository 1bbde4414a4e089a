"""Pins outlive the catalog; a catalog of before gets a column for them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storekit import full, layer, load, problems, remove

from lamina.errors import NotFound
from lamina.store import BlobStore, layout, publish, uses
from lamina.store.catalog import Catalog
from lamina.store.names import names_of
from lamina.store.schema import LIVE, RefRow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "one", layer(1))
        load(store, "two", layer(2))
        yield store


def pin(store: BlobStore, pinned: bool = True, *words: str) -> None:
    with store.session() as session:
        for word in words:
            session.pin(full(word), pinned)
        session.commit()


def pinned(store: BlobStore) -> set[str]:
    return {ref.name for ref in store.catalog.refs() if ref.pinned}


def rebuilt(store: BlobStore) -> BlobStore:
    store.close()
    for file in (store.path / "state").glob("catalog.sqlite*"):
        file.unlink()
    return BlobStore.open(store.path)


def test_a_pin_outlives_the_catalog(store: BlobStore) -> None:
    pin(store, True, "one", "two")
    pin(store, False, "two")
    load(store, "one", layer(3))  # the name moves
    with rebuilt(store) as again:
        assert pinned(again) == {full("one")}
        assert problems(again) == []


def test_a_checkpoint_says_it_too(store: BlobStore) -> None:
    pin(store, True, "one")
    remove(store, "two")
    store.collect(max_unused=0)
    store.collect(max_unused=0)
    said = [json.loads(bytes(store.packs.record(pack.number, record))) for pack in store.catalog.packs(LIVE)
            for record, _ in store.packs.footer(pack.number).key_rows()
            if store.packs.footer(pack.number).records[record]["type"] == layout.JOURNAL]
    assert any(name.get("pinned") for one in said if one.get("checkpoint") for name in one["set"])
    with rebuilt(store) as again:
        assert pinned(again) == {full("one")}


def test_all_or_none(store: BlobStore) -> None:
    with pytest.raises(NotFound, match="no such tag"):
        pin(store, True, "one", "none")
    assert pinned(store) == set()
    with rebuilt(store) as again:
        assert pinned(again) == set()


def test_a_removal_clears_it(store: BlobStore) -> None:
    pin(store, True, "one")
    remove(store, "one")
    load(store, "one", layer(1))
    assert pinned(store) == set()
    with rebuilt(store) as again:
        assert pinned(again) == set()


@pytest.mark.parametrize("change", ["set", "removed and set", "pinned"])
def test_a_pin_moves_no_name(store: BlobStore, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Another session changes the name between the drawing of the number and the commit: the catalog says what journals do."""
    real, done = publish._try, []

    def attempt(*args: object) -> object:
        if not done:
            done.append(True)
            with BlobStore.open(store.path) as other:
                if change == "removed and set":
                    remove(other, "one")
                if change == "pinned":
                    pin(other, False, "one")
                else:
                    load(other, "one", layer(5))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_try", attempt)
    pin(store, True, "one")
    monkeypatch.undo()
    digest = store.resolve(full("one")).digest
    with BlobStore.open(store.path) as other:
        assert digest == load(other, "three", layer(1 if change == "pinned" else 5)).digest
    assert pinned(store) == {full("one")}
    with rebuilt(store) as again:
        assert again.resolve(full("one")).digest == digest and pinned(again) == {full("one")}


def name(digest: str, **more: object) -> dict[str, object]:
    return {"name": "x", "digest": digest, "media_type": "media", "size": 1, "time": 2, **more}


def test_journals_in_order() -> None:
    journals: list[dict[str, object]] = [
        {"seq": 1, "set": [name("a")], "remove": []}, {"seq": 2, "set": [], "remove": [], "pin": {"x": True, "gone": True}},
        {"seq": 3, "set": [name("b")], "remove": []}]
    assert names_of(journals) == {"x": RefRow("x", "b", "media", 1, 3, 2, True)}
    assert names_of(reversed(journals))["x"].pinned
    assert not names_of([*journals, {"seq": 4, "set": [name("b", pinned=False)], "remove": []}])["x"].pinned
    assert not names_of([*journals, {"seq": 4, "set": [], "pin": {"x": False}}])["x"].pinned
    again = [*journals, {"seq": 4, "set": [], "remove": ["x"]}, {"seq": 5, "set": [name("c")], "remove": []}]
    assert not names_of(again)["x"].pinned
    assert names_of([{"seq": 9, "checkpoint": True, "part": 0, "parts": 1, "set": [name("d", pinned=True)]}])["x"].pinned


def test_a_catalog_of_before_gets_the_column(store: BlobStore) -> None:
    path = store.path / "state" / "catalog.sqlite"
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE refs DROP COLUMN pinned")
        connection.execute("DROP TABLE uses")
        connection.commit()
    with BlobStore.open(store.path) as again:
        assert pinned(again) == set() and len(again.catalog.refs()) == 2
        pin(again, True, "two")
        assert pinned(again) == {full("two")}
        assert again.catalog.uses.times() == {}


def test_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "MOST", 3)
    with Catalog.create(tmp_path / "catalog.sqlite") as catalog:
        catalog.uses.note(["a", "b", "a"], 10)
        catalog.uses.note(["b"], 20)
        catalog.uses.note(["a"], 5)  # the clock has gone back
        assert catalog.uses.times() == {"a": 10, "b": 20}
        catalog.uses.note(["c", "d"], 30)
        assert catalog.uses.times() == {"b": 20, "c": 30, "d": 30}
        with catalog.transaction() as tx:
            tx.remove_blobs(["c"])
        assert catalog.uses.times() == {"b": 20, "d": 30}
