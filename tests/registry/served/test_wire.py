"""What is no proper request: smuggling, floods, silence; and paths that are not what they seem."""

from __future__ import annotations

import contextlib

import pytest

from lamina.digest import Digest
from lamina.registry.server.settings import Limits, Settings
from registry.served.kit import SHORT, Server, read, rest
from registry.served.memory import Memory

HOST = "Host: a\r\n"


@pytest.mark.parametrize("path", ["/v2/", "/v2", "/v2/?ns=docker.io"])
def test_the_base(server: Server, path: str) -> None:
    reply = server.ask("GET", path)
    assert (reply.status, reply.json) == (200, {}) and reply["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert server.ask("HEAD", path).status == 200


@pytest.mark.parametrize("path", ["/v2/x", "/v2/one/unknown/x", "/v2/one/tags", "/v2/one/blobs", "/v2/one/tags/other", "/v1/",
                                  "/", "/v2x", "/v2/blobs/uploads/", "/../v2/", "//v2/", "/v2/one/blobs/uploads/a/b"])
def test_paths_that_lead_nowhere(server: Server, path: str) -> None:
    reply = server.raw(f"GET {path} HTTP/1.1\r\n{HOST}\r\n".encode())
    assert (reply.status, reply.code) == (404, "UNSUPPORTED")


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("POST", "/v2/", "GET, HEAD"), ("DELETE", "/v2/_catalog", "GET, HEAD"), ("PUT", "/v2/one/tags/list", "GET, HEAD"),
    ("POST", "/v2/one/manifests/a", "GET, HEAD, PUT, DELETE"),
    ("PUT", f"/v2/one/blobs/{Digest.of(b'')}", "GET, HEAD, DELETE"),
    ("GET", "/v2/one/blobs/uploads/", "POST"), ("POST", "/v2/one/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"),
    ("PATCH", f"/v2/one/referrers/{Digest.of(b'')}", "GET, HEAD"), ("OPTIONS", "/v2/", "GET, HEAD"),
    ("TRACE", "/v2/", "GET, HEAD"),
])
def test_methods_that_are_not_allowed(server: Server, method: str, path: str, allowed: str) -> None:
    reply = server.ask(method, path)
    assert (reply.status, reply["Allow"], reply.code) == (405, allowed, "UNSUPPORTED")


NAMES = ["..", "a/..", "../a", "a/../b", "a//b", "/a", "A", "a/B", "a%2fb", "%2e%2e", "a%00", "a%", "a\\b", "a:b", "a b%20",
         "-a", "a-", "a..b", "a___b", "a/_b", ".a", "a;b", "ä", "a@b", "a" * 256, "a/" * 127 + "ab", "%61", "a.", "*", "a~b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rest", ["tags/list", f"blobs/{Digest.of(b'')}", "manifests/a", f"referrers/{Digest.of(b'')}",
                                  "blobs/uploads/x"])
def test_names_that_are_none(server: Server, memory: Memory, name: str, rest: str) -> None:
    reply = server.raw(f"GET /v2/{name}/{rest} HTTP/1.1\r\n{HOST}\r\n".encode())
    assert reply.status == 400 and reply.code in ("NAME_INVALID", "UNSUPPORTED") and not memory.all
    if " " not in name and name.isascii():
        assert reply.code == "NAME_INVALID"


@pytest.mark.parametrize("name", ["a", "a/b", "a.b_c__d--e", "a" * 255, "blobs/uploads", "a/manifests/b",
                                  "tags/list", "0", "v2"])
def test_names_that_are_some(server: Server, memory: Memory, name: str) -> None:
    digest = memory.add(name, b"x")
    assert server.ask("GET", f"/v2/{name}/blobs/{digest}").body == b"x"
    assert server.ask("GET", f"/v2/{name}/tags/list").json["name"] == name
    location = server.begin(name)
    assert server.ask("PUT", f"{location}?digest={digest}", b"x").status == 201


def test_the_whole_url_in_the_request_line(server: Server, memory: Memory) -> None:
    memory.repository("one")
    reply = server.raw(f"GET http://elsewhere/v2/one/tags/list?n=1 HTTP/1.1\r\n{HOST}\r\n".encode())
    assert reply.json == {"name": "one", "tags": []}
    assert server.raw(f"GET http://elsewhere/v2/%2e%2e/tags/list HTTP/1.1\r\n{HOST}\r\n".encode()).status == 400


