"""A repository never sees another's content, whatever it names: what an attacker knows is digests, and at most manifests."""

from __future__ import annotations

import json

import pytest
from contracts.contents import (
    NO_MANIFEST,
    UNKNOWN,
    config_of,
    described,
    digest_of,
    everything,
    image,
    index,
    manifest,
    read,
    refused,
    upload,
)
from store.storekit import load

from lamina.images.served.contents import StoreContents
from lamina.images.served.gate import rule_names
from lamina.images.served.names import full_name, one_name, repository_of, tag_of
from lamina.oci import OCI_EMPTY, OCI_LAYER, OCI_MANIFEST
from lamina.registry.server import configured
from lamina.registry.server.access.rules import Rules
from lamina.registry.server.configured import Rule
from lamina.registry.server.contents import Document
from lamina.store import BlobStore

SECRET = b"a secret layer" * 100
CONFIG = config_of(1, SECRET)
VICTIM = manifest(CONFIG, [SECRET])
NAMES = {"mediaType": OCI_MANIFEST, "digest": str(VICTIM.digest), "size": len(VICTIM.data)}


def publish(contents: StoreContents) -> None:
    """The victim's push."""
    upload(contents, "victim", SECRET)
    upload(contents, "victim", CONFIG)
    contents.put_manifest("victim", VICTIM, ["it"])


def by_layer(contents: StoreContents) -> None:
    upload(contents, "evil", b"{}")
    contents.put_manifest("evil", manifest(b"{}", [SECRET], config_type=OCI_EMPTY), ["it"])


def by_index(contents: StoreContents) -> None:
    contents.put_manifest("evil", index([VICTIM]), ["it"])


def by_nested_index(contents: StoreContents) -> None:
    inner = index([VICTIM])
    contents.put_manifest("evil", inner, [])
    contents.put_manifest("evil", index([inner]), ["it"])


def by_index_and_its_bytes(contents: StoreContents) -> None:
    """The manifest is known to the attacker, its layers are not."""
    contents.put_manifest("evil", index([VICTIM]), ["it"])
    upload(contents, "evil", VICTIM.data)


def by_its_bytes_and_an_index(contents: StoreContents) -> None:
    upload(contents, "evil", VICTIM.data)
    contents.put_manifest("evil", index([VICTIM]), ["it"])


def by_its_bytes_as_layer(contents: StoreContents) -> None:
    upload(contents, "evil", VICTIM.data)
    upload(contents, "evil", b"{}")
    contents.put_manifest("evil", manifest(b"{}", [VICTIM.data], config_type=OCI_EMPTY), ["it"])


def by_its_bytes_as_layer_and_an_index(contents: StoreContents) -> None:
    by_its_bytes_as_layer(contents)
    contents.put_manifest("evil", index([VICTIM]), ["it"])


def by_its_bytes_as_config(contents: StoreContents) -> None:
    upload(contents, "evil", VICTIM.data)
    contents.put_manifest("evil", manifest(VICTIM.data, []), ["it"])


def by_another_media_type(contents: StoreContents) -> None:
    contents.put_manifest("evil", Document(VICTIM.digest, "application/vnd.evil+json", VICTIM.data), ["it"])


def by_the_manifest_and_its_config(contents: StoreContents) -> None:
    """All but the layer is known."""
    upload(contents, "evil", CONFIG)
    contents.put_manifest("evil", VICTIM, ["it"])


def by_subject(contents: StoreContents) -> None:
    upload(contents, "evil", b"{}")
    contents.put_manifest("evil", manifest(b"{}", [], config_type=OCI_EMPTY, subject=NAMES), ["it"])
    contents.put_manifest("evil", index([], subject=NAMES, annotations={"x": str(VICTIM.digest)}), ["too"])


def by_deleting(contents: StoreContents) -> None:
    """Deleting and putting again must not close a gap."""
    by_layer(contents)
    contents.delete_manifest("evil", contents.manifest("evil", "it").digest)
    by_layer(contents)
    image(contents, "evil", 5, "other")


