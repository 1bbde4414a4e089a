"""`pull` from repositories in memory: what is asked for, what leads where, what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import describe, index_bytes, put
from contracts.samples import manifest_bytes as manifest_of

import lamina
from lamina.digest import Digest
from lamina.errors import InvalidReference, NotFound, RegistryUnavailable, UsageError
from lamina.images import ImageStore
from lamina.images.pull import Pulling, PullResult, pull
from lamina.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Platform, parse_manifest

from .archives import layer
from .remotes import AMD64, FakeNetwork, FakeRemote, put_artifact


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: AMD64))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


def names(store: ImageStore) -> set[str]:
    return {f"{row.repository}:{row.tag}" for row in store.images(all=True)}


def has(store: ImageStore, descriptor: Descriptor) -> bool:
    return store.blobs.catalog.blob(descriptor.digest) is not None


def one(store: ImageStore, network: FakeNetwork, word: str, **options: object) -> PullResult:
    found = pull(store.blobs, network, [word], **options)[0]  # type: ignore[arg-type]
    if found.error is not None:
        raise found.error
    return found


def test_a_tag_comes_whole_and_is_told_of(store: ImageStore, network: FakeNetwork) -> None:
    image = network["app"].image("latest")
    events: list[Pulling | PullResult] = []
    result = pull(store.blobs, network, ["app"], listener=events.append)[0]
    assert events == [Pulling("latest", "library/app", True), result]
    assert (result.name, result.reference, result.digest, result.newer) == (
        "docker.io/library/app:latest", "app:latest", image.digest, True)
    row = store.images()[0]
    assert (row.repository, row.tag, row.digest, row.image_id) == ("app", "latest", image.digest, result.image_id)
    assert store.verify().problems == []


def test_each_thing_is_asked_for_once(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("1")
    one(store, network, "app:1")
    assert len(remote.asked) == len(set(remote.asked)) == 5 and remote.asked[0] == "GET 1"


def test_what_is_up_to_date_costs_one_question(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("1")
    first = one(store, network, "app:1")
    remote.asked.clear()
    sequence = store.blobs.catalog.sequence()
    again = one(store, network, "app:1")
    assert remote.asked == ["GET 1"]
    assert (again.newer, again.digest, again.image_id) == (False, first.digest, first.image_id)
    assert store.blobs.catalog.sequence() == sequence


def test_layers_that_are_here_are_not_read(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("1", text="one")
    one(store, network, "app:1")
    remote.image("2", text="two")
    one(store, network, "app:2")
    assert f"fetch {Digest.of(layer(base='base' * 300))}" not in remote.asked
    assert len(remote.asked) == 4


def test_a_tag_that_moves_leaves_the_old_image_without_a_name(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("latest", text="one")
    old = one(store, network, "app")
    remote.image("latest", text="two")
    new = one(store, network, "app")
    assert new.newer
    assert {row.image_id: row.repository for row in store.images()} == {new.image_id: "app", old.image_id: "<none>"}


def test_another_tag_of_the_same_image(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("1", "2")
    one(store, network, "app:1")
    remote.asked.clear()
    assert one(store, network, "app:2").newer
    assert remote.asked == ["GET 2"]
    assert names(store) == {"app:1", "app:2"}


@pytest.mark.parametrize("word", ["app@{}", "app:1@{}"])
def test_by_digest(store: ImageStore, network: FakeNetwork, word: str) -> None:
    image = network["app"].image("1")
    events: list[Pulling | PullResult] = []
    result = pull(store.blobs, network, [word.format(image.digest)], listener=events.append)[0]
    assert events[0] == Pulling(image.digest, "library/app")
    assert (result.reference, result.newer) == (f"app@{image.digest}", True)
    assert names(store) == {"app:<none>"}
    assert not one(store, network, word.format(image.digest)).newer


def test_a_registry_that_gives_another_digest(store: ImageStore, network: FakeNetwork) -> None:
    image = network["app"].image("1")

    class Lying(FakeRemote):
        def resolve(self, reference: str) -> Descriptor:
            return super().resolve("1")

    lying = Lying("app")
    lying._blobs, lying._references = network["app"]._blobs, network["app"]._references
    network.repositories["docker.io/library/app"] = lying
    wrong = Digest.of(b"something else")
    with pytest.raises(lamina.errors.DigestMismatch, match=image.digest):
        one(store, network, f"app@{wrong}")
    assert names(store) == set()


# -- indexes


def test_of_an_index_what_serves_this_machine_comes(store: ImageStore, network: FakeNetwork) -> None:
    root, amd, arm = network["app"].index("1")
    result = one(store, network, "app:1")
    assert result.digest == root.digest
    assert (has(store, root), has(store, amd), has(store, arm)) == (True, True, False)
    network["app"].asked.clear()
    assert not one(store, network, "app:1").newer
    assert network["app"].asked == ["GET 1", f"fetch {root.digest}"] or network["app"].asked == ["GET 1"]


def test_another_platform_comes_beside(store: ImageStore, network: FakeNetwork) -> None:
    root, amd, arm = network["app"].index("1")
    one(store, network, "app:1")
    result = one(store, network, "app:1", platform="linux/arm64")
    assert (result.digest, result.newer) == (root.digest, True)
    assert has(store, amd) and has(store, arm)
    assert result.image_id == str(parse_manifest(store.blobs.document(arm.digest)).config.digest)
    assert not one(store, network, "app:1", platform="linux/arm64").newer


def test_all_platforms(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    amd, arm = remote.image(text="amd"), remote.image(text="arm", platform=Platform("linux", "arm64"))
    statement = put_artifact(remote, None, b"statement")
    root = remote._tagged(put(remote, index_bytes([amd, arm, Descriptor(
        OCI_MANIFEST, statement.digest, statement.size, Platform("unknown", "unknown"))]), OCI_INDEX), ("1",))
    one(store, network, "app:1")
    assert not has(store, statement)
    assert one(store, network, "app:1", platform="all").newer
    assert all(has(store, each) for each in (root, amd, arm, statement))
    assert not one(store, network, "app:1", platform="all").newer


def test_no_such_platform_tells_of_those_there_are(store: ImageStore, network: FakeNetwork) -> None:
    network["app"].index("1")
    with pytest.raises(NotFound, match=r"no matching manifest for linux/s390x .*app:1, there are: linux/amd64, linux/arm64$"):
        one(store, network, "app:1", platform="linux/s390x")
    network["app"].image("2")
    with pytest.raises(NotFound, match=r"does not match the specified platform: wanted linux/arm64, actual: linux/amd64$"):
        one(store, network, "app:2", platform="linux/arm64")
    assert names(store) == set()


def test_a_single_image_comes_whatever_it_is_for(store: ImageStore, network: FakeNetwork) -> None:
    network["app"].image("1", platform=Platform("linux", "arm64"))
    assert one(store, network, "app:1").newer


def test_what_is_no_image_comes_too(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["chart"]
    chart = remote._tagged(put_artifact(remote, None, b"chart", artifactType="application/x"), ("1",))
    assert one(store, network, "chart:1").image_id == chart.digest
    root = remote._tagged(put(remote, index_bytes([Descriptor(OCI_MANIFEST, chart.digest, chart.size)]), OCI_INDEX), ("all",))
    assert one(store, network, "chart:all").digest == root.digest
    assert has(store, chart)
    assert store.verify().problems == []


# -- several


def test_all_tags(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("1", text="one")
    remote.image("2", "latest", text="two")
    results = pull(store.blobs, network, ["app"], all_tags=True)
    assert [result.reference for result in results] == ["app:1", "app:2", "app:latest"]
    assert names(store) == {"app:1", "app:2", "app:latest"}


def test_lists_of_referrers_are_no_images(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    image = remote.image("1", f"sha256-{'0' * 64}", f"sha256-{'0' * 64}.sig")
    assert [result.reference for result in pull(store.blobs, network, ["app"], all_tags=True)] == [
        "app:1", f"app:sha256-{'0' * 64}.sig"]
    assert has(store, image)


def test_a_repository_without_tags(store: ImageStore, network: FakeNetwork) -> None:
    with pytest.raises(NotFound, match="no tags"):
        one(store, network, "app", all_tags=True)


def test_what_cannot_be_pulled_does_not_keep_the_others(store: ImageStore, network: FakeNetwork) -> None:
    network["app"].image("1")
    network["down"].down = RegistryUnavailable("no answer", "registry.test")
    results = pull(store.blobs, network, ["gone", "down", "app:1"])
    assert [type(result.error) for result in results] == [NotFound, RegistryUnavailable, type(None)]
    assert names(store) == {"app:1"}


@pytest.mark.parametrize(("words", "all_tags", "error"), [
    (["app", "No/Good"], False, InvalidReference), (["app:1"], True, UsageError),
    ([f"app@{Digest.of(b'')}"], True, UsageError),
])
def test_bad_words_are_refused_before_anything_is_asked(
    store: ImageStore, network: FakeNetwork, words: list[str], all_tags: bool, error: type[Exception]
) -> None:
    with pytest.raises(error):
        pull(store.blobs, network, words, all_tags=all_tags)
    assert network.repositories == {}


def test_a_bad_platform(store: ImageStore, network: FakeNetwork) -> None:
    with pytest.raises(UsageError):
        pull(store.blobs, network, ["app"], platform="a/b/c/d")


# -- what goes wrong


def test_a_broken_line_changes_nothing(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    remote.image("latest", text="one")
    before = one(store, network, "app")
    image = remote.image("latest", text="two")
    remote.cut.add(Digest.of(layer(a="two" * 500)))
    with pytest.raises(RegistryUnavailable, match="the line is cut"):
        one(store, network, "app")
    assert [(row.image_id, row.tag) for row in store.images(all=True)] == [(before.image_id, "latest")]
    assert not has(store, image)
    remote.cut.clear()
    assert one(store, network, "app").newer


def test_a_blob_that_is_missing(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    image = remote.image("1")
    del remote._blobs[Digest.of(layer(a="x" * 500))]
    with pytest.raises(NotFound, match=f"is missing, named by {image.digest}"):
        one(store, network, "app:1")
    assert names(store) == set()


def test_of_all_platforms_one_that_is_missing_is_told_of(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    root, amd, arm = remote.index("1")
    del remote._blobs[arm.digest]
    result = one(store, network, "app:1", platform="all")
    assert result.warnings == (f"app:1: {arm.digest}, named by {root.digest}, is not in the registry",)
    assert has(store, amd)
    assert not one(store, network, "app:1", platform="all").newer


def test_a_manifest_that_is_none(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    config = put(remote, b"[]", "application/vnd.oci.image.config.v1+json")
    remote._tagged(put(remote, manifest_of(config, [describe(b"layer")]), OCI_MANIFEST), ("1",))
    put(remote, b"layer")
    with pytest.raises(lamina.errors.InvalidContent):
        one(store, network, "app:1")
    assert names(store) == set()


# -- referrers


def test_referrers_come_along_and_stay(store: ImageStore, network: FakeNetwork) -> None:
    remote = network["app"]
    image = remote.image("1")
    signature = put_artifact(remote, image, b"signature")
    assert one(store, network, "app:1").referrers == ()
    assert not has(store, signature)
    result = one(store, network, "app:1", referrers=True)
    assert (result.referrers, result.newer) == ((signature.digest,), True)
    again = one(store, network, "app:1", referrers=True)
    assert (again.referrers, again.newer) == ((signature.digest,), False)
    store.gc()
    assert has(store, signature)
    # It is no image, and hangs on no list: not by itself, not in the tree, not in the figures.
    assert names(store) == {"app:1"}
    assert [node.summary.names for node in store.tree()] == [("app:1",)]
    assert len(store.df().images) == 1
    removed = store.remove(["app:1"])
    assert signature.digest not in str(removed.events)
    store.gc()
    assert not has(store, signature) and not has(store, image)
