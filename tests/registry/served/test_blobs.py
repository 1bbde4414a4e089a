"""end-2, end-10: HEAD, GET, ranges, conditions, DELETE of blobs."""

from __future__ import annotations

import socket
import struct

import pytest

from lamina.digest import Digest
from lamina.registry.server.settings import Limits, Settings
from registry.served.kit import Server, read, rest
from registry.served.memory import Memory

DATA = bytes(range(256)) * 8


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_get(server: Server, memory: Memory, algorithm: str) -> None:
    digest = memory.add("one", DATA, algorithm)
    reply = server.ask("GET", f"/v2/one/blobs/{digest}")
    assert (reply.status, reply.body) == (200, DATA)
    assert reply["Docker-Content-Digest"] == digest and reply["ETag"] == f'"{digest}"'
    assert reply["Content-Length"] == "2048" and reply["Accept-Ranges"] == "bytes"
    assert reply["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert reply["Content-Type"] == "application/octet-stream" and reply["X-Content-Type-Options"] == "nosniff"


def test_head(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    reply = server.ask("HEAD", f"/v2/one/blobs/{digest}", headers={"Range": "bytes=1-2"})
    assert (reply.status, reply.body, reply["Content-Length"]) == (200, b"", "2048")
    assert reply["Docker-Content-Digest"] == digest
    assert memory.calls == []


def test_an_empty_blob(server: Server, memory: Memory) -> None:
    reply = server.ask("GET", f"/v2/one/blobs/{memory.add('one', b'')}")
    assert (reply.status, reply.body, reply["Content-Length"]) == (200, b"", "0")


def test_a_large_blob_comes_whole(server: Server, memory: Memory) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(1_300_000))
    assert server.ask("GET", f"/v2/one/blobs/{memory.add('one', data)}").body == data


def test_unknown(server: Server, memory: Memory) -> None:
    memory.add("one", DATA)
    reply = server.ask("GET", f"/v2/one/blobs/{Digest.of(b'other')}")
    assert (reply.status, reply.code) == (404, "BLOB_UNKNOWN")
    assert server.ask("HEAD", f"/v2/one/blobs/{Digest.of(b'other')}").status == 404
    reply = server.ask("GET", f"/v2/nothing/blobs/{Digest.of(b'other')}")
    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize(("text", "start", "stop"), [
    ("bytes=0-0", 0, 1), ("bytes=500-1499", 500, 1500), ("bytes=500-", 500, 2048), ("bytes=-500", 1548, 2048),
    ("bytes=-5000", 0, 2048), ("bytes=2000-99999", 2000, 2048), ("Bytes = 1-2 ", 1, 3),
])
def test_range(server: Server, memory: Memory, text: str, start: int, stop: int) -> None:
    digest = memory.add("one", DATA)
    reply = server.ask("GET", f"/v2/one/blobs/{digest}", headers={"Range": text})
    assert (reply.status, reply.body) == (206, DATA[start:stop])
    assert reply["Content-Range"] == f"bytes {start}-{stop - 1}/2048" and reply["Docker-Content-Digest"] == digest
    assert memory.calls == [f"open {start} {stop}"]


@pytest.mark.parametrize("text", ["bytes=2048-", "bytes=5000-6000", "bytes=500-0", "bytes=-0", "bytes=9999999999999999999-"])
def test_a_range_that_is_not_there(server: Server, memory: Memory, text: str) -> None:
    reply = server.ask("GET", f"/v2/one/blobs/{memory.add('one', DATA)}", headers={"Range": text})
    assert (reply.status, reply["Content-Range"], reply.code) == (416, "bytes */2048", "RANGE_INVALID")


@pytest.mark.parametrize("text", [
    "bytes=0-1,5-6", "bytes=" + ",".join(f"{one}-{one}" for one in range(3000)), "lines=1-2", "bytes=a-b", "bytes=-", "bytes",
    "bytes=1-2-3", "bytes=" + "9" * 4000 + "-", "bytes=٣-",
])
def test_ranges_that_are_not_served_give_the_whole(server: Server, memory: Memory, text: str) -> None:
    digest = memory.add("one", DATA)
    head = f"GET /v2/one/blobs/{digest} HTTP/1.1\r\nHost: a\r\nRange: {text}\r\n\r\n".encode()
    reply = server.raw(head)
    assert (reply.status, reply.body) == (200, DATA)
    assert memory.calls == ["open 0 2048"]


def test_a_range_of_an_empty_blob(server: Server, memory: Memory) -> None:
    digest = memory.add("one", b"")
    assert server.ask("GET", f"/v2/one/blobs/{digest}", headers={"Range": "bytes=0-"}).status == 416
    assert server.ask("GET", f"/v2/one/blobs/{digest}", headers={"Range": "bytes=-5"}).status == 200


def test_if_range(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    for given, status in ((f'"{digest}"', 206), (f'"{Digest.of(b"")}"', 200), (f'W/"{digest}"', 200),
                          ("Wed, 21 Oct 2015 07:28:00 GMT", 200)):
        reply = server.ask("GET", f"/v2/one/blobs/{digest}", headers={"Range": "bytes=0-9", "If-Range": given})
        assert reply.status == status, given


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(server: Server, memory: Memory, method: str) -> None:
    digest = memory.add("one", DATA)
    for given, status in ((f'"{digest}"', 304), (f'"x", W/"{digest}"', 304), ("*", 304), ('"x"', 200), (str(digest), 200)):
        reply = server.ask(method, f"/v2/one/blobs/{digest}", headers={"If-None-Match": given})
        assert reply.status == status, given
        assert reply["ETag"] == f'"{digest}"'
        assert (reply.body == b"") == (status == 304 or method == "HEAD")


def test_delete(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    assert server.ask("DELETE", f"/v2/one/blobs/{digest}").status == 202
    assert server.ask("GET", f"/v2/one/blobs/{digest}").status == 404
    assert server.ask("DELETE", f"/v2/one/blobs/{digest}").code == "BLOB_UNKNOWN"


@pytest.mark.parametrize("digest", ["sha256:12", "sha256:" + "A" * 64, "md5:" + "a" * 32, "sha256", "x" * 300,
                                    "sha256:" + "g" * 64])
def test_what_is_no_digest(server: Server, digest: str) -> None:
    for method in ("GET", "DELETE"):
        reply = server.ask(method, f"/v2/one/blobs/{digest}")
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_the_colon_of_a_digest_may_be_escaped(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    assert server.ask("GET", f"/v2/one/blobs/{digest.replace(':', '%3A')}").body == DATA


def test_a_blob_that_is_spoilt_at_once_is_an_error(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    memory.spoilt.add(digest)
    reply = server.ask("GET", f"/v2/one/blobs/{digest}")
    assert (reply.status, reply.code) == (500, "UNKNOWN")
    assert b"does not have" not in reply.body


def test_a_blob_that_is_spoilt_in_the_middle_is_cut_off(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA * 2000)
    memory.spoilt.add(digest)
    with server.connect() as connection:
        connection.sendall(f"GET /v2/one/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        # Content-Length has announced all of it.
        assert 0 < rest(connection) < len(DATA) * 2000


def test_a_client_that_goes_away_in_the_middle(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA * 20_000)
    with server.connect() as connection:
        connection.sendall(f"GET /v2/one/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert not server.over(1)[0].whole  # And fixtures look at what is left.


def test_a_client_that_does_not_read_is_cut_off(memory: Memory) -> None:
    digest = memory.add("one", DATA * 20_000)
    with Server(memory, Settings(Limits(patience=0.2, rate=1 << 30))) as server, server.connect() as connection:
        connection.sendall(f"GET /v2/one/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert not server.over(1)[0].whole
        assert rest(connection) < len(DATA) * 20_000


def test_two_requests_over_one_connection(server: Server, memory: Memory) -> None:
    digest = memory.add("one", DATA)
    request = f"GET /v2/one/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(request)
            assert read(connection).body == DATA
