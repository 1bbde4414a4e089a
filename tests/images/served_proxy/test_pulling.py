"""What is asked for comes, is kept, and is not asked for again."""

from __future__ import annotations

import random
import socket
import threading

from contracts.samples import describe, manifest_bytes
from registry.fake import Fake

from images.archives import layer
from images.served_proxy.kit import Front, Held, image, publish, publish_document, publish_index, small, together
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.images.budget import plan
from lamina.images.records import read_view
from lamina.oci import OCI_INDEX, OCI_MANIFEST
from lamina.store.uploads import UploadJournal

BIG = random.Random(3).randbytes(5 << 20)


def _pull(served: Front, name: str, tag: str) -> bytes:
    """As clients do: the tag, config and layers."""
    reply = served.get(f"{name}/manifests/{tag}")
    assert reply.status == 200, reply.body
    for one in (reply.json["config"], *reply.json["layers"]):
        got = served.get(f"{name}/blobs/{one['digest']}")
        assert got.status == 200 and Digest.of(got.body) == one["digest"] and got["Content-Length"] == str(one["size"])
    return reply.body


def test_the_first_pull_fetches_and_the_second_asks_nobody(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "team/app", one, "1")
    assert _pull(served, "hub.test/team/app", "1") == one.manifest
    asked = len(fake.seen)
    assert asked and _pull(served, "hub.test/team/app", "1") == one.manifest
    assert len(fake.seen) == asked
    assert served.names() == ["hub.test/team/app:1", f"hub.test/team/app@{one.digest}"]
    for data in one.layers:
        assert len(fake.asked("GET", f"blobs/{Digest.of(data)}")) == 1


def test_what_is_kept_is_an_image_and_whole_when_its_layers_have_come(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "team/app", one, "1")
    served.get("hub.test/team/app/manifests/1")
    (entry,) = read_view(served.store).entries.values()
    assert entry.image.id == Digest.of(one.config) and not entry.image.whole
    _pull(served, "hub.test/team/app", "1")
    for data in one.layers:
        served.settle("hub.test/team/app", Digest.of(data))
    (entry,) = read_view(served.store).entries.values()
    assert entry.image.whole


def test_head_of_a_manifest_and_conditional_get(served: Front, fake: Fake) -> None:
    digest = publish(fake, "app", small(), "1")
    head = served.get("hub.test/app/manifests/1", "HEAD")
    assert (head.status, head["Docker-Content-Digest"]) == (200, digest)
    assert served.get("hub.test/app/manifests/1", If_None_Match=f'"{digest}"').status == 304


def test_an_index_is_kept_sparse(served: Front, fake: Fake) -> None:
    amd, arm = small("amd"), small("arm")
    publish(fake, "app", amd)
    publish(fake, "app", arm)
    digest, data = publish_index(fake, "app", [amd, arm], "1")
    reply = served.get("hub.test/app/manifests/1")
    assert (reply.body, reply["Content-Type"], reply["Docker-Content-Digest"]) == (data, OCI_INDEX, digest)
    assert served.get(f"hub.test/app/manifests/{amd.digest}").body == amd.manifest
    assert served.has(amd.digest) and not served.has(arm.digest)
    assert not served.has(Digest.of(amd.layers[1])), "nobody has asked for a layer"
    assert set(served.names()) == {"hub.test/app:1", f"hub.test/app@{digest}", f"hub.test/app@{amd.digest}"}


