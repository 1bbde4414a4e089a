"""end-3, end-7, end-9: manifests."""

from __future__ import annotations

import json

import pytest

from lamina.digest import Digest
from lamina.oci import DOCKER_LIST, DOCKER_MANIFEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from lamina.registry.server.settings import Limits, Settings
from registry.served.kit import Server, index, manifest, put
from registry.served.memory import Memory

ONE = manifest()
DIGEST = Digest.of(ONE)
ABSENT = Digest.of(b"absent")
SUBJECT = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 5}


def test_put_by_tag(server: Server, memory: Memory) -> None:
    reply = put(server, ONE, "1.0")
    assert (reply.status, reply["Location"]) == (201, f"/v2/one/manifests/{DIGEST}")
    assert reply["Docker-Content-Digest"] == DIGEST
    assert reply.headers["OCI-Subject"] is None and reply.headers["OCI-Tag"] is None
    assert memory.all["one"].tags == {"1.0": DIGEST} and memory.all["one"].manifests[DIGEST].data == ONE


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_put_by_digest(server: Server, memory: Memory, algorithm: str) -> None:
    digest = Digest.of(ONE, algorithm)
    reply = put(server, ONE, digest)
    assert (reply.status, reply["Docker-Content-Digest"]) == (201, digest)
    assert server.ask("GET", reply["Location"]).body == ONE and not memory.all["one"].tags


def test_put_by_another_digest(server: Server, memory: Memory) -> None:
    reply = put(server, ONE, ABSENT)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID") and not memory.all["one"].manifests


def test_put_with_tags(server: Server, memory: Memory) -> None:
    tags = [f"t{number}" for number in range(20)]
    reply = put(server, ONE, DIGEST, query="?" + "&".join(f"tag={tag}" for tag in tags))
    assert reply.status == 201 and reply.headers.get_all("OCI-Tag") == tags
    assert memory.all["one"].tags == dict.fromkeys(tags, DIGEST)


@pytest.mark.parametrize(("query", "status", "code"), [
    ("?tag=a&tag=..", 400, "TAG_INVALID"), ("?tag=", 400, "TAG_INVALID"),
    ("?" + "&".join(f"tag=t{number}" for number in range(65)), 414, "TAG_INVALID"),
    ("?" + "&".join(f"tag=t{number}" for number in range(200)), 414, "UNSUPPORTED"),
])
def test_put_with_tags_that_are_none_or_too_many(server: Server, memory: Memory, query: str, status: int, code: str) -> None:
    reply = put(server, ONE, DIGEST, query=query)
    assert (reply.status, reply.code) == (status, code) and not memory.all["one"].manifests


def test_put_by_tag_with_a_digest(server: Server, memory: Memory) -> None:
    long = Digest.of(ONE, "sha512")
    assert put(server, ONE, "a", query=f"?digest={long}")["Docker-Content-Digest"] == long
    assert put(server, ONE, "b", query="?digest-algorithm=sha512")["Docker-Content-Digest"] == long
    for query in (f"?digest={ABSENT}", "?digest=x", "?digest-algorithm=md5", f"?digest={DIGEST}&digest-algorithm=sha512"):
        reply = put(server, ONE, "c", query=query)
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert set(memory.all["one"].tags) == {"a", "b"}


@pytest.mark.parametrize("tag", ["..", "-a", ".a", "a" * 129, "a%20b", "a@b", "%2e%2e", "a%00", "a~"])
def test_put_by_what_is_no_tag(server: Server, memory: Memory, tag: str) -> None:
    reply = put(server, ONE, tag)
    assert (reply.status, reply.code) == (400, "TAG_INVALID") and not memory.all["one"].manifests


def test_put_names_the_subject(server: Server) -> None:
    for data, kind in ((manifest(subject=SUBJECT), OCI_MANIFEST), (index(subject=SUBJECT), OCI_INDEX)):
        assert put(server, data, media_type=kind)["OCI-Subject"] == ABSENT


def test_put_of_an_index_nested(server: Server) -> None:
    inner = index(DIGEST)
    assert put(server, ONE).status == 201
    assert put(server, inner, Digest.of(inner), OCI_INDEX).status == 201
    child = {"mediaType": OCI_INDEX, "digest": Digest.of(inner), "size": len(inner)}
    outer = json.dumps({"schemaVersion": 2, "manifests": [child]})
    assert put(server, outer.encode(), "outer", OCI_INDEX).status == 201
    assert server.ask("GET", "/v2/one/manifests/outer")["Content-Type"] == OCI_INDEX