WAYS = [by_layer, by_index, by_nested_index, by_index_and_its_bytes, by_its_bytes_and_an_index, by_its_bytes_as_layer,
        by_its_bytes_as_layer_and_an_index, by_its_bytes_as_config, by_another_media_type, by_the_manifest_and_its_config,
        by_subject, by_deleting]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_naming_it_gives_no_right_to_it(served: StoreContents, way, before: bool) -> None:
    """Nor does naming it before it is there; and the victim's own things stay its own, and as they were."""
    if before:
        way(served)
        publish(served)
    else:
        publish(served)
        way(served)
    served.store.collect(max_unused=0)
    with refused(*UNKNOWN):
        served.blob("evil", digest_of(SECRET))
    with refused(*UNKNOWN):
        served.open_blob("evil", digest_of(SECRET), 0, 1)
    assert served.mount("more", digest_of(SECRET), "evil", everything) is None
    assert served.mount("more", digest_of(SECRET), None, lambda name: name == "evil") is None
    assert served.manifest("victim", "it") == VICTIM
    assert served.manifest("victim", VICTIM.digest) == VICTIM
    assert served.referrers("victim", VICTIM.digest) == []
    assert read(served, "victim", digest_of(SECRET)) == SECRET


@pytest.mark.parametrize("way", [by_index, by_nested_index, by_subject, by_index_and_its_bytes, by_its_bytes_as_layer])
@pytest.mark.parametrize("before", [True, False])
def test_nor_to_the_manifest(served: StoreContents, way, before: bool) -> None:
    (way if before else publish)(served)
    (publish if before else way)(served)
    with refused(*NO_MANIFEST):
        served.manifest("evil", VICTIM.digest)


@pytest.mark.parametrize("way", [by_layer, by_index, by_the_manifest_and_its_config])
def test_answers_do_not_tell_whether_another_one_has_it(served: StoreContents, way) -> None:
    """Each way goes through just as when nobody has it; so does a manifest with a wrong size of what is elsewhere."""
    way(served)
    publish(served)
    way(served)
    upload(served, "evil", b"{}")
    wrong = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(b"{}", OCI_EMPTY),
                        "layers": [described(SECRET, OCI_LAYER) | {"size": 1}]}).encode()
    served.put_manifest("evil", Document(digest_of(wrong), OCI_MANIFEST, wrong), ["wrong"])
    with refused("MANIFEST_BLOB_UNKNOWN"):
        served.put_manifest("evil", manifest(SECRET, [], config_type=OCI_EMPTY), ["config"])
    with refused("MANIFEST_BLOB_UNKNOWN"):
        served.put_manifest("evil", manifest(b"nobody's", [], config_type=OCI_EMPTY), ["config"])


@pytest.mark.parametrize("way", [by_layer, by_the_manifest_and_its_config])
def test_who_brings_it_has_it(served: StoreContents, way) -> None:
    publish(served)
    way(served)
    upload(served, "evil", SECRET)
    assert read(served, "evil", digest_of(SECRET)) == SECRET
    with served.store.catalog.transaction() as tx:
        tx.expire_links(1 << 40)
    assert read(served, "evil", digest_of(SECRET)) == SECRET  # from now on by its manifest


def test_an_index_becomes_whole(served: StoreContents) -> None:
    every = index([VICTIM])
    served.put_manifest("app", every, ["all"])
    upload(served, "app", SECRET)
    upload(served, "app", CONFIG)
    served.put_manifest("app", VICTIM, [])
    assert served.manifest("app", VICTIM.digest) == VICTIM
    with served.store.catalog.transaction() as tx:
        tx.expire_links(1 << 40)
    assert read(served, "app", digest_of(SECRET)) == SECRET


