"""What a session has been given: documents, and what is left of them after a rollback."""

from __future__ import annotations

import json

import pytest

from lamina import mediatypes
from lamina.digest import Digest
from lamina.errors import LimitExceeded
from lamina.oci import Descriptor
from lamina.store import gathered
from lamina.store.gathered import Gathered, Name
from lamina.store.schema import BlobRow


def blob(seed: int) -> BlobRow:
    digest = Digest.of(bytes([seed]))
    return BlobRow(digest, digest, "layer", "", 1, 0, 0)


def index(*children: Digest) -> tuple[Descriptor, bytes]:
    entries = [{"mediaType": mediatypes.OCI_MANIFEST, "digest": each, "size": 1} for each in children]
    data = json.dumps({"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": entries}).encode()
    return Descriptor(mediatypes.OCI_INDEX, Digest.of(data), len(data)), data


def take(given: Gathered, descriptor: Descriptor, data: bytes) -> bool:
    return given.document(descriptor, data, given.blobs.get, lambda digest: given.texts[digest], lenient=True)


def test_after_a_rollback_blobs_are_there_without_a_name_and_documents_are_not() -> None:
    given = Gathered()
    early, late = blob(1), blob(2)
    given.blobs[early.digest] = early
    given.unclaimed.add(early.digest)
    before = given.savepoint()
    given.blobs[late.digest] = late
    descriptor, data = index(Digest(early.digest), Digest(late.digest))
    take(given, descriptor, data)
    given.names.append(Name("app:1", descriptor, 0))
    assert not given.unclaimed
    given.rollback(before)
    assert given.blobs == {early.digest: early, late.digest: late}
    assert given.unclaimed == {early.digest, late.digest}
    assert (given.texts, given.texts_size, given.edges, given.names) == ({}, 0, [], [])


def test_a_document_claims_what_it_names_and_refers_to_it() -> None:
    given = Gathered()
    child = blob(1)
    given.blobs[child.digest] = child
    given.unclaimed.add(child.digest)
    descriptor, data = index(Digest(child.digest))
    assert not take(given, descriptor, data)
    assert (given.unclaimed, given.edges) == (set(), [(descriptor.digest, child.digest)])
    assert given.blobs[descriptor.digest].text == data.decode()


def test_a_document_that_had_come_as_a_blob_leaves_frames_behind() -> None:
    given = Gathered()
    descriptor, data = index()
    given.blobs[descriptor.digest] = BlobRow(descriptor.digest, descriptor.digest, "layer", "", len(data), 7, 3)
    given.unclaimed.add(descriptor.digest)
    assert take(given, descriptor, data)
    assert not given.unclaimed
    assert given.blobs[descriptor.digest].kind == "document"
    assert not take(given, descriptor, data)


def test_documents_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Gathered()
    first, second = index(Digest.of(b"1")), index(Digest.of(b"2"))
    monkeypatch.setattr(gathered, "DOCUMENTS_LIMIT", len(first[1]))
    take(given, *first)
    with pytest.raises(LimitExceeded, match="at once"):
        take(given, *second)
    assert second[0].digest not in given.texts


def test_what_was_said_of_a_name_last_holds() -> None:
    given = Gathered()
    descriptor, _ = index()
    given.names += [Name("app:1", descriptor, 0), Name("app:1", None, 1), Name("app:2", descriptor, 2)]
    found = given.name("app:1")
    assert found is not None
    assert found.descriptor is None
    assert given.name("app:3") is None
