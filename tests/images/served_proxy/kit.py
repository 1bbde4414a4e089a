"""A server before a store of its own, whose repositories come from a registry of the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from contracts.samples import AMD64, config_bytes, describe, index_bytes, manifest_bytes
from registry.fake import Fake
from registry.served.kit import Reply, Server
from registry.server import Exchange

from images.archives import layer
from lamina.digest import Digest
from lamina.images.remotes import Network
from lamina.images.served.contents import StoreContents
from lamina.images.served.proxied.contents import Proxied
from lamina.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from lamina.registry.configuration import Registries
from lamina.registry.credentials import Credential
from lamina.registry.network import Network as Real
from lamina.registry.timings import Timings
from lamina.store import BlobStore

PATIENT = 20.0


class Clock:
    """One that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """A login, for all registries."""

    def __init__(self, *login: str) -> None:
        self._login = Credential(*login) if login else None

    def get(self, host: str, repository: str = "", /) -> Credential | None:
        return self._login


@dataclass
class Front:
    """The server, the store behind it and the clock that it goes by."""

    store: BlobStore
    own: StoreContents
    proxied: Proxied
    clock: Clock
    server: Server

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """An answer to a request below /v2/."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.ask(method, f"/v2/{path}", headers=given)

    def names(self) -> list[str]:
        """All names of the store."""
        return sorted(ref.name for ref in self.store.catalog.refs())

    def has(self, digest: str) -> bool:
        """Whether the store has a blob."""
        return self.store.catalog.blob(digest) is not None

    def settle(self, name: str, digest: Digest) -> None:
        """Wait until a blob is not on its way any more."""
        place = self.proxied._find(name)
        assert place is not None
        fetch = self.proxied._fetches.running(place, digest)
        if fetch is not None:
            fetch.thread.join(PATIENT)
            assert not fetch.thread.is_alive()


@contextmanager
def front(path: Path, *proxies: tuple[str, str], login: Sequence[str] = (), largest: int = 0,
          **options: Any) -> Iterator[Front]:
    """A server that passes these through."""
    def connect() -> Network:
        return cast(Network, Real(Registries.load({}), Keys(*login), Timings(  # type: ignore[arg-type]
            connect=5.0, read=5.0, attempts=2, sleep=lambda seconds: None)))

    clock = Clock()
    with BlobStore.open(path) as store, closing(StoreContents(store)) as own, \
            closing(Proxied(own, lambda: proxies, connect, clock=clock, largest=lambda: largest)) as proxied, \
            Server(proxied, options={"warnings": proxied.warnings, **options}) as server:  # type: ignore[arg-type]
        yield Front(store, own, proxied, clock, server)


@dataclass(frozen=True)
class Image:
    """An image of the upstream's: documents and layers."""

    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(OCI_MANIFEST, self.digest, len(self.manifest), AMD64)


def image(*layers: bytes, **more: object) -> Image:
    """One of these layers, which are plain tars."""
    described = [describe(one, OCI_LAYER) for one in layers]
    config = config_bytes(described)
    return Image(manifest_bytes(describe(config, OCI_CONFIG), described, **more), config, layers)


def small(text: str = "x") -> Image:
    """A small one."""
    return image(layer(base="base" * 300), layer(a=text))


def publish(fake: Fake, name: str, one: Image, *tags: str) -> Digest:
    """Put an image there."""
    there = fake.repositories[name]
    for data in (one.config, *one.layers):
        there.blobs[Digest.of(data)] = data
    return publish_document(fake, name, OCI_MANIFEST, one.manifest, *tags)


def publish_index(fake: Fake, name: str, images: Sequence[Image], *tags: str) -> tuple[Digest, bytes]:
    """Put an index there, of images that are."""
    data = index_bytes([one.descriptor for one in images])
    return publish_document(fake, name, OCI_INDEX, data, *tags), data


def publish_document(fake: Fake, name: str, media_type: str, data: bytes, *tags: str) -> Digest:
    """Put a document there."""
    digest = Digest.of(data)
    fake.repositories[name].manifests[digest] = (media_type, data)
    for tag in tags:
        fake.repositories[name].tags[tag] = digest
    return digest


class Held:
    """A fault that lets an answer's first bytes pass, and the rest when `go` is set."""

    def __init__(self, data: bytes, first: int) -> None:
        self.data, self.first = data, first
        self.asked, self.go = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> bool:
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                     + f"Content-Length: {len(self.data)}\r\n\r\n".encode() + self.data[: self.first])
        self.asked.set()
        assert self.go.wait(PATIENT)
        exchange.raw(self.data[self.first :])
        return True


def together(*calls: Callable[[], object]) -> list[Any]:
    """What they give, all at once."""
    found: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        found[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENT)
        assert not each.is_alive()
    return found
