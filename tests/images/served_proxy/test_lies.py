"""An upstream that lies: nothing of it is kept, and no client takes it for the whole."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from registry.fake import Fake
from registry.served.kit import Reply
from registry.server import Exchange

from images.served_proxy.kit import Front, front, image, publish, publish_document, publish_index, small
from lamina.digest import Digest
from lamina.oci import OCI_INDEX, OCI_MANIFEST

DATA = random.Random(5).randbytes(3 << 20)


def _blob(served: Front, digest: str) -> Reply | None:
    """None: the connection was cut in the middle."""
    try:
        return served.get(f"hub.test/app/blobs/{digest}")
    except (http.client.IncompleteRead, ConnectionError):
        return None


def _clean(served: Front, *digests: str) -> None:
    for digest in digests:
        served.settle("hub.test/app", Digest(digest))
        assert not served.has(digest)
    assert not list(served.store.receiving.all())
    assert not served.store.catalog.links.any("hub.test/app")


def test_a_small_blob_of_another_digest(served: Front, fake: Fake) -> None:
    digest = Digest.of(b"right")
    fake.repositories["app"].blobs[digest] = b"wrong"
    reply = _blob(served, digest)
    assert reply is None or reply.status == 502
    _clean(served, digest, Digest.of(b"wrong"))


def test_a_large_blob_of_another_digest_is_cut(served: Front, fake: Fake) -> None:
    digest = Digest.of(DATA)
    fake.repositories["app"].blobs[digest] = DATA[:-1] + b"!"
    assert _blob(served, digest) is None
    _clean(served, digest)
    assert _blob(served, digest) is None, "the next one fares no better"
    _clean(served, digest)


@pytest.mark.parametrize("part", ["bytes=0-99", "bytes=0-3145726", "bytes=3145727-"])
def test_a_part_of_a_blob_of_another_digest(served: Front, fake: Fake, part: str) -> None:
    digest = Digest.of(DATA)
    fake.repositories["app"].blobs[digest] = DATA[:-1] + b"!"
    try:
        reply = served.get(f"hub.test/app/blobs/{digest}", Range=part)
        assert reply.status == 502
    except (http.client.IncompleteRead, ConnectionError):
        pass
    _clean(served, digest)


def _head(exchange: Exchange, length: int) -> None:
    exchange.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())


def _longer(exchange: Exchange) -> bool:
    exchange.reply(200, {}, DATA + b"more")
    return True


def _shorter(exchange: Exchange) -> bool:
    exchange.reply(200, {}, DATA[:-1])
    return True


def _endless(exchange: Exchange) -> bool:
    exchange.keep = False
    exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        exchange.raw(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
    return True


def _loop(exchange: Exchange) -> bool:
    exchange.reply(307, {"Location": exchange.path + "x"})
    return True


def _page(exchange: Exchange) -> bool:
    exchange.reply(200, {"Content-Type": "text/html"}, b"<html>log in</html>")
    return True


def _packed(exchange: Exchange) -> bool:
    exchange.reply(200, {"Content-Encoding": "gzip"}, DATA)
    return True


@pytest.mark.parametrize("lie", [_longer, _shorter, _endless, _loop, _page, _packed])
def test_a_blob_that_is_none(served: Front, fake: Fake, lie: Callable[[Exchange], bool]) -> None:
    digest = Digest.of(DATA)
    fake.repositories["app"].blobs[digest] = DATA
    fake.fault("GET", "blobs/", lie)
    reply = _blob(served, digest)
    assert reply is None or reply.status in (502, 503), reply.status
    _clean(served, digest)


@pytest.mark.parametrize("length", ["", "-1", "99999999999999999999"])
def test_a_blob_of_no_size(served: Front, fake: Fake, length: str) -> None:
    digest = Digest.of(DATA)

    def sizeless(exchange: Exchange) -> bool:
        exchange.keep = False
        line = f"Content-Length: {length}\r\n" if length else "Transfer-Encoding: chunked\r\n"
        exchange.raw(f"HTTP/1.1 200 OK\r\n{line}\r\n0\r\n\r\n".encode())
        return True

    fake.fault("", "blobs/", sizeless)
    reply = _blob(served, digest)
    assert reply is not None and reply.status in (502, 503)
    _clean(served, digest)


def test_a_blob_larger_than_there_is_room(served: Front, fake: Fake) -> None:
    digest = Digest.of(DATA)
    fake.fault("HEAD", "blobs/", lambda exchange: exchange.reply(200, {"Content-Length": str(10**17)}) or True)
    reply = _blob(served, digest)
    assert reply is not None and reply.status >= 500 and not fake.asked("GET", "blobs/")
    _clean(served, digest)


def test_a_blob_larger_than_the_configuration_allows(fake: Fake, tmp_path: Path) -> None:
    fake.repositories["app"].blobs[Digest.of(DATA)] = DATA
    with front(tmp_path / "store", ("hub.test", fake.base), largest=1 << 20) as served:
        reply = served.get(f"hub.test/app/blobs/{Digest.of(DATA)}")
        assert (reply.status, reply.code) == (403, "DENIED") and not fake.asked("GET", "blobs/")


def test_a_manifest_of_another_digest(served: Front, fake: Fake) -> None:
    one, other = small("one"), small("other")
    publish(fake, "app", one, "1")
    fake.repositories["app"].manifests[one.digest] = (OCI_MANIFEST, other.manifest)
    for reference in ("1", one.digest):
        reply = served.get(f"hub.test/app/manifests/{reference}")
        assert (reply.status, reply.code) == (502, "UNKNOWN")
    assert served.names() == [] and not served.has(other.digest)


def test_a_head_that_lies(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1")
    fake.fault("HEAD", "manifests/1", lambda exchange: exchange.reply(200, {
        "Content-Type": OCI_MANIFEST, "Content-Length": "7", "Docker-Content-Digest": Digest.of(b"x")}) or True)
    assert served.get("hub.test/app/manifests/1").status == 404, "by that digest there is none"
    assert served.names() == []


@pytest.mark.parametrize(("media_type", "data"), [
    (OCI_INDEX, small().manifest), ("text/html", b"<html>"), (OCI_MANIFEST, b"{"), (OCI_MANIFEST, b"[]"),
    ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion":1}'),
    (OCI_MANIFEST, b'{"schemaVersion":2,"mediaType":"' + OCI_MANIFEST.encode() + b'"' + b" " * (4 << 20) + b"}"),
])
def test_a_manifest_that_is_none(served: Front, fake: Fake, media_type: str, data: bytes) -> None:
    digest = publish_document(fake, "app", media_type, data, "1")
    for reference in ("1", digest):
        reply = served.get(f"hub.test/app/manifests/{reference}")
        assert reply.status == 502, reply.body
    assert served.names() == []


def test_redirects_without_end(served: Front, fake: Fake) -> None:
    fake.fault("", "manifests", _loop)
    assert served.get("hub.test/app/manifests/1").status == 502


def test_a_lie_does_not_cost_what_is_kept(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1")
    assert served.get("hub.test/app/manifests/1").status == 200
    served.clock.now += 60
    publish_document(fake, "app", OCI_MANIFEST, b"{", "1")
    reply = served.get("hub.test/app/manifests/1")
    assert reply.body == one.manifest and reply["Warning"]


def test_a_manifest_gives_no_right_to_what_others_have(served: Front, fake: Fake) -> None:
    """Who may push there and knows the digest of a private blob here names it in a manifest: it is not given away."""
    secret = image(DATA)
    own = served.own
    upload_id = own.begin_upload("private/app")
    with own.upload("private/app", upload_id) as upload:
        upload.write(memoryview(DATA))
        upload.finish(Digest.of(DATA))
    fake.repositories["app"].blobs[Digest.of(secret.config)] = secret.config
    publish_document(fake, "app", OCI_MANIFEST, secret.manifest, "1")
    for _ in range(2):
        reply = served.get("hub.test/app/manifests/1")
        assert reply.body == secret.manifest, "the document is upstream's to give"
        assert served.get(f"hub.test/app/blobs/{Digest.of(DATA)}").code == "BLOB_UNKNOWN"
        served.clock.now += 60
    index, _ = publish_index(fake, "other", [secret], "1")
    assert served.get("hub.test/other/manifests/1")["Docker-Content-Digest"] == index
    assert served.get(f"hub.test/other/blobs/{Digest.of(DATA)}").code == "BLOB_UNKNOWN"


def test_a_tag_gives_no_right_to_an_image_that_others_have(served: Front, fake: Fake) -> None:
    secret = small("secret")
    for data in (secret.config, *secret.layers):
        assert served.server.ask("POST", f"/v2/private/app/blobs/uploads/?digest={Digest.of(data)}", data).status == 201
    put = served.server.ask("PUT", "/v2/private/app/manifests/1", secret.manifest, {"Content-Type": OCI_MANIFEST})
    assert put.status == 201
    names = served.names()
    publish_document(fake, "app", OCI_MANIFEST, secret.manifest, "1")
    assert served.get("hub.test/app/manifests/1").body == secret.manifest
    assert served.names() == names
    assert served.get(f"hub.test/app/blobs/{Digest.of(secret.config)}").code == "BLOB_UNKNOWN"


def test_a_config_that_is_not_there_keeps_nothing(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1")
    del fake.repositories["app"].blobs[Digest.of(one.config)]
    assert served.get("hub.test/app/manifests/1").body == one.manifest
    assert served.names() == []