def test_put_of_what_names_an_unknown_blob(server: Server) -> None:
    reply = put(server, manifest(layers=[ABSENT]))
    assert (reply.status, reply.code) == (404, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize(("kind", "data"), [
    (DOCKER_MANIFEST, json.dumps({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": {
        "mediaType": OCI_EMPTY, "digest": Digest.of(b"{}"), "size": 2}, "layers": []}).encode()),
    (DOCKER_LIST, json.dumps({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}).encode()),
    ("application/vnd.example.thing.v1+json", b'{"anything": [1, 2]}'),
])
def test_other_media_types_are_kept(server: Server, kind: str, data: bytes) -> None:
    assert put(server, data, media_type=kind).status == 201
    reply = server.ask("GET", "/v2/one/manifests/latest")
    assert (reply["Content-Type"], reply.body) == (kind, data)


def test_parameters_of_content_type_are_left_out(server: Server) -> None:
    assert put(server, ONE, media_type=OCI_MANIFEST + "; charset=utf-8").status == 201
    assert server.ask("GET", "/v2/one/manifests/latest")["Content-Type"] == OCI_MANIFEST


def test_without_content_type_the_document_says_what_it_is(server: Server) -> None:
    bare = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    for data, kind in ((ONE, OCI_MANIFEST), (bare, OCI_INDEX)):
        assert put(server, data, media_type=None).status == 201
        assert server.ask("GET", "/v2/one/manifests/latest")["Content-Type"] == kind


CONFUSED = {
    "another type than its own": (ONE, OCI_INDEX),
    "another version of its own": (ONE, DOCKER_MANIFEST),
    "an unknown type over a known one": (ONE, "application/vnd.example.v1+json"),
    "JSON": (ONE, "application/json"),
    "an index called a manifest": (b'{"schemaVersion": 2, "manifests": []}', OCI_MANIFEST),
    "a manifest called an index": (ONE.replace(b"mediaType", b"x-Type", 1), OCI_INDEX),
    "both, as a manifest": (manifest(manifests=[]), OCI_MANIFEST),
    "both, as an index": (index(layers=[]), OCI_INDEX),
    "an index with a config": (index(config={"mediaType": OCI_EMPTY, "digest": ABSENT, "size": 2}), OCI_INDEX),
    "both, as neither": (b'{"manifests": [], "layers": []}', "application/vnd.example.v1+json"),
    "both, with no type": (b'{"manifests": [], "layers": []}', None),
    "neither, with no type": (b'{"schemaVersion": 2}', None),
    "a type given twice": (b'{"mediaType": "application/a", "mediaType": "application/b"}', "application/a"),
    "schema 1": (b'{"schemaVersion": 1, "fsLayers": []}', "application/vnd.docker.distribution.manifest.v1+json"),
    "schema 1 as schema 2": (b'{"schemaVersion": 1, "fsLayers": [], "config": {}}', OCI_MANIFEST),
    "HTML": (b'{"a": "<script>alert(1)</script>"}', "text/html"),
    "a type that is none": (b"{}", "x"),
    "a type with odd letters": (b"{}", "application/a b"),
    "a type that is long": (b"{}", "application/" + "a" * 200),
    "a type that is a number": (b'{"mediaType": 5}', OCI_MANIFEST),
}


@pytest.mark.parametrize("name", CONFUSED)
def test_media_types_that_do_not_fit(server: Server, memory: Memory, name: str) -> None:
    data, kind = CONFUSED[name]
    reply = put(server, data, media_type=kind)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID") and not memory.all["one"].manifests


