"""Pushes over the real client to a registry in memory: what is sent, what is not sent twice, what is remembered."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from registry.fake import Fake
from registry.server import Exchange

import lamina
from lamina.content import compress
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import DigestMismatch, InvalidReference, NotFound, RegistryError, RegistryUnavailable, UsageError
from lamina.images import ImageStore
from lamina.images.push import Pushing, PushResult
from lamina.oci import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Platform, make_manifest, parse_manifest
from lamina.registry.network import Network

from .archives import Built, docker_archive, layer, oci_archive, sha256
from .pushkit import Told, asked, manifest, network

NOISE = random.Random(3)
BASE = Built(layer(a="a" * 5000, b=NOISE.randbytes(40_000).hex()), created="2024-01-01T00:00:00Z")
APP = Built(*BASE.layers, layer(c=NOISE.randbytes(9000).hex()), created="2024-01-02T00:00:00Z")
ARM = Built(layer(arm="x" * 700), architecture="arm64")
AMD = Built(layer(amd=NOISE.randbytes(30_000).hex()))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: Platform("linux", "amd64")))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        fake.strict = True
        yield fake


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as found:
        yield found


@pytest.fixture
def host(fake: Fake, store: ImageStore) -> str:
    """The registry's name; `host/app:1` is an image without a manifest of its own, `host/multi:1` an index of two."""
    name = fake.server.host
    store.load(docker_archive((APP, [f"{name}/app:1"])))
    store.load(oci_archive(AMD, ARM, name=f"{name}/multi:1"))
    return name


def only(results: list[PushResult]) -> PushResult:
    (result,) = results
    if result.error is not None:
        raise result.error
    return result


def unpacked(fake: Fake, repository: str, tag: str) -> list[bytes]:
    """The plain layers of an image in the registry."""
    here, out = fake.repositories[repository], []
    for one in manifest(fake, repository, tag)["layers"]:
        data = here.blobs[one["digest"]]
        assert (sha256(data), len(data)) == (one["digest"], one["size"])
        if one["mediaType"].endswith("+gzip"):
            data = gzip.decompress(data)
        elif one["mediaType"].endswith("+zstd"):
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
        out.append(data)
    return out


# -- plain layers


@pytest.mark.parametrize("compression", ["gzip", "gzip:1", "zstd", "none"])
def test_plain_layers_are_compressed_and_the_image_keeps_its_id(
        store: ImageStore, fake: Fake, net: Network, host: str, compression: str) -> None:
    told = Told()
    result = only(store.push([f"{host}/app:1"], compression=compression, network=net, progress=told))
    pushed = manifest(fake, "app", "1")
    assert pushed["config"]["digest"] == APP.id and fake.repositories["app"].blobs[APP.id] == APP.config
    assert unpacked(fake, "app", "1") == list(APP.layers)
    data = fake.repositories["app"].manifests[fake.repositories["app"].tags["1"]][1]
    assert (result.reference, result.tag, result.digest, result.size) == (f"{host}/app:1", "1", sha256(data), len(data))
    assert result.sent == sum(map(len, fake.repositories["app"].blobs.values())) and not result.current
    for plain in APP.layers:
        assert told.words[sha256(plain)] == ["waiting", f"start {len(plain)}", "uploading", "done: pushed"]
        assert told.bytes[sha256(plain)] == len(plain)