# Each of these is one request to some and two to others.
SMUGGLED = {
    "both lengths": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths in one": "Content-Length: 5, 5\r\n\r\nhello",
    "a length with a sign": "Content-Length: +5\r\n\r\nhello",
    "a length below nought": "Content-Length: -5\r\n\r\nhello",
    "a length in hex": "Content-Length: 0x5\r\n\r\nhello",
    "a length with a space": "Content-Length: 5 5\r\n\r\nhello",
    "a length with an underscore": "Content-Length: 1_0\r\n\r\nhello",
    "a length beyond 64 bits": "Content-Length: 99999999999999999999\r\n\r\nhello",
    "no length": "Content-Length:\r\n\r\n",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": "X-A: b\r\n Content-Length: 5\r\n\r\nhello",
    "a line without a colon": "nonsense\r\n\r\n",
    "a bare CR": "X-A: b\rContent-Length: 5\r\n\r\nhello",
    "a bare LF": "X-A: b\nContent-Length: 5\n\nhello",
    "a NUL in a value": "X-A: b\x00c\r\n\r\n",
    "a name with a space": "X A: b\r\n\r\n",
    "an empty name": ": b\r\n\r\n",
    "two hosts": "Host: b\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_smuggling(server: Server, memory: Memory, name: str) -> None:
    """One answer, 400, and nothing of what follows is taken for a request."""
    location = server.begin()
    data = f"PATCH {location} HTTP/1.1\r\n{HOST}{SMUGGLED[name]}".encode("latin-1")
    with server.connect() as connection:
        connection.sendall(data + f"DELETE {location} HTTP/1.1\r\n{HOST}\r\n".encode())
        reply = read(connection)
        assert (reply.status, reply["Connection"]) == (400, "close") and reply.code in ("UNSUPPORTED", "SIZE_INVALID")
        assert rest(connection) == 0
    assert len(memory.uploads) == 1


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\r\n\x00\r\n\r\n",
    b"GET /v2/ HTTP/9.9\r\n\r\n", b"GET /v2/ HTTP/1.1\r\n\r\n", b"NONSENSE /v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /v2/\x00 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /v2/ HTTP/1.1 x\r\n\r\n",
])
def test_what_is_no_http(server: Server, data: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(data)
        reply = read(connection)
        assert (reply.status, reply.code, reply["Connection"]) == (400, "UNSUPPORTED", "close") and rest(connection) == 0


def test_http_0_9(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /v2/\r\n\r\n")
        assert read(connection).status == 505 and rest(connection) == 0


@pytest.mark.parametrize("method", ["CONNECT a:1", "CONNECT /v2/", "GET *", "OPTIONS *"])
def test_targets_for_others(server: Server, method: str) -> None:
    with server.connect() as connection:
        connection.sendall(f"{method} HTTP/1.1\r\n{HOST}\r\n".encode())
        assert read(connection).status in (400, 404, 405)


def test_a_request_line_beyond_the_limit(server: Server) -> None:
    reply = server.raw(f"GET /v2/{'a' * 20_000}/tags/list HTTP/1.1\r\n{HOST}\r\n".encode())
    assert (reply.status, reply.code) == (414, "UNSUPPORTED")


def test_a_header_beyond_the_limit(server: Server) -> None:
    for line in (f"X-A: {'a' * 40_000}", f"{'X' * 40_000}: a"):
        reply = server.raw(f"GET /v2/ HTTP/1.1\r\n{HOST}{line}\r\n\r\n".encode())
        assert (reply.status, reply.code) == (431, "UNSUPPORTED")


def test_headers_by_the_thousand(server: Server) -> None:
    lines = "".join(f"X-{number}: {number}\r\n" for number in range(2000))
    reply = server.raw(f"GET /v2/ HTTP/1.1\r\n{HOST}{lines}\r\n".encode())
    assert (reply.status, reply.code) == (431, "UNSUPPORTED")


@pytest.mark.parametrize("end", ["", "\r\n"])
def test_headers_that_are_large_all_together(server: Server, end: str) -> None:
    lines = "".join(f"X-{number}: {'a' * 30_000}\r\n" for number in range(50))
    with server.connect() as connection, contextlib.suppress(ConnectionError):  # It may be ended while we send.
        connection.sendall(f"GET /v2/ HTTP/1.1\r\n{HOST}{lines}{end}".encode())
        answer = connection.recv(1000)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_requests_before_their_turn_are_bounded(server: Server, memory: Memory) -> None:
    location = server.begin()
    memory.gate.clear()
    try:
        with server.connect() as connection:
            connection.sendall(f"PATCH {location} HTTP/1.1\r\n{HOST}Content-Length: 1\r\n\r\nx".encode())
            memory.wait_held()
            line = f"GET /v2/ HTTP/1.1\r\n{HOST}X-A: {'a' * 30_000}\r\n\r\n".encode()
            with pytest.raises(ConnectionError):
                for _ in range(1000):
                    connection.sendall(line)
    finally:
        memory.gate.set()
    server.over(2)


def test_a_body_in_the_same_breath_as_its_head(server: Server, memory: Memory) -> None:
    """Is no large head, nor a request before its turn."""
    location = server.begin()
    size = 3_000_000
    with server.connect() as connection:
        for start in (0, size):
            head = f"PATCH {location} HTTP/1.1\r\n{HOST}Content-Length: {size}\r\n\r\n".encode()
            connection.sendall(head + bytes(size))
            assert read(connection)["Range"] == f"0-{start + size - 1}"


@pytest.mark.parametrize("rest", [0, 1])
def test_a_body_that_comes_before_the_handler_waits(memory: Memory, rest: int) -> None:
    """All of it, or not, is no request before its turn."""
    with Server(memory, Settings(Limits(heads=4096))) as server, server.connect() as connection:
        first, location = server.begin(), server.begin()
        memory.gate.clear()
        try:
            connection.sendall(f"PATCH {first} HTTP/1.1\r\n{HOST}Content-Length: 1\r\n\r\nx".encode())
            memory.wait_held()
            head = f"PATCH {location} HTTP/1.1\r\n{HOST}Content-Length: {20_000 + rest}\r\n\r\n".encode()
            connection.sendall(head + bytes(20_000))
        finally:
            memory.gate.set()
        read(connection)
        connection.sendall(bytes(rest))
        assert read(connection)["Range"] == f"0-{20_000 + rest - 1}"


def test_a_head_that_never_ends_is_bounded(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: ")
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                connection.sendall(b"a" * 10_000)


def test_a_token_as_long_as_they_get(server: Server) -> None:
    assert server.ask("GET", "/v2/", headers={"Authorization": f"Bearer {'a' * 30_000}"}).status == 200


@pytest.mark.parametrize("data", [b"", b"GET /v2/ HTT", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A"])
def test_a_head_that_does_not_come_is_not_waited_for(memory: Memory, data: bytes) -> None:
    with Server(memory, Settings(SHORT)) as server, server.connect() as connection:
        connection.sendall(data)
        assert rest(connection) == 0


def test_a_head_that_trickles_is_not_waited_for(memory: Memory) -> None:
    with Server(memory, Settings(SHORT)) as server, server.connect() as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nX-A: ")
        connection.settimeout(0.05)
        for _ in range(200):
            try:
                connection.sendall(b"a")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it waits on and on")


def test_an_idle_connection_is_ended(memory: Memory) -> None:
    with Server(memory, Settings(SHORT)) as server, server.connect() as connection:
        connection.sendall(f"GET /v2/ HTTP/1.1\r\n{HOST}\r\n".encode())
        assert read(connection).status == 200
        assert rest(connection) == 0


def test_connections_are_bounded(memory: Memory) -> None:
    with Server(memory, Settings(Limits(connections=2))) as server, server.connect() as one, server.connect() as two:
        for connection in (one, two):
            connection.sendall(f"GET /v2/ HTTP/1.1\r\n{HOST}\r\n".encode())
            assert read(connection).status == 200
        with server.connect() as three:
            reply = read(three)
            assert (reply.status, reply["Retry-After"]) == (503, "5") and rest(three) == 0
        one.shutdown(1)
        assert rest(one) == 0
        assert server.ask("GET", "/v2/").status == 200


def test_requests_pipelined_by_the_thousand(server: Server) -> None:
    with server.connect() as connection:
        request = f"GET /v2/ HTTP/1.1\r\n{HOST}\r\n".encode()
        connection.sendall(request * 1000)
        stream = connection.makefile("rb")
        for _ in range(1000):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(2) == b"{}"


def test_parameters_by_the_thousand(server: Server) -> None:
    reply = server.ask("GET", "/v2/one/tags/list?" + "&".join("a=b" for _ in range(1000)))
    assert (reply.status, reply.code) == (414, "UNSUPPORTED")


def test_what_a_client_wrote_does_not_act_in_an_answer(server: Server) -> None:
    reply = server.ask("PUT", "/v2/one/manifests/%0d%0aSet-Cookie:a", b"{}")
    assert reply.headers["Set-Cookie"] is None and reply.code in ("TAG_INVALID", "DIGEST_INVALID")
    reply = server.ask("POST", "/v2/one/blobs/uploads/?mount=%0d%0aSet-Cookie:a")
    assert (reply.status, reply.headers["Set-Cookie"]) == (400, None)
