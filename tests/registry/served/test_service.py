"""Around the API: mounts, access, switches, hooks, TLS, stopping."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Mapping, Sequence

import pytest
import urllib3
from aiohttp import web

from lamina.digest import Digest
from lamina.oci import OCI_MANIFEST
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.settings import Settings
from registry.conftest import Pki
from registry.served.kit import Server, manifest, put, read, rest
from registry.served.memory import Memory

DATA = b"data"
DIGEST = Digest.of(DATA)
ABSENT = Digest.of(b"absent")


def test_mount(server: Server, memory: Memory) -> None:
    memory.add("source", DATA)
    reply = server.ask("POST", f"/v2/one/blobs/uploads/?mount={DIGEST}&from=source")
    assert (reply.status, reply["Location"], reply["Docker-Content-Digest"]) == (201, f"/v2/one/blobs/{DIGEST}", DIGEST)
    assert server.ask("GET", reply["Location"]).body == DATA and not memory.uploads


def test_mount_from_anywhere(server: Server, memory: Memory) -> None:
    memory.add("source", DATA)
    assert server.ask("POST", f"/v2/one/blobs/uploads/?mount={DIGEST}").status == 201


@pytest.mark.parametrize("query", [f"mount={ABSENT}&from=source", f"mount={DIGEST}&from=elsewhere", f"mount={ABSENT}",
                                   f"mount={DIGEST}&from=..", f"mount={DIGEST}&from=", f"mount={DIGEST}&from=A%00"[:-3]])
def test_a_mount_that_cannot_be_had_begins_an_upload(server: Server, memory: Memory, query: str) -> None:
    memory.add("source", DATA)
    reply = server.ask("POST", f"/v2/one/blobs/uploads/?{query}")
    assert reply.status == 202
    assert server.ask("PUT", f"{reply['Location']}?digest={DIGEST}", DATA).status == 201


def test_mount_of_what_is_no_digest(server: Server, memory: Memory) -> None:
    reply = server.ask("POST", "/v2/one/blobs/uploads/?mount=..&from=source")
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID") and not memory.uploads


class Rules:
    """Lets through what is listed; somebody without a name may nothing."""

    def __init__(self, *allowed: tuple[str | None, str]) -> None:
        self.allowed = set(allowed)
        self.asked: list[tuple[str | None, str]] = []

    def may(self, repository: str, action: str) -> bool:
        return (repository, action) in self.allowed

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str,
              also: Sequence[tuple[str, str]] = ()) -> Rules:
        self.asked.append((repository, action))
        if "authorization" not in headers:
            raise Refusal("UNAUTHORIZED", headers={"WWW-Authenticate": 'Basic realm="lamina"'})
        if (repository, action) not in self.allowed:
            raise Refusal("DENIED")
        return self


ROWS = [
    ("GET", "/v2/", (None, "pull")), ("GET", "/v2/_catalog", (None, "catalog")), ("GET", "/v2/one/tags/list", ("one", "pull")),
    ("GET", f"/v2/one/referrers/{DIGEST}", ("one", "pull")), ("GET", "/v2/one/manifests/a", ("one", "pull")),
    ("HEAD", "/v2/one/manifests/a", ("one", "pull")), ("PUT", "/v2/one/manifests/a", ("one", "push")),
    ("DELETE", "/v2/one/manifests/a", ("one", "delete")), ("DELETE", f"/v2/one/manifests/{DIGEST}", ("one", "delete")),
    ("GET", f"/v2/one/blobs/{DIGEST}", ("one", "pull")), ("HEAD", f"/v2/one/blobs/{DIGEST}", ("one", "pull")),
    ("DELETE", f"/v2/one/blobs/{DIGEST}", ("one", "delete")), ("POST", "/v2/one/blobs/uploads/", ("one", "push")),
    ("POST", f"/v2/one/blobs/uploads/?digest={DIGEST}", ("one", "push")),
    ("POST", f"/v2/one/blobs/uploads/?mount={DIGEST}&from=source", ("one", "push")),
    ("GET", "/v2/one/blobs/uploads/x", ("one", "push")), ("PATCH", "/v2/one/blobs/uploads/x", ("one", "push")),
    ("PUT", f"/v2/one/blobs/uploads/x?digest={DIGEST}", ("one", "push")),
    ("DELETE", "/v2/one/blobs/uploads/x", ("one", "push")),
]


@pytest.mark.parametrize(("method", "path", "wanted"), ROWS)
def test_every_request_is_admitted(memory: Memory, method: str, path: str, wanted: tuple[str | None, str]) -> None:
    rules = Rules()
    with Server(memory, options={"access": rules}) as server:
        reply = server.ask(method, path, b"x" if method in ("PUT", "PATCH", "POST") else None)
        assert reply.status == 401 and reply["WWW-Authenticate"] == 'Basic realm="lamina"'
        assert method == "HEAD" or reply.code == "UNAUTHORIZED"
        reply = server.ask(method, path, headers={"Authorization": "x"})
        assert reply.status == 403 and (method == "HEAD" or reply.code == "DENIED")
        assert rules.asked == [wanted] * 2 and not memory.all and not memory.uploads
        rules.allowed.add(wanted)
        assert server.ask(method, path, headers={"Authorization": "x"}).status not in (401, 403)


def test_mount_needs_a_right_to_the_source(memory: Memory) -> None:
    memory.add("source", DATA)
    rules = Rules(("one", "push"))
    with Server(memory, options={"access": rules}) as server:
        for query in ("&from=source", ""):
            reply = server.ask("POST", f"/v2/one/blobs/uploads/?mount={DIGEST}{query}", headers={"Authorization": "x"})
            assert reply.status == 202 and not memory.repository("one").blobs
        rules.allowed.add(("source", "pull"))
        for query in ("&from=source", ""):
            reply = server.ask("POST", f"/v2/one/blobs/uploads/?mount={DIGEST}{query}", headers={"Authorization": "x"})
            assert reply.status == 201


def test_the_catalog_shows_what_may_be_pulled(memory: Memory) -> None:
    rules = Rules((None, "catalog"), ("b", "pull"), ("d", "pull"))
    for name in "abcde":
        memory.repository(name).manifests[DIGEST] = None  # type: ignore[assignment]
    with Server(memory, options={"access": rules}) as server:
        seen, path = [], "/v2/_catalog?n=1"
        while path:
            reply = server.ask("GET", path, headers={"Authorization": "x"})
            seen += reply.json["repositories"]
            path = (reply.headers["Link"] or "").partition(">")[0].removeprefix("<")
        assert seen == ["b", "d"]


def test_read_only(memory: Memory) -> None:
    with Server(memory, Settings(writes=False)) as server:
        for method, path, wanted in ROWS:
            if wanted[1] in ("push", "delete") and method != "GET" and "uploads/x" not in path:
                reply = server.ask(method, path)
                assert (reply.status, reply.code, reply["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD"), path
        assert server.ask("GET", "/v2/").status == 200 and not memory.uploads


def test_without_deletion(memory: Memory) -> None:
    with Server(memory, Settings(deletes=frozenset())) as server:
        put(server, manifest())
        for path in ("manifests/latest", f"manifests/{Digest.of(manifest())}", f"blobs/{DIGEST}"):
            reply = server.ask("DELETE", f"/v2/one/{path}")
            assert (reply.status, reply.code) == (405, "UNSUPPORTED")
        assert memory.all["one"].tags and server.ask("DELETE", server.begin()).status == 204


def test_warnings(memory: Memory) -> None:
    texts = ['say "no"\\', "line\r\nbreak", "x" * 5000, "never reached"]
    with Server(memory, options={"warnings": lambda call: texts}) as server:
        reply = server.ask("GET", "/v2/")
        assert reply.headers.get_all("Warning") == ['299 - "say \\"no\\"\\\\"', '299 - "line??break"']


def test_beside_the_api(memory: Memory) -> None:
    async def page(request: web.BaseRequest) -> web.StreamResponse | None:
        return web.Response(text="page") if request.path == "/" else None

    with Server(memory, options={"beside": page}) as server:
        assert server.ask("GET", "/").body == b"page"
        assert server.ask("GET", "/other").code == "UNSUPPORTED"


def test_what_is_observed(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    server.ask("GET", f"/v2/one/blobs/{digest}")
    server.ask("PUT", f"{server.begin()}?digest={digest}", DATA)
    server.ask("GET", "/elsewhere")
    got, begun, pushed, lost = server.over(4)
    assert (got.kind, got.repository, got.status, got.sent, got.whole) == ("blob", "one", 200, 4, True)
    assert (begun.kind, begun.status, pushed.kind, pushed.status, pushed.received) == ("uploads", 202, "upload", 201, 4)
    assert (lost.kind, lost.status, lost.seconds > 0) == ("", 404, True)


def test_a_mistake_of_ours_is_an_envelope(server: Server, memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    memory.tags = lambda *_: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    reply = server.ask("GET", "/v2/one/tags/list")
    assert (reply.status, reply.code) == (500, "UNKNOWN") and b"Zero" not in reply.body
    assert "ZeroDivisionError" in caplog.text


def test_tls_and_a_certificate_that_changes(memory: Memory, pki: Pki) -> None:
    digest = memory.add("one", DATA * 1_000_000)
    context = pki.context("server")

    def shown() -> tuple[tuple[tuple[str, str], ...], ...]:
        with server.connect() as bare, client.wrap_socket(bare, server_hostname="localhost") as connection:
            certificate = connection.getpeercert()
            assert certificate is not None
            return certificate["subject"]

    with Server(memory, tls=context) as server:
        client = ssl.create_default_context(cafile=pki.ca)
        client.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=client, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"/v2/one/blobs/{digest}")
            assert connection.getresponse().read() == DATA * 1_000_000
        assert shown() == ((("commonName", "server"),),)
        context.load_cert_chain(pki.directory / "other.crt", pki.directory / "other.key")
        assert shown() == ((("commonName", "other"),),)


def test_plain_http_where_tls_is_spoken(memory: Memory, pki: Pki) -> None:
    with Server(memory, tls=pki.context()) as server, server.connect() as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
        rest(connection)


def test_another_client(server: Server) -> None:
    """urllib3 keeps its connection over refusals with bodies as well."""
    with urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=1) as pool:
        for _ in range(5):
            assert pool.request("PUT", "/v2/one/manifests/-", body=b"x" * 1000).status == 400
            assert pool.request("GET", "/v2/").status == 200
        assert pool.num_connections == 1


def test_stop_lets_requests_end(memory: Memory) -> None:
    with Server(memory) as server:
        location = server.begin()
        memory.gate.clear()
        with server.connect() as connection, server.connect() as idle:
            request = f"PUT {location}?digest={DIGEST} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
            connection.sendall(request.encode() + DATA)
            memory.wait_held()
            server.begin_stop()
            assert rest(idle) == 0
            memory.gate.set()
            assert read(connection).status == 201
            assert rest(connection) == 0
        server.stop()
    assert memory.all["one"].blobs == {DIGEST: DATA}


def test_stop_ends_what_takes_too_long(memory: Memory) -> None:
    with Server(memory, grace=0.2) as server:
        location = server.begin()
        with server.connect() as connection:
            connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n".encode() + DATA)
            memory.wait_held()
            server.stop()
    (upload,) = memory.uploads.values()
    assert upload.data in (b"", DATA) and not upload.held and server.service.buffers.lent == 0


def test_manifests_by_content_type_of_old_clients(server: Server) -> None:
    assert put(server, manifest(), media_type=OCI_MANIFEST.upper()).status == 201