def test_a_second_push_asks_once_and_sends_nothing(
        store: ImageStore, fake: Fake, net: Network, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = only(store.push([f"{host}/app:1"], network=net))
    monkeypatch.setattr(compress.GzipReader, "_pack", None)
    asked(fake)
    told = Told()
    second = only(store.push([f"{host}/app:1"], network=net, progress=told))
    assert asked(fake) == ["HEAD manifests"]
    assert (second.digest, second.size, second.sent, second.current) == (first.digest, first.size, 0, True)
    assert told.words == {sha256(plain): ["done: exists"] for plain in APP.layers}


def test_config_and_manifest_come_last_and_the_tag_at_the_end(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    only(store.push([f"{host}/app:1"], network=net))
    writes = [one.path for one in fake.seen if one.method == "PUT"]
    assert [path.rpartition("/")[2] for path in writes[-2:]] == [fake.repositories["app"].tags["1"], "1"]
    assert f"digest={APP.id}" in writes[-3]


def test_another_tag_of_the_same_image_sends_the_tag_alone(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    first = only(store.push([f"{host}/app:1"], network=net))
    store.tag(f"{host}/app:1", f"{host}/app:2")
    asked(fake)
    second = only(store.push([f"{host}/app:2"], network=net))
    assert second.digest == first.digest and not second.current and second.sent == 0
    assert asked(fake) == ["HEAD manifests", "HEAD manifests", "GET manifests", "PUT manifests"]
    assert fake.repositories["app"].tags == {"1": first.digest, "2": first.digest}


def test_another_image_sends_what_is_new(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    only(store.push([f"{host}/app:1"], network=net))
    store.load(docker_archive((BASE, [f"{host}/app:base"])))
    told = Told()
    result = only(store.push([f"{host}/app:base"], network=net, progress=told))
    assert told.words[sha256(BASE.layers[0])] == ["waiting", "done: exists"]
    assert result.sent == len(BASE.config)
    assert unpacked(fake, "app", "base") == list(BASE.layers)


def test_another_repository_of_the_registry_mounts(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    only(store.push([f"{host}/app:1"], network=net))
    store.tag(f"{host}/app:1", f"{host}/other/name:1")
    told = Told()
    asked(fake)
    result = only(store.push([f"{host}/other/name:1"], network=net, progress=told))
    assert all(words == ["waiting", "done: mounted from app"] for words in told.words.values()) and told.words
    assert result.sent == 0 and not [word for word in asked(fake) if word in ("PUT uploads", "PATCH uploads")]
    assert unpacked(fake, "other/name", "1") == list(APP.layers)


def test_a_mount_that_is_refused_is_an_upload(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    only(store.push([f"{host}/app:1"], network=net))
    fake.repositories["app"].blobs.clear()
    store.tag(f"{host}/app:1", f"{host}/other/name:1")
    result = only(store.push([f"{host}/other/name:1"], network=net))
    assert result.sent == sum(map(len, fake.repositories["other/name"].blobs.values()))
    assert unpacked(fake, "other/name", "1") == list(APP.layers)
    # A place that was of no use is not tried again.
    for digest in fake.repositories["other/name"].blobs:
        assert store.blobs.catalog.remembered.places(host, digest) == ["other/name"]


def test_what_the_registry_has_lost_is_pushed_again(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    first = only(store.push([f"{host}/app:1"], network=net))
    del fake.repositories["app"]
    told = Told()
    again = only(store.push([f"{host}/app:1"], network=net, progress=told))
    assert again.digest == first.digest and again.sent == first.sent
    assert unpacked(fake, "app", "1") == list(APP.layers)
    assert all(words[-1] == "done: pushed" for words in told.words.values())


def test_force_asks_for_each_layer(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    only(store.push([f"{host}/app:1"], network=net))
    # A registry that has lost a layer and kept the manifest.
    layers = [one["digest"] for one in manifest(fake, "app", "1")["layers"]]
    del fake.repositories["app"].blobs[layers[0]]
    assert only(store.push([f"{host}/app:1"], network=net)).current
    forced = only(store.push([f"{host}/app:1"], network=net, force=True))
    assert not forced.current and forced.sent == len(fake.repositories["app"].blobs[layers[0]])
    assert unpacked(fake, "app", "1") == list(APP.layers)


def test_a_library_that_makes_other_bytes_is_no_reason_to_fail(
        store: ImageStore, fake: Fake, net: Network, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = only(store.push([f"{host}/app:1"], network=net))
    del fake.repositories["app"]
    monkeypatch.setattr(compress, "_GZIP_HEADER", compress._GZIP_HEADER[:-1] + b"\x03")
    second = only(store.push([f"{host}/app:1"], network=net))
    assert second.digest != first.digest
    assert unpacked(fake, "app", "1") == list(APP.layers)
    assert only(store.push([f"{host}/app:1"], network=net)).current
    assert [row.digest for row in store.images() if row.tag == "1" and row.repository == f"{host}/app"] == [second.digest]


def test_layers_that_come_twice_are_sent_once(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    twice = Built(BASE.layers[0], layer(z="z"), BASE.layers[0])
    store.load(docker_archive((twice, [f"{host}/twice:1"])))
    only(store.push([f"{host}/twice:1"], network=net))
    assert unpacked(fake, "twice", "1") == list(twice.layers)
    assert len(fake.repositories["twice"].blobs) == 3


def test_the_settings_are_parts_of_what_is_remembered(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    first = only(store.push([f"{host}/app:1"], network=net))
    second = only(store.push([f"{host}/app:1"], network=net, compression="zstd"))
    assert first.digest != second.digest and unpacked(fake, "app", "1") == list(APP.layers)
    assert only(store.push([f"{host}/app:1"], network=net, compression="zstd")).current
    third = only(store.push([f"{host}/app:1"], network=net, compression="gzip"))
    assert third.digest == first.digest and third.sent == 0


def test_a_layer_that_is_compressed_already_stays_as_it_is(
        store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    packed = gzip.compress(APP.layers[0], mtime=1)
    with store.blobs.session() as session:
        layers = [Descriptor(OCI_LAYER + "+gzip", Digest.of(packed), len(packed)), *stored_layers(store, host)[1:]]
        session.push(layers[0], BytesReader(packed))
        data = make_manifest(APP.config, layers)
        root = Descriptor(OCI_MANIFEST, Digest.of(data), len(data))
        session.push(root, BytesReader(data))
        session.mark_made(root)
        session.tag(root, f"{host}/mixed:1")
        session.commit()
    only(store.push([f"{host}/mixed:1"], network=net))
    assert unpacked(fake, "mixed", "1") == list(APP.layers)
    assert fake.repositories["mixed"].blobs[sha256(packed)] == packed
    # A registry that has stored something else.
    del fake.repositories["mixed"]
    fake.fault("PUT", "/uploads/", lambda exchange: stored_else(exchange, sha256(packed)))
    assert isinstance(store.push([f"{host}/mixed:1"], network=net)[0].error, DigestMismatch)


def stored_layers(store: ImageStore, host: str) -> tuple[Descriptor, ...]:
    return parse_manifest(store.blobs.document(store.blobs.resolve(f"{host}/app:1").digest)).layers


def stored_else(exchange: Exchange, digest: str) -> bool:
    if digest not in exchange.path:
        return False
    exchange.read()
    exchange.reply(201, {"Docker-Content-Digest": sha256(b"something else"), "Location": "/v2/"})
    return True


# -- what is shown afterwards


def test_the_digest_that_was_pushed_is_shown(store: ImageStore, net: Network, host: str) -> None:
    def digests() -> dict[str, str]:
        return {f"{row.repository}:{row.tag}": row.digest for row in store.images()}

    assert digests()[f"{host}/app:1"] == "<none>"
    store.tag(f"{host}/app:1", f"{host}/other:1")
    pushed = only(store.push([f"{host}/app:1"], network=net)).digest
    assert (digests()[f"{host}/app:1"], digests()[f"{host}/other:1"]) == (pushed, "<none>")
    for name in (f"{host}/app:1", f"{host}/app@{pushed}"):
        assert store.inspect([name])[0]["RepoDigests"] == [f"{host}/app@{pushed}"]
    with pytest.raises(NotFound):
        store.inspect([f"{host}/other@{pushed}"])
    plain = only(store.push([f"{host}/other:1"], network=net, compression="none")).digest
    assert digests()[f"{host}/other:1"] == plain
    removed = store.remove([f"{host}/app:1"])
    assert ("Untagged", f"{host}/app@{pushed}") in removed.events


def test_collection_takes_what_was_remembered(store: ImageStore, net: Network, host: str) -> None:
    only(store.push([f"{host}/app:1"], network=net))
    memory, plain = store.blobs.catalog.remembered, sha256(APP.layers[0])
    assert memory.encoding(plain, "gzip:2") and memory.digests()
    store.remove([f"{host}/app:1"])
    store.gc()
    assert memory.encoding(plain, "gzip:2") is None and not memory.digests()


# -- manifests from elsewhere


def test_an_index_goes_as_it_is(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    told = Told()
    result = only(store.push([f"{host}/multi:1"], network=net, progress=told))
    here = fake.repositories["multi"]
    assert here.tags["1"] == result.digest == store.blobs.catalog.ref(f"{host}/multi:1").digest
    assert here.manifests[result.digest][0] == result.media_type == OCI_INDEX
    assert {sha256(AMD.manifest()), sha256(ARM.manifest())} < set(here.manifests)
    assert here.blobs[sha256(ARM.layers[0])] == ARM.layers[0]
    assert told.words[sha256(ARM.layers[0])] == [
        "waiting", f"start {len(ARM.layers[0])}", "uploading", "done: pushed"]
    assert result.sent == sum(map(len, here.blobs.values()))
    asked(fake)
    again = only(store.push([f"{host}/multi:1"], network=net))
    assert again.current and asked(fake) == ["HEAD manifests"]


def test_one_platform_goes_by_itself(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    result = only(store.push([f"{host}/multi:1"], platform="linux/arm64", network=net))
    assert result.digest == sha256(ARM.manifest()) == fake.repositories["multi"].tags["1"]
    assert list(fake.repositories["multi"].manifests) == [result.digest]


def test_an_index_that_is_not_all_here(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    other = Built(layer(arm="another"), architecture="arm64")
    store.load(oci_archive(AMD, other, name=f"{host}/half:1"), platform="linux/amd64")
    with pytest.raises(NotFound, match=r"not all of the image is here: linux/arm64 missing, .*half:1, push one platform"):
        only(store.push([f"{host}/half:1"], network=net))
    assert not fake.repositories["half"].blobs and not fake.asked("POST")
    assert only(store.push([f"{host}/half:1"], platform="linux/amd64", network=net)).digest == sha256(AMD.manifest())
    with pytest.raises(NotFound):
        only(store.push([f"{host}/half:1"], platform="linux/arm64", network=net))


def test_a_platform_that_there_is_none_for(store: ImageStore, net: Network, host: str) -> None:
    for name in ("app", "multi"):
        with pytest.raises(NotFound, match="linux/s390x"):
            only(store.push([f"{host}/{name}:1"], platform="linux/s390x", network=net))


def test_an_index_to_another_repository_mounts(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    only(store.push([f"{host}/multi:1"], network=net))
    store.tag(f"{host}/multi:1", f"{host}/copy:1")
    told = Told()
    result = only(store.push([f"{host}/copy:1"], network=net, progress=told))
    assert result.sent == 0 and all(words[-1] == "done: mounted from multi" for words in told.words.values())
    assert fake.repositories["copy"].tags["1"] == result.digest


def test_what_was_pulled_is_mounted_elsewhere(store: ImageStore, fake: Fake, net: Network, host: str, tmp_path: Path) -> None:
    only(store.push([f"{host}/multi:1"], network=net))
    with lamina.open(tmp_path / "other") as other:
        assert other.pull([f"{host}/multi:1"], platform="all", network=net)[0].error is None
        other.tag(f"{host}/multi:1", f"{host}/mine:1")
        told = Told()
        result = only(other.push([f"{host}/mine:1"], network=net, progress=told))
    assert result.sent == 0 and all(words[-1] == "done: mounted from multi" for words in told.words.values()) and told.words


# -- names


def test_docker_words_for_names(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    heard: list[object] = []
    store.tag(f"{host}/app:1", f"{host}/app:latest")
    results = store.push([f"{host}/app", f"{host}/none", f"{host}/app:9"], network=net, listener=heard.append)
    assert heard[0] == Pushing(f"{host}/app", "latest") and heard[1] is results[0]
    assert [str(result.error or "") for result in results] == [
        "", f"An image does not exist locally with the tag: {host}/none", f"tag does not exist: {host}/app:9"]
    assert results[0].tag == "latest" and set(fake.repositories["app"].tags) == {"latest"}


def test_all_tags_of_a_repository(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    store.load(docker_archive((BASE, [f"{host}/app:base"])))
    store.tag(f"{host}/app:1", f"{host}/app-and-more:1")
    results = store.push([f"{host}/app"], all_tags=True, network=net)
    assert [result.tag for result in results] == ["1", "base"] and not any(result.error for result in results)
    assert set(fake.repositories["app"].tags) == {"1", "base"}
    assert "app-and-more" not in fake.repositories
    assert results[1].sent == len(BASE.config)


@pytest.mark.parametrize(("words", "options", "error"), [
    (["app@sha256:" + "1" * 64], {}, "cannot push a digest reference"),
    (["app:1@sha256:" + "1" * 64], {}, "cannot push a digest reference"),
    (["app:1"], {"all_tags": True}, "tag can't be used with --all-tags/-a"),
    (["app:1"], {"compression": "gzip:9"}, "unknown compression 'gzip:9'"),
    (["app:1"], {"compression": "xz"}, "unknown compression 'xz'"),
    (["ok:1", "1" * 64], {}, "cannot specify 64-byte hexadecimal strings"),
    (["ok:1", "UPPER"], {}, "must be lowercase"),
])
def test_calls_that_are_wrong_ask_nothing(store: ImageStore, words: list[str], options: dict[str, object], error: str) -> None:
    with pytest.raises((UsageError, InvalidReference), match=error):
        store.push(words, network=None, **options)  # type: ignore[arg-type]


# -- what goes wrong


def refuse(status: int, words: bytes = b'{"errors": [{"code": "DENIED", "message": "no room"}]}'):  # type: ignore[no-untyped-def]
    def hook(exchange: Exchange) -> bool:
        exchange.read()
        exchange.reply(status, {"Content-Type": "application/json"}, words)
        return True
    return hook


@pytest.mark.parametrize("request_", ["HEAD /manifests/", "POST /uploads/", "PUT /uploads/", "PUT /manifests/sha256:",
                                      "PUT /manifests/1"])
@pytest.mark.parametrize("name", ["app", "multi"])
def test_a_registry_that_refuses(store: ImageStore, fake: Fake, net: Network, host: str, request_: str, name: str) -> None:
    only(store.push([f"{host}/{name}:1"], network=net))
    del fake.repositories[name]
    fake.fault(*request_.split(), refuse(403))
    result = store.push([f"{host}/{name}:1"], network=net)[0]
    assert isinstance(result.error, RegistryError) and "\n" not in str(result.error)
    assert not fake.repositories[name].tags
    fake._faults.clear()
    only(store.push([f"{host}/{name}:1"], network=net))
    assert fake.repositories[name].tags


def test_the_next_name_is_pushed_after_one_that_fails(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    fake.fault("PUT", "/v2/app/manifests", refuse(400))
    results = store.push([f"{host}/app:1", f"{host}/multi:1"], network=net)
    assert isinstance(results[0].error, RegistryError) and results[1].error is None


def test_a_registry_that_goes_on_breaking_off(store: ImageStore, fake: Fake, net: Network, host: str) -> None:
    fake.fault("PUT", "/uploads/", lambda exchange: exchange.cut() or True)
    result = store.push([f"{host}/app:1"], network=net)[0]
    assert isinstance(result.error, RegistryUnavailable)


@pytest.mark.parametrize("name", ["app", "multi"])
def test_a_push_that_broke_off_goes_on_in_the_middle(
        store: ImageStore, fake: Fake, net: Network, host: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = 1000
    monkeypatch.setattr("lamina.registry.pushing.PIECE", piece)
    large = Built(layer(noise=random.Random(1).randbytes(30_000).hex()))
    app = name == "app"
    store.load(docker_archive((large, [f"{host}/app:large"])) if app else oci_archive(large, name=f"{host}/multi:large"))
    fake.stateful = True
    fake.fault("PATCH", "/uploads/", lambda exchange: exchange.cut() or True, skip=20)
    fake.fault("GET", "/uploads/", lambda exchange: exchange.cut() or True)
    result = store.push([f"{host}/{name}:large"], network=net)[0]
    assert isinstance(result.error, RegistryUnavailable)
    journal = store.blobs.path / "state" / "uploads"
    assert len(list(journal.iterdir())) == 1
    fake._faults.clear()
    fake.seen.clear()
    only(store.push([f"{host}/{name}:large"], network=net))
    there = max(map(len, fake.repositories[name].blobs.values()))
    assert there > 30 * piece
    assert sum(one.size for one in fake.asked("PATCH")) <= there - 20 * piece
    assert not app or unpacked(fake, name, "large") == list(large.layers)
    assert not list(journal.iterdir())


@pytest.mark.parametrize("name", ["app", "multi"])
def test_damage_is_not_pushed(store: ImageStore, fake: Fake, net: Network, host: str, name: str) -> None:
    for pack in (store.blobs.path / "packs").rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            for place in range(4096, len(data) - 4096, 64):
                data[place] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(data)
    store.blobs.packs.close()
    result = store.push([f"{host}/{name}:1"], network=net)[0]
    assert result.error is not None and not fake.repositories[name].tags
    for digest, data in fake.repositories[name].blobs.items():
        assert sha256(data) == digest