def test_an_artifact(served: Front, fake: Fake) -> None:
    data = b"a chart"
    fake.repositories["charts"].blobs |= {Digest.of(b"{}"): b"{}", Digest.of(data): data}
    config = describe(b"{}", "application/vnd.cncf.helm.config.v1+json")
    document = manifest_bytes(config, [describe(data, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")])
    publish_document(fake, "charts", OCI_MANIFEST, document, "1")
    assert _pull(served, "hub.test/charts", "1") == document
    asked = len(fake.seen)
    _pull(served, "hub.test/charts", "1")
    assert len(fake.seen) == asked


def _more(client: socket.socket) -> bytes:
    data = client.recv(1 << 20)
    assert data, "the server has closed the connection"
    return data


def test_a_blob_passes_while_it_comes_in(served: Front, fake: Fake) -> None:
    one = image(layer(big=""), BIG)
    publish(fake, "app", one, "1")
    digest, held = Digest.of(BIG), Held(BIG, 3 << 20)
    fake.fault("GET", f"blobs/{digest}", held)
    with served.server.connect() as client:
        client.sendall(f"GET /v2/hub.test/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = b""
        while len(got) < 2 << 20:
            got += _more(client)
        assert got.startswith(b"HTTP/1.1 200 OK") and not served.has(digest)
        held.go.set()
        while not got.endswith(BIG[-100:]):
            got += _more(client)
    assert got.partition(b"\r\n\r\n")[2] == BIG
    assert served.has(digest), "it is kept before its last bytes are given away"


def test_clients_at_once_share_one_fetch(served: Front, fake: Fake) -> None:
    one = image(layer(a=""), BIG)
    publish(fake, "app", one, "1")
    digest, held = Digest.of(BIG), Held(BIG, 1 << 20)
    fake.fault("GET", f"blobs/{digest}", held)

    def go() -> None:
        assert held.asked.wait(20)
        served.server.over(1)  # HEAD: no other ends before the blob has come
        held.go.set()

    def whole() -> bytes:
        return served.get(f"hub.test/app/blobs/{digest}").body

    def head() -> bytes:
        assert held.asked.wait(20)
        return served.get(f"hub.test/app/blobs/{digest}", "HEAD")["Content-Length"].encode()

    def part() -> bytes:
        return served.get(f"hub.test/app/blobs/{digest}", Range="bytes=100-4999999").body

    first, second, size, some, _ = together(whole, whole, head, part, go)
    assert first == second == BIG and some == BIG[100:5_000_000] and size == str(len(BIG)).encode()
    assert len(fake.asked("GET", f"blobs/{digest}")) == 1


def test_two_that_begin_at_the_same_moment_are_one(served: Front) -> None:
    place, fetches, go = served.proxied._find("hub.test/app"), served.proxied._fetches, threading.Event()
    assert place is not None
    opened = []

    def open_() -> BytesReader:
        opened.append(go.wait(20))
        return BytesReader(BIG)

    first, second = (fetches.start(place, describe(BIG), open_) for _ in range(2))
    go.set()
    first.thread.join(20)
    assert first is second and opened == [True] and served.has(Digest.of(BIG))


def test_manifests_at_once_share_one_fetch(served: Front, fake: Fake) -> None:
    publish(fake, "app", small(), "1")

    def manifest() -> int:
        return served.get("hub.test/app/manifests/1").status

    assert together(*[manifest] * 6) == [200] * 6
    assert (len(fake.asked("HEAD", "manifests/1")), len(fake.asked("GET", "manifests/"))) == (1, 1)


def test_a_blob_that_another_repository_has_is_not_fetched_again(served: Front, fake: Fake) -> None:
    one = small()
    for name in ("one", "two"):
        publish(fake, name, one, "1")
        _pull(served, f"hub.test/{name}", "1")
    assert len(fake.asked("GET", f"blobs/{Digest.of(one.layers[0])}")) == 1
    assert fake.asked("HEAD", f"two/blobs/{Digest.of(one.layers[0])}"), "whether it is there is asked"


def test_blobs_by_redirect(served: Front, fake: Fake) -> None:
    """HEAD tells no size then, as with many registries of clouds."""
    data = b"elsewhere" * 1000
    digest = Digest.of(data)
    fake.repositories["app"].blobs[digest] = data
    fake.fault("HEAD", "blobs/", lambda exchange: exchange.reply(307, {"Location": f"{fake.base}/nowhere"}) or True)
    assert served.get(f"hub.test/app/blobs/{digest}").body == data


def test_a_line_that_breaks_off_is_gone_on_with(served: Front, fake: Fake) -> None:
    digest = Digest.of(BIG)
    fake.repositories["app"].blobs[digest] = BIG

    def cut(exchange: object) -> None:
        exchange.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BIG)}\r\n\r\n".encode() + BIG[: 2 << 20])  # type: ignore[attr-defined]
        exchange.cut()  # type: ignore[attr-defined]

    fake.fault("GET", "blobs/", cut, times=1)
    assert served.get(f"hub.test/app/blobs/{digest}").body == BIG
    assert [one.headers.get("Range") for one in fake.asked("GET", "blobs/")] == [None, f"bytes={2 << 20}-"]


def test_empty_and_exact_blobs(served: Front, fake: Fake) -> None:
    for data in (b"", b"x", BIG[: 1 << 20], BIG[: 2 << 20], BIG[: (1 << 20) + 1]):
        digest = Digest.of(data)
        fake.repositories["app"].blobs[digest] = data
        assert served.get(f"hub.test/app/blobs/{digest}").body == data
        served.settle("hub.test/app", digest)
        assert served.get(f"hub.test/app/blobs/{digest}").body == data


def test_another_process_is_waited_for(served: Front, fake: Fake) -> None:
    """Its claim is a lock on a file, and what it has brought is taken from the store."""
    digest = Digest.of(BIG)
    fake.repositories["app"].blobs[digest] = BIG
    other = UploadJournal(served.store.state_dir / "fetching")
    key = f"hub.test/app@{digest}"
    assert other.claim(key)

    def bring() -> None:
        upload_id = served.own.begin_upload("hub.test/app")
        with served.own.upload("hub.test/app", upload_id) as upload:
            upload.write(memoryview(BIG))
            upload.finish(digest)
        other.release(key)

    def ask() -> bytes:
        return served.get(f"hub.test/app/blobs/{digest}").body

    first, _ = together(ask, bring)
    assert first == BIG and not fake.asked("GET", "blobs/")


def test_what_is_kept_can_be_let_go(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1")
    _pull(served, "hub.test/app", "1")
    removal, _ = plan(served.store, 0)
    assert {root.name for root in removal.gone} == {"hub.test/app:1", f"hub.test/app@{one.digest}"}
    _pull(served, "hub.test/app", "1")
    served.own.tend(3600)
    assert one.digest in served.store.catalog.uses.times(), "a pull is a use"
