"""Sessions that a collection crosses: each interleaving by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contracts.samples import config_bytes, describe, manifest_bytes, put, put_image
from storekit import (
    assert_whole,
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
    remove,
    tar_of,
)

from lamina.digest import Digest
from lamina.errors import LeaseLost, StoreError
from lamina.oci import OCI_CONFIG, OCI_MANIFEST
from lamina.store import BlobStore, collect, publish, replacing
from lamina.store.schema import CONDEMNED
from lamina.store.session import Session


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def other(tmp_path: Path, store: BlobStore) -> Iterator[BlobStore]:
    """The same store, opened a second time: what another process does."""
    with BlobStore.open(tmp_path / "store") as other:
        yield other


SHARED = noise(3, 900_000)
OLD = tar_of({"shared": SHARED, "old": noise(4, 400_000)})
NEW = tar_of({"first": noise(5, 10_000), "shared": SHARED})


def gone(store: BlobStore) -> bool:
    """Whether the old layer's packs have been condemned, or more."""
    return store.catalog.blob(Digest.of(OLD)) is None


def test_chunks_of_a_condemned_pack_are_rescued(store: BlobStore, other: BlobStore) -> None:
    load(store, "old", OLD)
    remove(store, "old")
    with store.session() as session:
        push(session, "new", NEW)
        assert session.stats.new < 100_000  # it relies on the old layer's pack
        collected = other.collect(max_unused=0)
        assert gone(store) and store.catalog.packs(CONDEMNED) and collected.pending > 0
        session.commit()
    assert problems(store) == []
    assert read(store, Digest.of(NEW)) == NEW
    store.collect(max_unused=0)
    assert_whole(store, NEW)


def test_chunks_that_were_copied_are_found_again(store: BlobStore, other: BlobStore) -> None:
    """The pack is rewritten, since half of it is dead; the session's chunks are in the copy."""
    load(store, "old", OLD)
    load(store, "keep", tar_of({"shared": SHARED}))
    remove(store, "old")
    with store.session() as session:
        push(session, "new", NEW)
        stored = session.sink.stored
        other.collect(max_unused=0)
        assert gone(store) and store.catalog.packs(CONDEMNED)
        session.commit()
        assert session.sink.stored - stored < 200_000  # nothing of the shared file was written anew
    store.collect(max_unused=0)
    assert_whole(store, NEW, tar_of({"shared": SHARED}))


def test_whole_layer_again_with_its_recipe_condemned(store: BlobStore, other: BlobStore) -> None:
    """Recipe and entry blocks are chunks that were known, too."""
    load(store, "old", OLD)
    remove(store, "old")
    with store.session(verify=True) as session:  # reads it all, although the blob may be known
        push(session, "again", OLD)
        assert session.stats.new == 0
        other.collect(max_unused=0)
        session.commit()
    store.collect(max_unused=0)
    assert_whole(store, OLD)


def test_a_blob_that_is_held_is_not_collected(store: BlobStore, other: BlobStore) -> None:
    load(store, "old", OLD)
    remove(store, "old")
    with store.session() as session:
        assert session.exists(describe(OLD))
        other.collect(max_unused=0)
        assert not gone(store)
        push_known(session, "again", OLD)
        session.commit()
    store.collect(max_unused=0)
    assert_whole(store, OLD)


def push_known(session: Session, name: str, data: bytes) -> None:
    """An image over a layer that the session found there."""
    config = put(session, config_bytes([describe(data)]), OCI_CONFIG)
    manifest = put(session, manifest_bytes(config, [describe(data)]), OCI_MANIFEST)
    session.tag(manifest, full(name))


def test_a_blob_that_went_before_it_was_asked_for(store: BlobStore, other: BlobStore) -> None:
    load(store, "old", OLD)
    remove(store, "old")
    with store.session() as session:
        other.collect(max_unused=0)
        assert not session.exists(describe(OLD))
        push(session, "again", OLD)  # the session's index knows the condemned pack
        session.commit()
    store.collect(max_unused=0)
    assert_whole(store, OLD)