def test_gaps_go_with_what_names_them(served: StoreContents) -> None:
    by_layer(served)
    assert served.store.catalog.links.gaps(full_name("evil"))
    served.delete_manifest("evil", served.manifest("evil", "it").digest)
    served.store.collect()  # drops the manifest
    served.store.collect()  # and finds that nothing names the layer
    assert not served.store.catalog.links.gaps(full_name("evil"))


def test_who_works_on_the_store_gives_all_of_it(served: StoreContents) -> None:
    """A load into a repository, or a tag there, is no client's: it has what is below."""
    by_layer(served)
    publish(served)
    with served.store.session() as session:
        session.tag(served.store.resolve(f"{full_name('victim')}:it"), f"{full_name('evil')}:mine")
        session.commit()
    assert served.manifest("evil", "mine") == VICTIM
    assert read(served, "evil", digest_of(SECRET)) == SECRET


def test_what_was_loaded_is_served_with_all_that_it_leads_to(served: StoreContents, store: BlobStore) -> None:
    descriptor = load(store, "loaded", SECRET)
    assert served.repositories("", 10) == ["loaded"]
    assert served.tags("loaded", "", 10) == ["latest"]
    found = served.manifest("loaded", "latest")
    assert found == served.manifest("loaded", descriptor.digest)
    for child in (json.loads(found.data)["config"], *json.loads(found.data)["layers"]):
        assert served.blob("loaded", child["digest"]).size == child["size"]
    assert read(served, "loaded", digest_of(SECRET)) == SECRET


# -- names


@pytest.mark.parametrize("name", ["docker.io/library/app", "library/app", "index.docker.io/app", "docker.io/app",
                                  "docker.io/you/app", "index.docker.io/you/app"])
def test_spellings_of_a_name_are_one_repository(served: StoreContents, name: str) -> None:
    """Rules are by name: they are asked by the one that all spellings have."""
    image(served, "app", 1, "it")
    image(served, "you/app", 2, "it")
    shown = one_name(name)
    assert shown in ("app", "you/app") and served.tags(name, "", 5) == ["it"]
    assert served.manifest(name, "it") == served.manifest(shown, "it")
    rule = Rule((shown,), frozenset(("pull",)), anonymous=True)
    rights = Rules([rule], {}, rule_names(configured.Settings()))
    assert rights.allow("", name, "pull") and not rights.allow("", f"{name}2", "pull")


@pytest.mark.parametrize(("name", "shown"), [
    ("docker.io/library/app:1", "app"), ("docker.io/you/app:1", "you/app"),
    ("quay.io/you/app@sha256:" + "0" * 64, "quay.io/you/app"),
    ("docker.io/library/you/app:1", "library/you/app"), ("localhost/app:1", "localhost/app"),
    ("localhost:5000/app:1", None), ("[::1]:5000/app:1", None), ("Upper/app:1", None), ("@sha256:" + "0" * 64, None),
    ("docker.io/localhost/app:1", None), ("docker.io/quay.io/app:1", None), ("no name at all", None), ("", None),
])
def test_names_that_cannot_be_said_in_a_url_are_not_listed(name: str, shown: str | None) -> None:
    assert repository_of(name) == shown
    if shown is not None:
        assert name.startswith(full_name(shown))


def test_names_of_the_store_that_are_none_of_a_registry(served: StoreContents, store: BlobStore) -> None:
    descriptor = load(store, "app", SECRET)
    with store.session() as session:
        for name in ("localhost:5000/app:1", "docker.io/localhost/app:1", f"@{descriptor.digest}"):
            session.tag(descriptor, name)
        session.commit()
    assert served.repositories("", 10) == ["app"]


def test_tags_of_names() -> None:
    assert tag_of("docker.io/library/app:1", "docker.io/library/app") == "1"
    assert tag_of("docker.io/library/app@sha256:00", "docker.io/library/app") is None
    assert tag_of("docker.io/library/app:1@sha256:00", "docker.io/library/app") is None
