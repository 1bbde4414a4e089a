"""end-8, end-12, `_catalog`: lists and their pages."""

from __future__ import annotations

import re

import pytest

from lamina.digest import Digest
from lamina.oci import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from lamina.registry.server.settings import Limits, Settings
from registry.served.kit import Reply, Server, index, manifest, put
from registry.served.memory import Memory

SUBJECT = {"mediaType": OCI_MANIFEST, "digest": Digest.of(b"subject"), "size": 5}
TAGS = sorted(f"t{number}" for number in range(12))


def link(reply: Reply) -> str:
    found = re.fullmatch(r'<(/v2/[^>]*)>; rel="next"', reply["Link"])
    assert found
    return found[1]


@pytest.fixture
def tagged(server: Server) -> Server:
    data = manifest()
    put(server, data, Digest.of(data), query="?" + "&".join(f"tag={tag}" for tag in reversed(TAGS)))
    return server


def test_tags(tagged: Server) -> None:
    reply = tagged.ask("GET", "/v2/one/tags/list")
    assert reply.status == 200 and reply.json == {"name": "one", "tags": TAGS} and reply.headers["Link"] is None
    assert reply["Content-Type"] == "application/json"


def test_tags_of_nothing(server: Server, memory: Memory) -> None:
    reply = server.ask("GET", "/v2/nothing/tags/list")
    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")
    memory.repository("empty")
    assert server.ask("GET", "/v2/empty/tags/list").json == {"name": "empty", "tags": []}


def test_tags_page_by_page(tagged: Server) -> None:
    path, seen = "/v2/one/tags/list?n=5", []
    for size in (5, 5, 2):
        reply = tagged.ask("GET", path)
        assert len(reply.json["tags"]) == size
        seen += reply.json["tags"]
        if len(seen) < len(TAGS):
            path = link(reply)
    assert seen == TAGS and reply.headers["Link"] is None


def test_a_page_that_is_just_full(tagged: Server) -> None:
    reply = tagged.ask("GET", f"/v2/one/tags/list?n={len(TAGS)}")
    assert reply.json["tags"] == TAGS and reply.headers["Link"] is None


def test_tags_after_the_last(tagged: Server) -> None:
    assert tagged.ask("GET", f"/v2/one/tags/list?last={TAGS[3]}").json["tags"] == TAGS[4:]
    assert tagged.ask("GET", "/v2/one/tags/list?last=t0000").json["tags"] == TAGS[1:]
    assert tagged.ask("GET", "/v2/one/tags/list?last=").json["tags"] == TAGS


@pytest.mark.parametrize("path", ["/v2/one/tags/list", "/v2/_catalog"])
def test_none(tagged: Server, path: str) -> None:
    for zero in ("0", "000", "0" * 30):
        reply = tagged.ask("GET", f"{path}?n={zero}")
        assert reply.status == 200 and [] in reply.json.values() and reply.headers["Link"] is None


