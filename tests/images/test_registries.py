"""pull, copy and mirror over HTTP: the whole way from a name to a store, with registries that fail on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import AMD64, ARM64, index_bytes, put, put_artifact, put_image
from registry.fake import Fake
from registry.guard import Guard
from registry.server import Exchange

import lamina
from lamina.content.copy import copy_graph
from lamina.content.memory import MemoryTarget
from lamina.digest import Digest
from lamina.errors import (
    DigestMismatch,
    InvalidContent,
    LaminaError,
    NotFound,
    RegistryUnavailable,
    SizeMismatch,
    Unauthorized,
)
from lamina.images import ImageStore
from lamina.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Platform
from lamina.reference import Reference
from lamina.registry.network import Network
from lamina.registry.timings import Timings

from .archives import layer, tar_of

SMALL, LARGE = layer(a="a" * 3000), tar_of({"large": bytes(range(256)) * 2000})
SECRET = "not-to-be-seen"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: AMD64))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


class Line:
    """A registry, and the way to it."""

    def __init__(self, fake: Fake, network: Network) -> None:
        self.fake, self.network = fake, network
        self.host = fake.server.host

    def name(self, rest: str) -> str:
        return f"{self.host}/{rest}"

    def put(self, source: MemoryTarget, root: Descriptor, name: str, **options: bool) -> Descriptor:
        """Push what is in memory, and forget the requests."""
        reference = Reference.parse(self.name(name))
        copy_graph(source, self.network.target(reference), root, tag=reference.tag, **options)
        self.fake.seen.clear()
        return root

    def image(self, name: str, *layers: bytes) -> Descriptor:
        source = MemoryTarget()
        return self.put(source, put_image(source, *(layers or (SMALL, LARGE))), name)

    def asked(self) -> list[tuple[str, str]]:
        """What was asked for, but for where the registry is and who we are."""
        return [(one.method, one.path.partition("/manifests/")[2] or one.path.partition("/blobs/")[2])
                for one in self.fake.seen if one.path != "/v2/" and not one.path.startswith("/token")]


def connect(tmp_path: Path, fake: Fake, password: str = SECRET) -> Network:
    (tmp_path / "registries.toml").touch()
    auth = json.dumps({"auths": {fake.server.host: {"username": "user", "password": password}}})
    env = {"HOME": str(tmp_path), "DOCKER_AUTH_CONFIG": auth, "LAMINA_REGISTRIES": str(tmp_path / "registries.toml")}
    return Network.load(env, Timings(connect=5, read=5, attempts=3, sleep=lambda seconds: None))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Fake(Guard("token", "user", SECRET, private=True)) as fake, connect(tmp_path, fake) as network:
        yield Line(fake, network)


def names(store: ImageStore) -> set[str]:
    return {f"{row.repository}:{row.tag}" for row in store.images(all=True)}


def pull(store: ImageStore, line: Line, name: str, **options: object) -> str:
    """The digest; what went wrong is raised."""
    result = store.pull([line.name(name)], network=line.network, **options)[0]  # type: ignore[arg-type]
    if result.error is not None:
        raise result.error
    return result.digest


# -- the right way


def test_what_is_up_to_date_is_one_get(store: ImageStore, line: Line) -> None:
    image = line.image("app:1")
    assert pull(store, line, "app:1") == image.digest
    line.fake.seen.clear()
    assert pull(store, line, "app:1") == image.digest
    assert line.asked() == [("GET", "1")]


def test_each_blob_is_read_once(store: ImageStore, line: Line) -> None:
    line.image("app:1")
    pull(store, line, "app:1")
    gets = [path for method, path in line.asked() if method == "GET"]
    assert len(gets) == len(set(gets)) == 4
    assert store.verify().problems == []


def test_an_index_its_platforms_and_its_referrers(store: ImageStore, line: Line) -> None:
    source = MemoryTarget()
    amd, arm = put_image(source, SMALL), put_image(source, LARGE, platform=ARM64)
    root = put(source, index_bytes([amd, arm]), OCI_INDEX)
    signature = put_artifact(source, amd, b"signature")
    line.put(source, root, "app:1", referrers=True)
    assert pull(store, line, "app:1", referrers=True) == root.digest
    catalog = store.blobs.catalog
    assert catalog.blob(signature.digest) and catalog.blob(amd.digest) and not catalog.blob(arm.digest)
    assert pull(store, line, "app:1", platform="linux/arm64") == root.digest
    assert catalog.blob(arm.digest)


@pytest.mark.parametrize("api", [True, False], ids=["api", "tag schema"])
def test_there_and_on_and_back(store: ImageStore, line: Line, tmp_path: Path, api: bool) -> None:
    line.fake.referrers = api
    source = MemoryTarget()
    image = put_image(source, SMALL, LARGE)
    signature = put_artifact(source, image, b"signature")
    line.put(source, image, "one:1", referrers=True)
    for begin, end in (("docker://{}/one:1", "docker://{}/two:1"), ("docker://{}/two:1", "oci:~/layout:v1"),
                       ("oci:~/layout:v1", "store:app"), ("app", "oci-archive:~/a.tar"),
                       ("oci-archive:~/a.tar", "docker://{}/three:1")):
        places = [place.format(line.host).replace("~", str(tmp_path)) for place in (begin, end)]
        copied = store.copy(*places, referrers=True, network=line.network)
        assert (copied.digest, copied.referrers) == (image.digest, (signature.digest,))
    three = line.fake.repositories["three"]
    assert three.tags["1"] == image.digest and signature.digest in three.manifests
    assert (three.blobs[Digest.of(LARGE)], line.fake.asked("PUT", "/two/blobs/")) == (LARGE, [])


def test_mirrors_ask_by_head(store: ImageStore, line: Line, tmp_path: Path) -> None:
    for tag in ("1", "2"):
        line.image(f"app:{tag}", layer(tag=tag * 100))
    (tmp_path / "m.yaml").write_text(f"- from: {line.name('app')}\n  prune: true\n- from: {line.name('app')}\n"
                                     f"  to: {line.name('copy')}\n  prune: true\n")
    for result in store.mirror(tmp_path / "m.yaml", network=line.network):
        assert (result.ok, result.copied) == (True, ["1", "2"])
    line.fake.seen.clear()
    for result in store.mirror(tmp_path / "m.yaml", network=line.network):
        assert result.current == ["1", "2"]
    assert not [one for one in line.asked() if one[0] not in ("HEAD", "GET") or (one[0] == "GET" and one[1])]


# -- the wrong ways: nothing is visible, the error is one line without secrets, and the next try is as good as the first


def leave(store: ImageStore, line: Line, error: type[Exception] | tuple[type[Exception], ...], **options: object) -> str:
    """A pull that fails; its line."""
    with pytest.raises(error) as caught:
        pull(store, line, "app:1", **options)
    text = str(caught.value)
    assert "\n" not in text and SECRET not in text and "Bearer" not in text
    assert names(store) == set()
    assert store.blobs.catalog.images() == []
    return text


def again(store: ImageStore, line: Line, image: Descriptor) -> None:
    line.fake._faults.clear()
    assert pull(store, line, "app:1") == image.digest
    assert store.verify().problems == []


@pytest.mark.parametrize("tenth", range(1, 10))
def test_cut_at_every_tenth_of_a_layer(store: ImageStore, line: Line, tenth: int) -> None:
    """Once: it goes on by a range.  Every time: an error, and the next pull is whole."""
    image = line.image("app:1")
    place = len(LARGE) * tenth // 10

    def cut(exchange: Exchange) -> bool:
        exchange.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(LARGE)}\r\n\r\n".encode() + LARGE[:place])
        exchange.cut()
        return True

    line.fake.fault("GET", f"blobs/{Digest.of(LARGE)}", cut, times=1)
    assert pull(store, line, "app:1") == image.digest
    assert [one.headers.get("Range") for one in line.fake.asked("GET", str(Digest.of(LARGE)))][1:] == [f"bytes={place}-"]


@pytest.mark.parametrize(("what", "error"), [
    ("vanished", NotFound), ("wrong byte", DigestMismatch), ("short", (SizeMismatch, RegistryUnavailable)),
    ("cut", RegistryUnavailable), ("forbidden", Unauthorized), ("down", RegistryUnavailable),
    ("page", (LaminaError,)),
])
def test_a_layer_that_is_not_what_it_should_be(
    store: ImageStore, line: Line, what: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    image, path = line.image("app:1"), f"blobs/{Digest.of(LARGE)}"

    def fail(exchange: Exchange) -> bool:
        if what == "cut":
            exchange.cut()
        elif what in ("vanished", "forbidden", "down"):
            exchange.reply({"vanished": 404, "forbidden": 403, "down": 503}[what])
        elif what == "page":
            exchange.reply(200, {"Content-Type": "text/html"}, b"<html>log in</html>")
        else:
            exchange.reply(200, {}, LARGE[:-1] + (b"" if what == "short" else b"!"))
        return True

    line.fake.fault("GET", path, fail)
    leave(store, line, error)
    again(store, line, image)


def test_a_tag_that_moves_meanwhile(store: ImageStore, line: Line) -> None:
    """What was resolved is what is copied."""
    first = line.image("app:1", SMALL)

    def move(exchange: Exchange) -> bool:
        line.fake.repositories["app"].tags["1"] = second.digest
        return False

    second = line.image("app:2", LARGE)
    line.fake.fault("", "/blobs/", move)
    assert pull(store, line, "app:1") == first.digest
    assert pull(store, line, "app:1") == second.digest


@pytest.mark.parametrize("document", [
    b'{"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []}', b"<html>", b"{}", b"[]", b"\xff\xfe",
    b'{"schemaVersion": 2, "mediaType": "' + OCI_INDEX.encode() + b'", "config": {}, "layers": []}',
    b'{"schemaVersion": 2, "mediaType": "' + OCI_MANIFEST.encode() + b'", "manifests": []}',
    b"[" * 100_000, b'{"schemaVersion": 2, "layers": "' + b"x" * (5 << 20) + b'"}',
], ids=["schema 1", "page", "nothing", "list", "no text", "index as manifest", "manifest as index", "deep", "huge"])
def test_a_manifest_that_is_none(store: ImageStore, line: Line, document: bytes) -> None:
    image = line.image("app:1")

    def lie(exchange: Exchange) -> bool:
        exchange.reply(200, {"Content-Type": OCI_MANIFEST, "Content-Length": str(len(document))}, document)
        return True

    line.fake.fault("GET", "manifests/1", lie)
    text = leave(store, line, LaminaError)
    assert document[:1] != b'{"schemaVersion": 1' or "schema 1" in text
    again(store, line, image)


def test_a_wrong_password(store: ImageStore, line: Line, tmp_path: Path) -> None:
    image = line.image("app:1")
    with connect(tmp_path, line.fake, "wrong-" + SECRET) as other:
        leave(store, Line(line.fake, other), Unauthorized)
    again(store, line, image)


def test_referrers_without_end(store: ImageStore, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    image = line.image("app:1")

    def endless(exchange: Exchange) -> bool:
        listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        exchange.reply(200, {"Content-Type": OCI_INDEX, "Link": f'<{exchange.path}x>; rel="next"'},
                       json.dumps(listed).encode())
        return len(line.fake.seen) < 5000

    line.fake.fault("GET", "/referrers/", endless)
    leave(store, line, LaminaError, referrers=True)
    assert len(line.fake.seen) < 4000
    again(store, line, image)


def test_referrers_of_something_else(store: ImageStore, line: Line) -> None:
    source = MemoryTarget()
    other = put_image(source, b"other")
    stray = put_artifact(source, other, b"stray")
    line.put(source, other, "app:other", referrers=True)
    line.image("app:1")

    def lie(exchange: Exchange) -> bool:
        listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [stray.to_json()]}
        exchange.reply(200, {"Content-Type": OCI_INDEX}, json.dumps(listed).encode())
        return True

    line.fake.fault("GET", "/referrers/", lie)
    pull(store, line, "app:1", referrers=True)
    assert store.blobs.catalog.blob(stray.digest) is None


def test_a_config_that_says_something_else(store: ImageStore, line: Line) -> None:
    """Right digests, wrong image: diff ids that are not those of the layers."""
    source = MemoryTarget()
    image = put_image(source, SMALL)
    wrong = json.loads(source._blobs[image.digest][1])
    wrong["layers"][0] |= {"digest": put(source, LARGE).digest, "size": len(LARGE)}
    root = put(source, json.dumps(wrong).encode(), OCI_MANIFEST)
    line.put(source, root, "app:1")
    leave(store, line, InvalidContent)
