"""Referrers in the store: found by their subject, kept with it, gone with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import describe, index_bytes, manifest_bytes, put, put_artifact, put_image
from storekit import full, layer, load, problems, push, remove

from lamina.content.verify import BytesReader
from lamina.errors import NotFound
from lamina.oci import OCI_INDEX, OCI_MANIFEST, Descriptor
from lamina.store import BlobStore
from lamina.store.peek import CATALOG
from lamina.store.session import Session


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


def refer(store: BlobStore, subject: Descriptor, data: bytes, name: str = "") -> Descriptor:
    """A referrer in a session of its own."""
    with store.session() as session:
        artifact = put_artifact(session, subject, data)
        if name:
            session.tag(artifact, full(name))
        session.commit()
    return artifact


def found(source: Session | BlobStore, subject: Descriptor) -> list[str]:
    if isinstance(source, Session):
        return [str(one.digest) for one in source.referrers(subject)]
    with source.reading() as reading:
        return [str(one.digest) for one in reading.referrers(subject)]


def documents(store: BlobStore) -> set[str]:
    return {row.digest for row in store.catalog.blobs("document")}


def rebuilt(store: BlobStore) -> BlobStore:
    """The store after its catalog was lost."""
    store.close()
    (store.path / CATALOG).unlink()
    return BlobStore.open(store.path)


def test_it_stays_as_long_as_its_subject(store: BlobStore) -> None:
    image = load(store, "app", layer(1))
    artifact = refer(store, image, b"signature")
    store.collect(max_unused=0)
    assert found(store, image) == [artifact.digest]
    assert problems(store) == []
    remove(store, "app")
    store.collect(max_unused=0)
    assert documents(store) == set()
    assert store.catalog.children(image.digest) == []


def test_what_refers_to_a_referrer_stays_too(store: BlobStore) -> None:
    image = load(store, "app", layer(1))
    artifact = refer(store, image, b"statement")
    above = refer(store, artifact, b"signature")
    store.collect(max_unused=0)
    assert (found(store, image), found(store, artifact)) == ([artifact.digest], [above.digest])


def test_without_its_subject_it_is_garbage(store: BlobStore) -> None:
    elsewhere = describe(b"elsewhere", OCI_MANIFEST)
    artifact = refer(store, elsewhere, b"signature")
    assert found(store, elsewhere) == [artifact.digest]
    store.collect(max_unused=0)
    assert documents(store) == set()
    assert found(store, elsewhere) == []
    assert store.catalog.children(elsewhere.digest) == []


def test_the_subject_may_come_later(store: BlobStore, tmp_path: Path) -> None:
    with BlobStore.open(tmp_path / "other") as other:
        image = load(other, "app", layer(1))
    artifact = refer(store, image, b"signature")
    load(store, "app", layer(1))
    store.collect(max_unused=0)
    assert found(store, image) == [artifact.digest]


def test_a_name_of_its_own_keeps_it_and_the_subject_may_come_back(store: BlobStore) -> None:
    image = load(store, "app", layer(1))
    artifact = refer(store, image, b"signature", "sig")
    remove(store, "app")
    store.collect(max_unused=0)
    assert found(store, image) == [artifact.digest]
    load(store, "app", layer(1))
    remove(store, "sig")
    store.collect(max_unused=0)
    assert found(store, image) == [artifact.digest]


def test_a_session_sees_its_own(store: BlobStore) -> None:
    image = load(store, "app", layer(1))
    first = refer(store, image, b"first")
    with store.session() as session:
        second = put_artifact(session, image, b"second")
        assert set(found(session, image)) == {first.digest, second.digest}
        before = session.savepoint()
        put_artifact(session, image, b"third")
        session.rollback(before)
        assert set(found(session, image)) == {first.digest, second.digest}
    assert found(store, image) == [first.digest]


def test_an_index_does_not_count_as_its_members_referrer(store: BlobStore) -> None:
    """What hangs on a digest in the catalog is more than what refers to it."""
    with store.session() as session:
        image = put_image(session, layer(1))
        index = put(session, index_bytes([image]), OCI_INDEX)
        session.tag(index, full("app"))
        session.commit()
    assert found(store, index) == []


def test_a_rebuilt_catalog_knows_them(store: BlobStore) -> None:
    image = load(store, "app", layer(1))
    artifact, lost = refer(store, image, b"signature"), refer(store, describe(b"elsewhere", OCI_MANIFEST), b"of nothing")
    with rebuilt(store) as again:
        assert found(again, image) == [artifact.digest]
        assert lost.digest not in documents(again)
        again.collect(max_unused=0)
        assert found(again, image) == [artifact.digest]


@pytest.mark.parametrize("first", ["subject", "referrer"])
def test_a_subject_by_another_algorithm(store: BlobStore, first: str) -> None:
    """It is one manifest, whichever of its digests a referrer names."""
    with store.session() as session:
        image = put_image(session, layer(1))
        session.root(image)
        session.commit()
    data = store.document(image.digest)
    other = describe(data, OCI_MANIFEST, "sha512")
    with store.session() as session:
        session.drop_root(image.digest)
        session.commit()
    store.collect(max_unused=0)

    def subject() -> None:
        with store.session() as session:
            put_image_as(session, other, data)
            session.root(other)
            session.commit()

    if first == "subject":
        subject()
    artifact = refer(store, image, b"signature")
    if first == "referrer":
        subject()
    store.collect(max_unused=0)
    assert artifact.digest in documents(store)


def put_image_as(session: Session, manifest: Descriptor, data: bytes) -> None:
    """Push the image of `layer(1)` with its manifest under that digest."""
    put_image(session, layer(1))
    session.push(manifest, BytesReader(data))


def test_a_circle_ends(store: BlobStore) -> None:
    """A referrer may name its subject as a layer as well: each then leads to the other."""
    with store.session() as session:
        subject = put_image(session, layer(1))
        blob = Descriptor(subject.media_type, subject.digest, subject.size)
        config = put(session, b"{}", "application/vnd.oci.empty.v1+json")
        data = manifest_bytes(config, [blob], subject=blob.to_json())
        referrer = put(session, data, OCI_MANIFEST)
        session.tag(referrer, full("sig"))
        session.commit()
    store.collect(max_unused=0)
    assert found(store, subject) == [referrer.digest]
    assert problems(store) == []
    remove(store, "sig")
    store.collect(max_unused=0)
    assert documents(store) == set()


def test_figures_count_no_image_twice_for_what_refers_to_it(store: BlobStore) -> None:
    """An attestation in the shape of an image, which has its subject's layer."""
    with store.session() as session:
        image = push(session, "app", layer(1))
        session.commit()
    before = store.usage()
    with store.session() as session:
        parsed = json.loads(store.document(image.digest))
        data = manifest_bytes(Descriptor.from_json(parsed["config"]), [Descriptor.from_json(parsed["layers"][0])],
                              subject=Descriptor(image.media_type, image.digest, image.size).to_json())
        attestation = put(session, data, OCI_MANIFEST)
        session.commit()
    after = store.usage()
    assert (after.logical, after.layers) == (before.logical, before.layers)
    assert after.image_usage[image.digest] == before.image_usage[image.digest]
    gone = store.reclaimable([full("app")])
    remove(store, "app")
    store.collect(max_unused=0)
    assert attestation.digest not in documents(store)
    assert gone.frame_bytes > 0
    with pytest.raises(NotFound):
        store.resolve(attestation.digest)