@pytest.mark.parametrize("path", ["/v2/one/tags/list", "/v2/_catalog"])
@pytest.mark.parametrize("n", ["-1", "x", "1.5", "", "1e3", "%D9%A3", "0x10", "+1"])
def test_what_is_no_number(tagged: Server, path: str, n: str) -> None:
    reply = tagged.ask("GET", f"{path}?n={n}")
    assert (reply.status, reply.code) == (400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("n", ["1000000000000000000", "9" * 5000])
def test_a_number_beyond_all_bounds(tagged: Server, n: str) -> None:
    assert tagged.ask("GET", f"/v2/one/tags/list?n={n}").json["tags"] == TAGS
    assert tagged.ask("GET", f"/v2/_catalog?n={n}").json == {"repositories": ["one"]}


def test_a_page_has_a_cap(memory: Memory) -> None:
    with Server(memory, Settings(Limits(page=4))) as server:
        data = manifest()
        put(server, data, Digest.of(data), query="?" + "&".join(f"tag={tag}" for tag in TAGS))
        for query in ("", "?n=1000"):
            reply = server.ask("GET", f"/v2/one/tags/list{query}")
            assert reply.json["tags"] == TAGS[:4]
            assert server.ask("GET", link(reply)).json["tags"] == TAGS[4:8]


@pytest.mark.parametrize(("path", "code"), [
    ("/v2/one/tags/list?last=..", "TAG_INVALID"), ("/v2/one/tags/list?last=a%00", "UNSUPPORTED"),
    ("/v2/one/tags/list?last=%FF", "UNSUPPORTED"), ("/v2/_catalog?last=A", "NAME_INVALID"),
    ("/v2/one/tags/list?n=1&n=2", "UNSUPPORTED"), ("/v2/_catalog?last=a&last=b", "UNSUPPORTED"),
])
def test_parameters_that_make_no_sense(tagged: Server, path: str, code: str) -> None:
    reply = tagged.ask("GET", path)
    assert (reply.status, reply.code) == (400, code)


def test_the_catalog_page_by_page(server: Server) -> None:
    names = ["a", "a/b", "c-d", "x/y/z"]
    for name in reversed(names):
        put(server, manifest(), name=name)
    assert server.ask("GET", "/v2/_catalog").json == {"repositories": names}
    reply = server.ask("GET", "/v2/_catalog?n=3")
    assert reply.json == {"repositories": names[:3]}
    reply = server.ask("GET", link(reply))
    assert reply.json == {"repositories": names[3:]} and reply.headers["Link"] is None


def test_referrers(server: Server) -> None:
    first = manifest(subject=SUBJECT, artifactType="application/a", annotations={"k": "v"})
    second, third = manifest(subject=SUBJECT), index(subject=SUBJECT)
    for data, kind in ((first, OCI_MANIFEST), (second, OCI_MANIFEST), (third, OCI_INDEX), (manifest(), OCI_MANIFEST)):
        put(server, data, Digest.of(data), kind)
    reply = server.ask("GET", f"/v2/one/referrers/{SUBJECT['digest']}")
    assert (reply.status, reply["Content-Type"]) == (200, OCI_INDEX)
    assert (reply.json["schemaVersion"], reply.json["mediaType"]) == (2, OCI_INDEX)
    found = {one["digest"]: one for one in reply.json["manifests"]}
    assert set(found) == {Digest.of(first), Digest.of(second), Digest.of(third)}
    assert found[Digest.of(first)]["artifactType"] == "application/a" and found[Digest.of(first)]["annotations"] == {"k": "v"}
    assert found[Digest.of(second)]["artifactType"] == OCI_EMPTY and "artifactType" not in found[Digest.of(third)]
    assert reply.headers["OCI-Filters-Applied"] is None


def test_referrers_of_one_kind(server: Server) -> None:
    wanted = manifest(subject=SUBJECT, artifactType="application/a+b")
    for data in (wanted, manifest(subject=SUBJECT)):
        put(server, data, Digest.of(data))
    reply = server.ask("GET", f"/v2/one/referrers/{SUBJECT['digest']}?artifactType=application/a%2Bb")
    assert reply["OCI-Filters-Applied"] == "artifactType"
    assert [one["digest"] for one in reply.json["manifests"]] == [Digest.of(wanted)]


def test_referrers_of_nothing(server: Server, memory: Memory) -> None:
    memory.repository("empty")
    for name in ("nothing", "empty"):
        reply = server.ask("GET", f"/v2/{name}/referrers/{SUBJECT['digest']}")
        assert (reply.status, reply.json["manifests"]) == (200, [])


def test_referrers_of_what_is_no_digest(server: Server) -> None:
    for text in ("x", "sha256:1", "..", "latest"):
        reply = server.ask("GET", f"/v2/one/referrers/{text}")
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("query", ["", "artifactType=application/a"])
def test_referrers_page_by_page(memory: Memory, query: str) -> None:
    with Server(memory, Settings(Limits(referrers=2000))) as server:
        every = []
        for number in range(9):
            data = manifest(subject=SUBJECT, artifactType="application/a", annotations={"n": str(number) * 200})
            every.append(Digest.of(data))
            put(server, data, every[-1])
        other = manifest(subject=SUBJECT)
        put(server, other, Digest.of(other))
        path: str | None = f"/v2/one/referrers/{SUBJECT['digest']}?{query}"
        seen, pages = [], 0
        while path:
            reply = server.ask("GET", path)
            assert len(reply.body) <= 2000
            seen += [one["digest"] for one in reply.json["manifests"]]
            path = link(reply) if reply.headers["Link"] else None
            pages += 1
        assert sorted(seen) == sorted([*every, *([] if query else [Digest.of(other)])]) and pages > 2