@pytest.mark.parametrize("step", ["blobs", "_choose", "_copy", "_checkpoint", "_condemn", "after"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_commit_at_each_step_of_a_collection(
    store: BlobStore, other: BlobStore, monkeypatch: pytest.MonkeyPatch, step: str, keep: bool
) -> None:
    """A session that relies on a doomed pack commits just before each step; so does one with a new image.

    With `keep` its chunks are live and copied, without they are dead when they are marked.
    """
    kept = tar_of({"shared": SHARED}) if keep else layer(6)
    load(store, "old", OLD)
    load(store, "keep", kept)
    remove(store, "old")
    done: list[str] = []
    with store.session() as session:
        push(session, "new", NEW)

        def commit() -> None:
            if not done:
                done.append(step)
                session.commit()
                load(store, "later", layer(8))

        if step == "blobs":
            marks = replacing.Marks

            def make(of: BlobStore) -> object:
                commit()
                return marks(of)

            monkeypatch.setattr(replacing, "Marks", make)
        elif step != "after":
            real = getattr(collect._Collection, step)

            def wrapped(*args: object) -> object:
                commit()
                return real(*args)

            monkeypatch.setattr(collect._Collection, step, wrapped)
        other.collect(max_unused=0)
        commit()
    assert done == [step]
    monkeypatch.undo()
    assert problems(store) == []
    store.collect(max_unused=0)
    assert_whole(store, NEW, layer(8), kept)
    assert set(names(store)) == {full("new"), full("keep"), full("later")}


def test_collected_again_and_again(store: BlobStore, other: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time it has found its chunks anew, they are condemned once more; in the end it gives up cleanly."""
    load(store, "old", OLD)
    remove(store, "old")
    monkeypatch.setattr(publish, "ATTEMPTS", 3)
    monkeypatch.setattr(publish, "_resolve_again", lambda store, session, relied, gone: relied)
    with pytest.raises(StoreError, match="over and over"), store.session() as session:
        push(session, "new", NEW)
        other.collect(max_unused=0)
        session.commit()
    monkeypatch.undo()
    store.collect(max_unused=0)
    assert pack_files(store) == live_packs(store)
    assert store.usage().chunks == 0 and names(store) == {}


def test_a_number_below_a_checkpoint_is_drawn_again(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector writes its checkpoint between the drawing of a number and the commit."""
    load(store, "one", layer(1))
    real: Callable[[], int] = store.catalog.next_seq
    drawn: list[int] = []

    def draw() -> int:
        number = real()
        if not drawn:
            with store.catalog.transaction() as tx:
                tx.set_checkpoint(tx.next_seq())
        drawn.append(number)
        return number

    monkeypatch.setattr(store.catalog, "next_seq", draw)
    manifest = load(store, "two", layer(2))
    assert len(drawn) == 2
    (ref,) = [ref for ref in store.catalog.refs() if ref.name == full("two")]
    assert (ref.digest, ref.seq) == (manifest.digest, drawn[1]) and ref.seq > store.catalog.checkpoint()


def test_a_lease_that_goes_while_the_packs_are_sealed(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = publish._try

    def lose(of: BlobStore, session: Session, *rest: object) -> object:
        with of.catalog.transaction() as tx:
            tx.remove_lease(session.lease.id)
        return real(of, session, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_try", lose)
    with pytest.raises(LeaseLost):
        load(store, "one", layer(1))
    assert pack_files(store) == set() and names(store) == {} and list(store.catalog.blobs()) == []


def test_a_name_keeps_the_value_of_the_highest_number(store: BlobStore) -> None:
    """The one that began to commit first commits last."""
    with store.session() as one:
        first, second = put_image(one, layer(1)), put_image(one, layer(2))
        one.root(first)
        one.root(second)
        one.commit()
    with store.session() as one:
        one.tag(first, full("it"))
        real = store.catalog.next_seq

        def draw() -> int:
            number = real()
            store.catalog.next_seq = real  # type: ignore[method-assign]
            with store.session() as two:
                two.tag(second, full("it"))
                two.commit()
            return number

        store.catalog.next_seq = draw  # type: ignore[method-assign]
        one.commit()
    assert names(store)[full("it")] == second.digest
    assert problems(store) == []  # the journals say so too


def test_the_same_name_twice_in_a_session(store: BlobStore) -> None:
    with store.session() as session:
        push(session, "it", layer(1))
        second = push(session, "it", layer(2))
        session.commit()
    assert names(store) == {full("it"): second.digest}
    assert problems(store) == []