BROKEN = {
    "empty": b"",
    "no JSON": b"{",
    "an array": b"[]",
    "text after it": ONE + b"x",
    "deep": b'{"schemaVersion":2,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and never closed": b'{"a":' * 200_000,
    "a huge number": b'{"schemaVersion":2,"a":' + b"9" * 1_000_000 + b"}",
    "NaN": b'{"schemaVersion":2,"a":NaN}',
    "no UTF-8": b'{"schemaVersion":2,"a":"\xff"}',
    "a surrogate": b'{"schemaVersion":2,"a":"\\ud800"}',
    "10^6 layers": b'{"schemaVersion":2,"layers":[' + b"{}," * 999_999 + b"{}]}",
    "many layers": manifest(layers=[ABSENT] * 20_000),
    "many values": b'{"schemaVersion":2,"a":[' + b"0," * 1_000_000 + b"0]}",
    "no config": b'{"schemaVersion":2,"layers":[]}',
    "a size below nought": ONE.replace(b'"size": 2', b'"size": -2'),
    "a size beyond 64 bits": ONE.replace(b'"size": 2', b'"size": 99999999999999999999'),
    "a digest that is none": ONE.replace(b"sha256:", b"sha256:../"),
    "a subject that is none": manifest(subject="x"),
    "a subject without digest": manifest(subject={"mediaType": OCI_MANIFEST, "size": 1}),
    "data that is not what its digest says": manifest(layers=[]).replace(b'"size": 2', b'"size": 2, "data": "eHg="'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_manifest(server: Server, memory: Memory, name: str) -> None:
    reply = put(server, BROKEN[name])
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID") and not memory.all["one"].manifests


def test_the_largest_manifest(server: Server, memory: Memory) -> None:
    room = (4 << 20) - len(manifest(annotations={"a": ""}))
    largest = manifest(annotations={"a": "x" * room})
    assert len(largest) == 4 << 20 and put(server, largest).status == 201
    assert server.ask("GET", "/v2/one/manifests/latest").body == largest


@pytest.mark.parametrize("chunked", [False, True])
def test_a_manifest_that_is_too_large(server: Server, memory: Memory, chunked: bool) -> None:
    data = bytes((4 << 20) + 1)
    reply = server.ask("PUT", "/v2/one/manifests/a", iter([data]) if chunked else data, {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.code) == (413, "MANIFEST_INVALID")


def test_a_manifest_that_announces_too_much_is_refused_at_once(server: Server) -> None:
    reply = server.raw(b"PUT /v2/one/manifests/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n")
    assert reply.status == 413


def test_manifests_that_arrive_at_once_are_bounded(memory: Memory) -> None:
    large = manifest(annotations={"a": "x" * 70_000})
    with Server(memory, Settings(Limits(manifests=100_000))) as server, server.connect() as connection:
        connection.sendall(b"PUT /v2/one/manifests/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           b"Content-Length: 70000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        reply = put(server, large)
        assert (reply.status, reply.code) == (429, "TOOMANYREQUESTS")
        assert put(server, ONE).status == 201  # The small go on.
        connection.close()
        server.over(3)
        assert put(server, large).status == 201


def test_a_manifest_comes_whole(server: Server) -> None:
    for header, status in (({"Content-Range": "0-5"}, 400), ({"Content-Encoding": "gzip"}, 415)):
        assert server.ask("PUT", "/v2/one/manifests/a", ONE, header).status == status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["latest", DIGEST])
@pytest.mark.parametrize("accept", [None, OCI_INDEX, "text/html", "*/*"])
def test_get(server: Server, method: str, reference: str, accept: str | None) -> None:
    """Whatever Accept says."""
    put(server, ONE)
    reply = server.ask(method, f"/v2/one/manifests/{reference}", headers={"Accept": accept} if accept else {})
    assert (reply.status, reply["Content-Type"], reply["Content-Length"]) == (200, OCI_MANIFEST, str(len(ONE)))
    assert reply["Docker-Content-Digest"] == DIGEST and reply["ETag"] == f'"{DIGEST}"'
    assert reply.body == (ONE if method == "GET" else b"")


@pytest.mark.parametrize("reference", ["other", ABSENT, ".INVALID_MANIFEST_NAME", "a" * 129, "..", "%2e%2e", "a%00b"])
def test_unknown(server: Server, reference: str) -> None:
    put(server, ONE)
    for method in ("GET", "HEAD", "DELETE"):
        reply = server.ask(method, f"/v2/one/manifests/{reference}")
        assert reply.status == 404 and (method == "HEAD" or reply.code == "MANIFEST_UNKNOWN")


def test_a_digest_that_is_none(server: Server) -> None:
    for method in ("GET", "DELETE", "PUT"):
        reply = server.ask(method, "/v2/one/manifests/sha256:12")
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_if_none_match(server: Server) -> None:
    put(server, ONE)
    for given, status in ((f'"{DIGEST}"', 304), (f'W/"{DIGEST}"', 304), (f'"{ABSENT}"', 200)):
        reply = server.ask("GET", "/v2/one/manifests/latest", headers={"If-None-Match": given})
        assert (reply.status, reply["Docker-Content-Digest"]) == (status, DIGEST)


def test_delete_a_tag(server: Server, memory: Memory) -> None:
    put(server, ONE, "a")
    put(server, ONE, "b")
    assert server.ask("DELETE", "/v2/one/manifests/a").status == 202
    assert memory.all["one"].tags == {"b": DIGEST}
    assert server.ask("GET", "/v2/one/manifests/a").status == 404
    assert server.ask("GET", f"/v2/one/manifests/{DIGEST}").status == 200


def test_delete_a_manifest(server: Server, memory: Memory) -> None:
    put(server, ONE, "a")
    assert server.ask("DELETE", f"/v2/one/manifests/{DIGEST}").status == 202
    assert server.ask("GET", "/v2/one/manifests/a").status == 404 and not memory.all["one"].tags
    assert server.ask("DELETE", f"/v2/one/manifests/{DIGEST}").code == "MANIFEST_UNKNOWN"
