"""From a name to bytes, by the configuration of a process; layers that lie elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import config_bytes, describe, manifest_bytes, put_image
from contracts.target import content

from lamina.content.copy import copy_graph
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader
from lamina.errors import NotFound, Unauthorized
from lamina.oci import OCI_CONFIG, OCI_MANIFEST, Descriptor
from lamina.reference import Reference
from lamina.registry.network import Network
from registry.fake import Fake
from registry.guard import Guard
from registry.kit import NAME, Keys, target_of
from registry.server import Exchange, Server

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
LAYER = b"a layer that lies elsewhere" * 1000


def environment(tmp_path: Path, auth: str = "{}", registries: str = "") -> dict[str, str]:
    """Nothing of the machine's."""
    (tmp_path / "registries.toml").write_text(registries)
    return {"HOME": str(tmp_path), "DOCKER_AUTH_CONFIG": auth, "LAMINA_REGISTRIES": str(tmp_path / "registries.toml")}


def test_a_round_trip_by_name(tmp_path: Path) -> None:
    """A registry on loopback that speaks plain HTTP, with tokens, from the environment's credentials."""
    auth = '{"auths": {"HOST": {"auth": "dXNlcjpzZWNyZXQ="}}}'
    with Fake(Guard("token", private=True)) as fake, Network.load(
            environment(tmp_path, auth.replace("HOST", fake.server.host))) as network:
        name = Reference.parse(f"{fake.server.host}/some/repo:1")
        source, copy, target = MemoryTarget(), MemoryTarget(), network.target(name)
        root = put_image(source, b"one", b"two")
        copy_graph(source, target, root, tag=str(name))
        assert [found for found, _ in target.references()] == [str(name)]
        fresh = network.target(name)
        result = copy_graph(fresh, copy, fresh.resolve("1"))
        assert result.root.digest == root.digest and result.pushed == 4
        # One client for both targets: a token to push (and pull) and one to pull.
        assert len(fake.asked("GET", "^/token")) == 2


def test_without_credentials(tmp_path: Path) -> None:
    with Fake(Guard("token", private=True)) as fake, Network.load(environment(tmp_path)) as network, pytest.raises(
            Unauthorized):
        network.target(Reference.parse(f"{fake.server.host}/some/repo:1")).resolve("1")


def test_mirrors_by_configuration(tmp_path: Path) -> None:
    """A mirror gets the credential that is stored for it, and not the registry's."""
    with Fake(Guard("basic", "mirror", "own")) as mirror, Fake(Guard("basic")) as fake:
        image = put_image(MemoryTarget(), b"one")
        for one in (mirror, fake):
            one.repositories["some/repo"].blobs[describe(LAYER).digest] = LAYER
        text = f'["{fake.server.host}"]\nmirrors = ["{mirror.base}"]\n'
        auth = ('{"auths": {"REGISTRY": {"username": "user", "password": "secret"},'
                ' "MIRROR": {"username": "mirror", "password": "own"}}}')
        auth = auth.replace("REGISTRY", fake.server.host).replace("MIRROR", mirror.server.host)
        with Network.load(environment(tmp_path, auth, text)) as network:
            target = network.target(Reference.parse(f"{fake.server.host}/some/repo"))
            assert content(target, describe(LAYER)) == LAYER
            assert not fake.seen
            assert not target.exists(image)
        given = [{one.headers["Authorization"] for one in server.seen} - {None} for server in (mirror, fake)]
        assert [len(one) for one in given] == [1, 1] and given[0] != given[1]


# -- foreign layers


@pytest.fixture
def storage() -> Iterator[Server]:
    def handle(exchange: Exchange) -> None:
        exchange.reply(*((200, {}, LAYER) if exchange.path.startswith("/layer") else (404, {}, b"")))
    with Server(handle) as server:
        yield server


def foreign(*urls: str, media_type: str = FOREIGN) -> Descriptor:
    found = describe(LAYER, media_type)
    return Descriptor(media_type, found.digest, found.size, urls=urls)


def test_a_foreign_layer_is_had_where_it_lies(storage: Server) -> None:
    with Fake(Guard("basic")) as fake, target_of(fake, keys=Keys("user", "secret")) as target:
        blob = foreign(f"{storage.base}/gone", f"{storage.base}/layer?x=y")
        assert content(target, blob) == LAYER
        assert {one.headers.get("Authorization") for one in storage.seen} == {None}
        assert [one.path for one in storage.seen] == ["/gone", "/layer?x=y", "/layer?x=y"]


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "ftp://host/x", "/etc/passwd", "", "http://169.254.169.254/latest/meta-data", "http://[fe80::1]/x",
    "http://user:password@127.0.0.1/", "OWN/v2/some/other/blobs/x"])
def test_where_no_layer_is_fetched_from(url: str) -> None:
    with Fake() as fake, target_of(fake) as target:
        with pytest.raises(NotFound):
            target.fetch(foreign(url.replace("OWN", fake.base)))
        assert [one.path for one in fake.seen] == [f"/v2/{NAME.path}/blobs/{describe(LAYER).digest}"]


def test_other_layers_have_no_addresses(storage: Server) -> None:
    with Fake() as fake, target_of(fake) as target:
        with pytest.raises(NotFound):
            target.fetch(foreign(f"{storage.base}/layer", media_type="application/vnd.oci.image.layer.v1.tar"))
        assert not storage.seen


def test_a_layer_without_end_of_addresses(storage: Server) -> None:
    with Fake() as fake, target_of(fake) as target:
        with pytest.raises(NotFound):
            target.fetch(foreign(*(f"{storage.base}/gone{number}" for number in range(1000))))
        assert len(storage.seen) == 4


def test_an_image_with_a_foreign_layer_is_copied(storage: Server) -> None:
    with Fake() as fake, target_of(fake) as target:
        config = describe(config_bytes([]), OCI_CONFIG)
        data = manifest_bytes(config, [foreign(f"{storage.base}/layer")])
        here = fake.repositories[NAME.path]
        here.blobs[config.digest] = config_bytes([])
        here.manifests[describe(data).digest] = (OCI_MANIFEST, data)
        copy = MemoryTarget()
        assert copy_graph(target, copy, describe(data, OCI_MANIFEST)).pushed == 3
        assert copy.exists(describe(LAYER))


@pytest.mark.parametrize(("setting", "requests"), [("", 1), ("connections = 3", 10)])
def test_a_large_layer_by_several_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str,
                                              requests: int) -> None:
    """Where the configuration says so, and there alone."""
    monkeypatch.setattr("lamina.registry.ranges.LEAST", 1)
    monkeypatch.setattr("lamina.registry.ranges.PIECE", 10_000)
    data = bytes(range(250)) * 400
    with Fake() as fake, Network.load(environment(tmp_path, registries=f'["{fake.server.host}"]\n{setting}\n')) as network:
        target = network.target(Reference.parse(f"{fake.server.host}/some/repo:1"))
        blob = describe(data)
        target.push(blob, BytesReader(data))
        assert content(target, blob) == data
        assert len(fake.asked("GET", "/blobs/")) == requests
