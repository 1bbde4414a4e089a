"""`copy` between places of every kind."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import ARM64

import lamina
from lamina.archive import OciLayout, open_source
from lamina.content import Reader
from lamina.digest import Digest
from lamina.errors import (
    ArchiveError,
    DigestMismatch,
    InvalidReference,
    LaminaError,
    NotFound,
    RegistryError,
    RegistryUnavailable,
    UsageError,
)
from lamina.images import ImageStore
from lamina.images.copy import Copied, copy
from lamina.images.places import Place, parse_place
from lamina.oci import Descriptor, Platform, is_index
from lamina.reference import Reference

from .archives import Built, docker_archive, layer
from .remotes import AMD64, FakeNetwork, FakeRemote, put_artifact


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: AMD64))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


class Work:
    """One store, one network, one directory."""

    def __init__(self, store: ImageStore, network: FakeNetwork, path: Path) -> None:
        self.store, self.network, self.path = store, network, path

    def __call__(self, source: str, destination: str, **options: object) -> Copied:
        return copy(self.store.blobs, self.network, self._at(source), self._at(destination), **options)  # type: ignore[arg-type]

    def _at(self, place: str) -> str:
        """`~` is the directory."""
        return place.replace("~", str(self.path))


@pytest.fixture
def work(store: ImageStore, network: FakeNetwork, tmp_path: Path) -> Work:
    return Work(store, network, tmp_path)


# -- how places are written


@pytest.mark.parametrize(("text", "kind", "path", "name"), [
    ("app", "store", ".", "app"), ("store:app:1", "store", ".", "app:1"), ("store:oci:1", "store", ".", "oci:1"),
    ("docker:27", "store", ".", "docker:27"), ("app@sha256:" + "0" * 64, "store", ".", "app@sha256:" + "0" * 64),
    ("docker://app", "docker", ".", "app"), ("docker://r.test:5000/a/b:1", "docker", ".", "r.test:5000/a/b:1"),
    ("oci:dir", "oci", "dir", ""), ("oci:/a/dir:v1", "oci", "/a/dir", "v1"),
    ("oci:dir:r.test:5000/app:1", "oci", "dir", "r.test:5000/app:1"),
    ("oci-archive:a.tar", "oci-archive", "a.tar", ""), ("docker-archive:a.tar:app:1", "docker-archive", "a.tar", "app:1"),
])
def test_places(text: str, kind: str, path: str, name: str) -> None:
    place = parse_place(text)
    assert (place.kind, place.path, place.name) == (kind, Path(path), name)
    assert parse_place(str(place)) == place


def test_a_registry_is_named_in_full() -> None:
    assert parse_place("docker://app").reference == Reference("docker.io", "library/app", "latest")
    assert parse_place("docker-archive:f:app") == Place(
        "docker-archive", Path("f"), "app", Reference("docker.io", "library/app", "latest"))


@pytest.mark.parametrize(("text", "error"), [
    ("", UsageError), ("store:", UsageError), ("oci:", UsageError), ("oci-archive::v1", UsageError), ("http://a/b", UsageError),
    ("dir://x", UsageError), ("docker://", InvalidReference), ("docker://No/Good", InvalidReference),
    ("docker-archive:f:No/Good", InvalidReference),
])
def test_what_is_no_place(work: Work, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_place(text)
    for pair in ((text, "x"), ("x", text)):
        with pytest.raises(error):
            work(*pair)
    assert work.network.repositories == {}


@pytest.mark.parametrize("destination", ["store:No/Good", "oci:~/layout:No/Good", "oci-archive:~/a.tar:a/b:c:d"])
def test_a_bad_name_is_refused_before_anything_is_asked(work: Work, destination: str) -> None:
    with pytest.raises(InvalidReference):
        work("docker://first.test/app:1", destination)
    assert work.network.repositories == {}


# -- from everywhere to everywhere

ENDS = ["docker://r.test/app:1", "oci:~/layout:v1", "oci-archive:~/a.tar:app:1", "store:app:1"]


@pytest.mark.parametrize("destination", ENDS)
@pytest.mark.parametrize("source", ENDS)
def test_digests_never_change(work: Work, source: str, destination: str) -> None:
    """The index, both images, and what refers to them, by way of two places."""
    origin = work.network["first.test/app"]
    root, amd, arm = origin.index("1")
    signature = put_artifact(origin, arm, b"signature")
    expected = {one.digest for one in (root, amd, arm, signature)}
    one = work("docker://first.test/app:1", source, referrers=True)
    assert (one.digest, one.referrers, one.warnings) == (root.digest, (signature.digest,), ())
    if source == destination:
        destination = destination.replace("app:1", "app:2").replace(":v1", ":v2")
    two = work(source, destination, referrers=True)
    assert (two.digest, two.referrers) == (root.digest, (signature.digest,))
    work(destination, "docker://last.test/app:1", referrers=True)
    last = work.network["last.test/app"]
    assert last.resolve("1").digest == root.digest
    assert expected <= set(last._blobs)
    assert last._blobs[amd.digest][1] == origin._blobs[amd.digest][1]


@pytest.mark.parametrize("destination", ENDS)
def test_one_platform_goes_by_itself(work: Work, destination: str) -> None:
    _, amd, arm = work.network["first.test/app"].index("1")
    assert work("docker://first.test/app:1", destination, platform="linux/arm64").digest == arm.digest
    work(destination, "docker://last.test/app:1")
    last = work.network["last.test/app"]
    assert last.resolve("1").digest == arm.digest
    assert amd.digest not in last._blobs


@pytest.mark.parametrize("destination", [*ENDS, "docker-archive:~/d.tar:app:1"])
def test_what_is_missing_leaves_nothing_under_the_name(work: Work, destination: str) -> None:
    origin = work.network["first.test/app"]
    origin.image("1")
    origin.cut.add(Digest.of(layer(a="x" * 500)))
    with pytest.raises(RegistryUnavailable):
        work("docker://first.test/app:1", destination)
    with pytest.raises(LaminaError):
        work(destination, "docker://last.test/app:1")


def test_a_second_copy_sends_nothing(work: Work) -> None:
    work.network["first.test/app"].image("1")
    first = work("docker://first.test/app:1", "docker://last.test/app:1")
    again = work("docker://first.test/app:1", "docker://last.test/app:1")
    assert (first.pushed, first.skipped, again.pushed, again.skipped) == (4, 0, 0, 4)


# -- registries


def test_within_a_registry_blobs_are_mounted(work: Work) -> None:
    image = work.network["r.test/one"].image("1")
    work("docker://r.test/one:1", "docker://r.test/two:1")
    two = work.network["r.test/two"]
    assert len(two.mounted) >= 3
    assert two.resolve("1").digest == image.digest
    work("docker://r.test/one:1", "docker://other.test/two:1")
    assert list(work.network["other.test/two"].mount_from(image.digest)) == []


def test_a_registry_that_wants_whole_indexes(work: Work) -> None:
    class Strict(FakeRemote):
        def push(self, descriptor: Descriptor, reader: Reader) -> None:
            if is_index(descriptor.media_type):
                raise RegistryError("MANIFEST_BLOB_UNKNOWN", self.name)
            super().push(descriptor, reader)

    work.network.repositories["r.test/app"] = Strict("r.test/app")
    work.network["first.test/app"].index("1")
    work.store.pull(["first.test/app:1"], network=work.network)
    with pytest.raises(RegistryError, match=r"MANIFEST_BLOB_UNKNOWN.*name one with --platform"):
        work("first.test/app:1", "docker://r.test/app:1")
    with pytest.raises(RegistryError, match=r"MANIFEST_BLOB_UNKNOWN, r\.test/app$"):
        work("docker://first.test/app:1", "docker://r.test/app:1")


def test_plain_layers_go_plain(work: Work) -> None:
    built = Built(layer(a="a" * 3000))
    work.store.load(docker_archive((built, ["app:1"])))
    copied = work("app:1", "docker://r.test/app:1")
    manifest = json.loads(work.network["r.test/app"]._blobs[Digest(copied.digest)][1])
    assert [one["digest"] for one in manifest["layers"]] == [Digest.of(built.layers[0])]


@pytest.mark.parametrize("destination", ["docker://r.test/app@{}", "docker://r.test/app:2@{}", "store:app@{}"])
def test_a_digest_takes_itself_alone(work: Work, destination: str) -> None:
    image = work.network["first.test/app"].image("1")
    work("docker://first.test/app:1", destination.format(image.digest))
    assert work(destination.format(image.digest), "docker://last.test/app:1").digest == image.digest
    with pytest.raises(DigestMismatch, match=f"the source has the digest {image.digest}"):
        work("docker://first.test/app:1", destination.format(Digest.of(b"other")).replace("r.test", "never.test"))
    assert not work.network["never.test/app"]._blobs


def test_a_digest_without_a_tag_sets_none(work: Work) -> None:
    image = work.network["first.test/app"].image("1")
    work("docker://first.test/app:1", f"docker://r.test/app@{image.digest}")
    assert list(work.network["r.test/app"].tags()) == []


# -- archives and layouts


def test_a_docker_archive_there_and_back(work: Work) -> None:
    image = work.network["first.test/app"].image("1")
    work("docker://first.test/app:1", "docker-archive:~/d.tar")
    with tarfile.open(work.path / "d.tar") as tar:
        items = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert items[0]["RepoTags"] == ["first.test/app:1"]
    assert work("docker-archive:~/d.tar", "docker://last.test/app:1").digest == image.digest
    assert work("docker-archive:~/d.tar:first.test/app:1", "store:app:1").digest == image.digest


def test_an_archive_without_manifests_gets_local_ones(work: Work) -> None:
    built = Built(layer(a="a"))
    (work.path / "old.tar").write_bytes(docker_archive((built, ["old:1"])).getvalue())
    work("docker-archive:~/old.tar", "store:old:2")
    row = work.store.images()[0]
    assert (row.tag, row.image_id, row.digest) == ("2", built.id, "<none>")
    work("docker-archive:~/old.tar", "docker://r.test/old:1")


def test_a_compressed_archive_needs_the_store(work: Work) -> None:
    built = Built(layer(a="a" * 2000))
    (work.path / "old.tar.gz").write_bytes(gzip.compress(docker_archive((built, ["old:1"])).getvalue()))
    with pytest.raises(UsageError, match="needs a place to take it in"):
        work("docker-archive:~/old.tar.gz", "docker://r.test/old:1")
    work("docker-archive:~/old.tar.gz", "store:old:1")
    assert work.store.images()[0].image_id == built.id


def test_one_of_several_has_to_be_named(work: Work) -> None:
    one, two = Built(layer(a="1")), Built(layer(a="2"))
    (work.path / "two.tar").write_bytes(docker_archive((one, ["one:1"]), (two, ["two:1"])).getvalue())
    with pytest.raises(UsageError, match=r"several images.*docker\.io/library/one:1, docker\.io/library/two:1"):
        work("docker-archive:~/two.tar", "store:x")
    work("docker-archive:~/two.tar:two:1", "store:x")
    assert work.store.images()[0].image_id == two.id
    with pytest.raises(NotFound):
        work("docker-archive:~/two.tar:three:1", "store:x")


def test_a_layout_without_a_tag(work: Work) -> None:
    image = work.network["first.test/app"].image("1")
    work("docker://first.test/app:1", "oci:~/layout")
    assert [(name, one.digest, str(one.platform)) for name, one in OciLayout(work.path / "layout").references()] == [
        ("", image.digest, "linux/amd64")]
    assert work("oci:~/layout", "store:app").digest == image.digest


def test_names_in_layouts_are_found_short_and_full(work: Work) -> None:
    image = work.network["first.test/app"].image("1")
    for name in ("app:1", "docker.io/library/app:2", "v3"):
        work("docker://first.test/app:1", f"oci:~/layout:{name}")
    for name in ("app:1", "docker.io/library/app:1", "app:2", "v3"):
        assert work(f"oci:~/layout:{name}", "store:app").digest == image.digest
    with pytest.raises(NotFound):
        work("oci:~/layout:v4", "store:app")


def test_a_referrer_in_a_layout_is_no_image(work: Work) -> None:
    origin = work.network["first.test/app"]
    image = origin.image("1")
    signature = put_artifact(origin, image, b"signature")
    for place in ("oci:~/layout", "oci-archive:~/a.tar"):
        work("docker://first.test/app:1", place, referrers=True)
        copied = work(place, "docker://last.test/app:1", referrers=True)
        assert (copied.digest, copied.referrers) == (image.digest, (signature.digest,))
        with open_source(work.path / place.rpartition("~/")[2]) as source:
            assert {root.digest for _, root in source.references()} == {image.digest, signature.digest}


def test_a_docker_archive_takes_no_referrers(work: Work) -> None:
    with pytest.raises(UsageError, match="no referrers"):
        work("docker://first.test/app:1", "docker-archive:~/d.tar", referrers=True)
    assert work.network.repositories == {}


def test_a_docker_archive_is_no_layout(work: Work) -> None:
    (work.path / "old.tar").write_bytes(docker_archive((Built(layer(a="a")), ["old:1"])).getvalue())
    with pytest.raises(ArchiveError, match="docker-archive"):
        work("oci-archive:~/old.tar", "store:x")


# -- the store


def test_the_store_keeps_what_had_the_name(work: Work) -> None:
    origin = work.network["first.test/app"]
    origin.image("1", text="one")
    origin.image("2", text="two")
    work("docker://first.test/app:1", "app")
    work("docker://first.test/app:2", "app")
    assert sorted(row.repository for row in work.store.images()) == ["<none>", "app"]
    assert work.store.verify().problems == []


def test_an_image_by_its_id(work: Work) -> None:
    built = Built(layer(a="a"))
    work.store.load(docker_archive((built, ["app:1"])))
    copied = work(built.id[7:19], "docker://r.test/app:1")
    assert work.network["r.test/app"].resolve("1").digest == copied.digest


@pytest.mark.parametrize("source", ["app", "docker://first.test/app:1", "oci:~/none", "oci-archive:~/none.tar"])
def test_what_is_not_there(work: Work, source: str) -> None:
    with pytest.raises((NotFound, ArchiveError)):
        work(source, "store:x")
    assert work.store.images() == []


def test_a_platform_that_is_not_there(work: Work) -> None:
    work.network["first.test/app"].index("1")
    with pytest.raises(NotFound, match="there are: linux/amd64, linux/arm64"):
        work("docker://first.test/app:1", "store:x", platform="linux/s390x")
    assert str(ARM64) == "linux/arm64"


def test_a_push_that_is_killed_can_go_on(work: Work) -> None:
    """The state of uploads outlives the process where something is written to, and there alone."""
    work.network["one.test/app"].image("1")
    work("docker://one.test/app:1", "docker://two.test/app:1")
    assert work.network.journalled == ["two.test/app"]
