"""Manifests and indexes from a registry are what they are called, or refused in one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from contracts.samples import config_bytes, describe, index_bytes, manifest_bytes, put_image

from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.errors import DigestMismatch, InvalidContent, LaminaError, LimitExceeded, NotFound, RegistryError
from lamina.mediatypes import DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from lamina.oci import Descriptor
from lamina.reference import Reference
from lamina.registry.target import RegistryTarget
from registry.fake import Fake
from registry.kit import NAME, target_of
from registry.server import Exchange

MANIFEST = manifest_bytes(describe(config_bytes([]), OCI_CONFIG), [])
OTHER = manifest_bytes(describe(config_bytes([]), OCI_CONFIG), [], annotations={"a": "b"})
INDEX = index_bytes([describe(MANIFEST, OCI_MANIFEST)])
SCHEMA1 = json.dumps({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []}).encode()
ONE = "/manifests/one$"


def bare(document: bytes) -> bytes:
    """Without its own word of what it is."""
    fields = json.loads(document)
    del fields["mediaType"]
    return json.dumps(fields).encode()


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        yield fake


@pytest.fixture
def target(fake: Fake) -> Iterator[RegistryTarget]:
    with target_of(fake) as target:
        yield target


def served(data: bytes, media_type: str = OCI_MANIFEST, **headers: str) -> Callable[[Exchange], bool]:
    def hook(exchange: Exchange) -> bool:
        given = {"Content-Type": media_type} if media_type else {}
        exchange.reply(200, given | {"Content-Length": str(len(data))}
                       | {name.replace("_", "-"): value for name, value in headers.items()}, data)
        return True
    return hook


@pytest.mark.parametrize(("data", "media_type", "found"), [
    (MANIFEST, OCI_MANIFEST, OCI_MANIFEST),
    (INDEX, OCI_INDEX, OCI_INDEX),
    (MANIFEST, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
    (MANIFEST, "application/json", OCI_MANIFEST),
    (MANIFEST, "", OCI_MANIFEST),
    (INDEX, "text/plain", OCI_INDEX),
    (bare(MANIFEST), OCI_MANIFEST, OCI_MANIFEST),
    (bare(MANIFEST), DOCKER_MANIFEST, DOCKER_MANIFEST),
    (bare(INDEX), DOCKER_LIST, DOCKER_LIST),
    (bare(INDEX), "application/json", OCI_INDEX),
    (bare(MANIFEST), "application/json", OCI_MANIFEST),
    # Two names of one kind: its own word counts.
    (MANIFEST, DOCKER_MANIFEST, OCI_MANIFEST),
])
def test_media_types(fake: Fake, target: RegistryTarget, data: bytes, media_type: str, found: str) -> None:
    fake.fault("GET", ONE, served(data, media_type))
    assert target.manifest("one") == (Descriptor(found, Digest.of(data), len(data)), data)


@pytest.mark.parametrize(("data", "media_type", "said"), [
    (INDEX, OCI_MANIFEST, "serves an index as a manifest"),
    (MANIFEST, OCI_INDEX, "serves a manifest as an index"),
    (INDEX, DOCKER_MANIFEST, "serves an index as a manifest"),
    (bare(INDEX), OCI_MANIFEST, "manifests stands in a manifest"),
    (bare(MANIFEST), OCI_INDEX, "stands in an index"),
    (b"{}", OCI_MANIFEST, "config is missing"),
    (b"{}", "application/json", "neither a manifest nor an index"),
    (b"", OCI_MANIFEST, "not JSON"),
    (b"[]", OCI_MANIFEST, "not a JSON object"),
    (MANIFEST[:-1], OCI_MANIFEST, "not JSON"),
    (json.dumps(json.loads(MANIFEST) | {"mediaType": "x/y"}).encode(), "application/json", "unknown type 'x/y'"),
    (json.dumps(json.loads(MANIFEST) | {"mediaType": "x/y"}).encode(), OCI_MANIFEST, "serves 'x/y' as a manifest"),
    (SCHEMA1, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
    (SCHEMA1, "application/vnd.docker.distribution.manifest.v1+json", "schema 1"),
    (SCHEMA1, "application/json", "schema 1"),
    (SCHEMA1, OCI_MANIFEST, "schema 1"),
    (b'{"a":' * 100 + b"1" + b"}" * 100, OCI_MANIFEST, "nested too deep"),
])
def test_what_it_is_not(fake: Fake, target: RegistryTarget, data: bytes, media_type: str, said: str) -> None:
    fake.fault("GET", ONE, served(data, media_type))
    with pytest.raises(LaminaError, match=said) as caught:
        target.resolve("one")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_html_is_no_registry(fake: Fake, target: RegistryTarget, method: str) -> None:
    fake.fault(method, ONE, served(b"<html>welcome", "text/html"))
    with pytest.raises(RegistryError, match="not a registry"):
        (target.resolve if method == "GET" else target.head)("one")


def test_schema_1_is_asked_for_last(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", ONE, served(MANIFEST))
    target.resolve("one")
    accepted = fake.seen[-1].headers["Accept"].split(", ")
    assert accepted[:4] == [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST]
    assert all("manifest.v1+" in one and one.endswith(";q=0.1") for one in accepted[4:]) and len(accepted) == 6


def test_a_manifest_of_100_mb_is_not_read(fake: Fake, target: RegistryTarget) -> None:
    sent = []

    def huge(exchange: Exchange) -> bool:
        exchange.raw(f"HTTP/1.1 200 OK\r\nContent-Type: {OCI_MANIFEST}\r\nContent-Length: 100000000\r\n\r\n".encode())
        for _ in range(100):
            exchange.raw(bytes(1 << 20))
            sent.append(1)
        return True
    fake.fault("GET", ONE, huge)
    with pytest.raises(LimitExceeded):
        target.resolve("one")
    fake.server.close()
    assert len(sent) < 20


def test_a_head_of_100_mb(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("HEAD", ONE, lambda exchange: (exchange.reply(200, {
        "Content-Type": OCI_MANIFEST, "Content-Length": "100000000", "Docker-Content-Digest": Digest.of(MANIFEST)}), True)[-1])
    with pytest.raises(LimitExceeded):
        target.head("one")


def test_a_manifest_of_100_mb_that_does_not_say_so(fake: Fake, target: RegistryTarget) -> None:
    def endless(exchange: Exchange) -> bool:
        exchange.raw(f"HTTP/1.1 200 OK\r\nContent-Type: {OCI_MANIFEST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(100):
            exchange.raw(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
        return True
    fake.fault("GET", ONE, endless)
    with pytest.raises(LimitExceeded):
        target.resolve("one")


@pytest.mark.parametrize("digest", [Digest.of(OTHER), Digest.of(OTHER, "sha512")])
def test_the_registrys_word_against_the_bytes(fake: Fake, target: RegistryTarget, digest: str) -> None:
    fake.fault("GET", ONE, served(MANIFEST, Docker_Content_Digest=digest))
    with pytest.raises(DigestMismatch):
        target.resolve("one")


def test_a_digest_that_is_none(fake: Fake, target: RegistryTarget) -> None:
    for method, ask in (("GET", target.resolve), ("HEAD", target.head)):
        fake.fault(method, ONE, served(MANIFEST, Docker_Content_Digest="sha256:nonsense"))
        with pytest.raises(RegistryError):
            ask("one")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_other_bytes_than_were_asked_for(fake: Fake, target: RegistryTarget, algorithm: str) -> None:
    wanted = describe(MANIFEST, OCI_MANIFEST, algorithm)
    fake.fault("GET", "/manifests/sha", served(OTHER, Docker_Content_Digest=wanted.digest))
    with pytest.raises(DigestMismatch):
        target.fetch(wanted)
    with pytest.raises(DigestMismatch):
        target.resolve(wanted.digest)


def test_another_algorithm_names_it(fake: Fake, target: RegistryTarget) -> None:
    digest = Digest.of(MANIFEST, "sha512")
    fake.fault("GET", ONE, served(MANIFEST, Docker_Content_Digest=digest))
    assert target.resolve("one").digest == digest


def test_a_tag_that_moves(fake: Fake, target: RegistryTarget) -> None:
    here = fake.repositories[NAME.path]
    for data in (MANIFEST, OTHER):
        here.manifests[Digest.of(data)] = (OCI_MANIFEST, data)
    here.tags["one"] = Digest.of(MANIFEST)
    head = target.head("one")
    assert head is not None and head.digest == Digest.of(MANIFEST)
    here.tags["one"] = Digest.of(OTHER)
    found = target.resolve("one")
    here.tags["one"] = Digest.of(MANIFEST)
    # From here on it is the digest that counts, and its bytes are there without another question.
    asked = len(fake.seen)
    assert read_all(target.fetch(found), found.size) == OTHER
    assert len(fake.seen) == asked


@pytest.mark.parametrize("missing", ["Docker-Content-Digest", "Content-Length", "Content-Type"])
def test_a_head_that_does_not_say_all(fake: Fake, target: RegistryTarget, missing: str) -> None:
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": Digest.of(MANIFEST), "Content-Length": str(len(MANIFEST))}
    del headers[missing]

    def short(exchange: Exchange) -> bool:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        exchange.raw(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
        return True
    fake.fault("HEAD", ONE, short)
    fake.fault("GET", ONE, served(MANIFEST))
    assert target.head("one") == describe(MANIFEST, OCI_MANIFEST)


def test_nothing_there(fake: Fake, target: RegistryTarget) -> None:
    assert target.head("one") is None
    with pytest.raises(NotFound):
        target.resolve("one")
    with pytest.raises(NotFound):
        target.fetch(describe(MANIFEST, OCI_MANIFEST))


# -- names


@pytest.mark.parametrize("name", ["one", f"{NAME.name}:one", f"{NAME.name}@{Digest.of(MANIFEST)}", Digest.of(MANIFEST),
                                  f"{NAME.name}:else@{Digest.of(MANIFEST)}"])
def test_names(fake: Fake, target: RegistryTarget, name: str) -> None:
    here = fake.repositories[NAME.path]
    here.manifests[Digest.of(MANIFEST)] = (OCI_MANIFEST, MANIFEST)
    here.tags["one"] = Digest.of(MANIFEST)
    assert target.resolve(name).digest == Digest.of(MANIFEST)


@pytest.mark.parametrize("name", ["registry.test/other/repo:one", "other/repo", "-", "../x", "a b", ""])
def test_other_names(fake: Fake, target: RegistryTarget, name: str) -> None:
    with pytest.raises(LaminaError):
        target.resolve(name)
    assert not fake.seen


# -- pushing


@pytest.mark.parametrize("digest", [Digest.of(OTHER), "nonsense"])
def test_a_manifest_that_was_stored_as_another(fake: Fake, target: RegistryTarget, digest: str) -> None:
    fake.fault("PUT", "/manifests/", lambda exchange: (
        exchange.read(), exchange.reply(201, {"Docker-Content-Digest": digest}), True)[-1])
    with pytest.raises((DigestMismatch, RegistryError)):
        target.push(describe(MANIFEST, OCI_MANIFEST), BytesReader(MANIFEST))


def test_a_manifest_that_is_too_large_is_not_sent(fake: Fake, target: RegistryTarget) -> None:
    with pytest.raises(LimitExceeded):
        target.push(Descriptor(OCI_MANIFEST, Digest.of(b""), (4 << 20) + 1), BytesReader(b""))
    assert not fake.seen


def test_what_is_no_manifest_is_not_sent(fake: Fake, target: RegistryTarget) -> None:
    with pytest.raises(InvalidContent):
        target.push(describe(INDEX, OCI_MANIFEST), BytesReader(INDEX))
    assert not fake.seen


def test_a_tag_on_what_was_not_pushed_from_here(fake: Fake, target: RegistryTarget) -> None:
    manifest = put_image(target, b"layer")
    with target_of(fake) as another:
        another.tag(manifest, "two")
    assert fake.repositories[NAME.path].tags == {"two": manifest.digest}


def test_a_mirror_gives_the_manifest(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.fault("GET", ONE, served(MANIFEST))
        assert target.resolve("one").digest == Digest.of(MANIFEST)
        assert not fake.seen


@pytest.mark.parametrize("wrong", [
    served(MANIFEST, Docker_Content_Digest=Digest.of(OTHER)), served(b"<html>", "text/html"), served(INDEX),
    lambda exchange: exchange.cut(), lambda exchange: (exchange.reply(403), True)[-1]])
def test_a_mirror_that_is_wrong_is_passed_by(fake: Fake, wrong: Callable[[Exchange], bool]) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.fault("GET", ONE, wrong)
        fake.fault("GET", ONE, served(MANIFEST))
        assert target.resolve("one").digest == Digest.of(MANIFEST)


def test_the_reference_is_the_repository(target: RegistryTarget) -> None:
    assert target.reference == Reference(NAME.domain, NAME.path)
