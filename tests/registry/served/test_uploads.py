"""end-4 to end-6, end-13, end-14: every way in which a blob is pushed."""

from __future__ import annotations

import pytest

from lamina.digest import Digest
from lamina.errors import StorageError
from lamina.registry.server.settings import Limits, Settings
from registry.served.kit import SHORT, Server, read
from registry.served.memory import Memory

DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)
LONG = DATA * 200


def head(location: str, size: int) -> bytes:
    """Of a request that announces so many bytes."""
    return f"PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()


def test_post(server: Server, memory: Memory) -> None:
    reply = server.ask("POST", "/v2/one/blobs/uploads/")
    (upload_id,) = memory.uploads
    assert reply.status == 202 and reply["Location"] == f"/v2/one/blobs/uploads/{upload_id}"
    assert reply["Range"] == "0-0" and reply["Docker-Upload-UUID"] == upload_id


def test_post_without_the_last_slash(server: Server) -> None:
    assert server.ask("POST", "/v2/one/blobs/uploads").status == 202


def test_post_with_an_algorithm(server: Server, memory: Memory) -> None:
    reply = server.ask("POST", "/v2/one/blobs/uploads/?digest-algorithm=sha512")
    assert reply.status == 202
    digest = Digest.of(DATA, "sha512")
    assert server.ask("PUT", f"{reply['Location']}?digest={digest}", DATA)["Docker-Content-Digest"] == digest
    reply = server.ask("POST", "/v2/one/blobs/uploads/?digest-algorithm=md5")
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID") and not memory.uploads


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_post_with_the_blob(server: Server, memory: Memory, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    reply = server.ask("POST", f"/v2/one/blobs/uploads/?digest={digest}", DATA)
    assert (reply.status, reply["Location"]) == (201, f"/v2/one/blobs/{digest}")
    assert reply["Docker-Content-Digest"] == digest and memory.all["one"].blobs[digest] == DATA


def test_post_with_another_blob(server: Server, memory: Memory) -> None:
    reply = server.ask("POST", f"/v2/one/blobs/uploads/?digest={Digest.of(b'x')}", DATA)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert not memory.uploads and not memory.all["one"].blobs


def test_put_with_the_blob(server: Server, memory: Memory) -> None:
    reply = server.ask("PUT", f"{server.begin()}?digest={DIGEST}", DATA)
    assert (reply.status, reply["Location"], reply["Docker-Content-Digest"]) == (201, f"/v2/one/blobs/{DIGEST}", DIGEST)
    assert memory.all["one"].blobs == {DIGEST: DATA} and not memory.uploads


def test_put_of_an_empty_blob(server: Server, memory: Memory) -> None:
    digest = Digest.of(b"")
    assert server.ask("PUT", f"{server.begin()}?digest={digest}").status == 201
    assert memory.all["one"].blobs == {digest: b""}


def test_a_stream(server: Server, memory: Memory) -> None:
    """As docker does it: PATCH without Content-Range, in HTTP chunks, then PUT."""
    pieces = [bytes([number]) * 70_000 for number in range(60)]
    data = b"".join(pieces)
    reply = server.ask("PATCH", server.begin(), iter(pieces))
    assert (reply.status, reply["Range"]) == (202, f"0-{len(data) - 1}")
    assert server.ask("PUT", f"{reply['Location']}?digest={Digest.of(data)}").status == 201
    assert memory.largest_write == 1 << 20  # And not every little piece.


@pytest.mark.parametrize("last", ["PATCH", "PUT"])
def test_chunks(server: Server, memory: Memory, last: str) -> None:
    location, size = server.begin(), 3000
    starts = range(0, len(DATA), size)
    for start in starts:
        piece = DATA[start : start + size]
        end = start + len(piece) - 1
        final = start == starts[-1] and last == "PUT"
        reply = server.ask("PUT" if final else "PATCH", location + (f"?digest={DIGEST}" if final else ""), piece,
                           {"Content-Range": f"{start}-{end}"})
        if not final:
            assert (reply.status, reply["Range"]) == (202, f"0-{end}")
            location = reply["Location"]
    if last == "PATCH":
        reply = server.ask("PUT", f"{location}?digest={DIGEST}")
    assert reply.status == 201 and memory.all["one"].blobs == {DIGEST: DATA}


@pytest.mark.parametrize("given", ["10-19", "0-9", "3-4", "6-7", "9-5", "x", "5", "-5", "5-", "0-999999999999999999999",
                                   "5-7,8-9"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_out_of_order(server: Server, memory: Memory, given: str, method: str) -> None:
    location = server.begin()
    assert server.ask("PATCH", location, DATA[:5]).status == 202
    reply = server.ask(method, f"{location}?digest={DIGEST}", DATA[:10], {"Content-Range": given})
    assert (reply.status, reply.code) == (416, "BLOB_UPLOAD_INVALID")
    assert (reply["Location"], reply["Range"]) == (location, "0-4")
    # And the client goes on from there.
    status = server.ask("GET", location)
    assert (status.status, status["Range"], status.body) == (204, "0-4", b"")
    reply = server.ask("PUT", f"{status['Location']}?digest={DIGEST}", DATA[5:], {"Content-Range": f"5-{len(DATA) - 1}"})
    assert reply.status == 201 and memory.all["one"].blobs == {DIGEST: DATA}


def test_a_chunk_of_another_length(server: Server, memory: Memory) -> None:
    location = server.begin()
    reply = server.ask("PATCH", location, DATA[:10], {"Content-Range": "0-10"})
    assert (reply.status, reply.code) == (400, "SIZE_INVALID")
    assert server.ask("GET", location)["Range"] == "0-0" and len(memory.uploads) == 1


@pytest.mark.parametrize(("sent", "kept"), [(5, 5), (15, 10)])
def test_a_chunk_of_another_length_in_a_stream(server: Server, memory: Memory, sent: int, kept: int) -> None:
    reply = server.ask("PATCH", server.begin(), iter([DATA[:sent]]), {"Content-Range": "0-9"})
    assert (reply.status, reply.code) == (400, "SIZE_INVALID")
    (upload,) = memory.uploads.values()
    assert upload.data == DATA[:kept]


def test_status(server: Server) -> None:
    location = server.begin()
    for method in ("GET", "HEAD"):
        reply = server.ask(method, location)
        assert (reply.status, reply["Range"], reply["Location"]) == (204, "0-0", location)
    server.ask("PATCH", location, DATA)
    reply = server.ask("GET", location)
    assert (reply["Range"], reply["Docker-Upload-UUID"]) == (f"0-{len(DATA) - 1}", location.rpartition("/")[2])


def test_cancel(server: Server, memory: Memory) -> None:
    location = server.begin()
    server.ask("PATCH", location, DATA)
    assert server.ask("DELETE", location).status == 204
    assert not memory.uploads
    for method in ("GET", "DELETE", "PATCH"):
        reply = server.ask(method, location)
        assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_wrong_digest_ends_the_upload(server: Server, memory: Memory) -> None:
    location = server.begin()
    reply = server.ask("PUT", f"{location}?digest={Digest.of(b'x')}", DATA)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert server.ask("GET", location).status == 404 and not memory.uploads and not memory.all["one"].blobs


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:1", "?digest=md5:" + "0" * 32,
                                   f"?digest={DIGEST}&digest={DIGEST}"])
def test_put_without_a_digest_that_can_be_used(server: Server, memory: Memory, query: str) -> None:
    location = server.begin()
    reply = server.ask("PUT", location + query, DATA)
    assert reply.status == 400 and reply.code == ("UNSUPPORTED" if "&" in query else "DIGEST_INVALID")
    assert server.ask("GET", location).status == 204  # The upload is not lost for that.


@pytest.mark.parametrize("upload_id", ["nobody-began-this", "..", "%2e%2e", "..%2f..%2fetc", "a" * 129, "a%00", "-",
                                       "u;x", "%"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_upload_ids_that_are_made_up(server: Server, upload_id: str, method: str) -> None:
    reply = server.raw(f"{method} /v2/one/blobs/uploads/{upload_id}?digest={DIGEST} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_belongs_to_its_repository(server: Server) -> None:
    location = server.begin("one")
    assert server.ask("GET", location.replace("/one/", "/two/")).code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_is_for_one_request_at_a_time(server: Server, memory: Memory) -> None:
    location = server.begin()
    with server.connect() as connection:
        connection.sendall(head(location, 3000000) + bytes(2_000_000))
        memory.wait_for(1 << 20)
        reply = server.ask("GET", location)
        assert (reply.status, reply.code, reply["Retry-After"]) == (429, "TOOMANYREQUESTS", "1")
        connection.sendall(bytes(1_000_000))
        assert read(connection)["Range"] == "0-2999999"


def test_a_client_that_goes_away_can_go_on(server: Server, memory: Memory) -> None:
    location = server.begin()
    with server.connect() as connection:
        connection.sendall(head(location, len(LONG)) + LONG[:1_500_000])
        memory.wait_for(1 << 20)
    assert not server.over(2)[1].whole
    reply = server.ask("GET", location)
    last = int(reply["Range"].removeprefix("0-"))
    assert reply.status == 204 and 1 << 20 <= last + 1 <= 1_500_000
    reply = server.ask("PUT", f"{location}?digest={Digest.of(LONG)}", LONG[last + 1 :],
                       {"Content-Range": f"{last + 1}-{len(LONG) - 1}"})
    assert reply.status == 201 and memory.all["one"].blobs == {Digest.of(LONG): LONG}


def test_a_client_that_goes_away_in_a_single_post_leaves_nothing(server: Server, memory: Memory) -> None:
    with server.connect() as connection:
        location = f"/v2/one/blobs/uploads/?digest={DIGEST}"
        connection.sendall(head(location, len(LONG)).replace(b"PATCH", b"POST") + LONG[:1_500_000])
        memory.wait_for(1 << 20)
    server.over(1)
    assert not memory.uploads


def test_half_of_a_connection_closed_in_the_middle(server: Server, memory: Memory) -> None:
    location = server.begin()
    with server.connect() as connection:
        connection.sendall(head(location, len(LONG)) + LONG[:1_500_000])
        memory.wait_for(1 << 20)
        connection.shutdown(1)
        assert connection.recv(1000) == b""
    server.over(2)
    assert int(server.ask("GET", location)["Range"].removeprefix("0-")) >= (1 << 20) - 1


@pytest.mark.parametrize("framing", ["Content-Length: 9000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_a_body_that_stops_is_not_waited_for(memory: Memory, framing: str) -> None:
    with Server(memory, Settings(SHORT)) as server, server.connect() as connection:
        location = server.begin()
        connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: a\r\n{framing}".encode())
        reply = read(connection)
        assert (reply.status, reply.code, reply["Connection"]) == (408, "UNSUPPORTED", "close")
        assert connection.recv(1) == b""
        assert server.ask("GET", location)["Range"] == "0-2"


def test_a_body_that_trickles_is_not_waited_for(memory: Memory) -> None:
    """Every byte is in time, all together are too slow."""
    limits = Limits(patience=0.4, rate=1 << 20, linger=0.1)
    with Server(memory, Settings(limits)) as server, server.connect() as connection:
        location = server.begin()
        connection.sendall(head(location, 9000))
        connection.settimeout(0.05)
        answer = b""
        for _ in range(1000):
            connection.sendall(b"x")
            try:
                answer = connection.recv(1000)
                break
            except TimeoutError:
                pass
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("piece", ["x\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n", "3\nabc\n0\n\n",
                                   "3\r\nabcde\r\n0\r\n\r\n", "3 ;\x01\r\nabc\r\n",
                                   "fffffffffffffffff\r\nabc\r\n"])
def test_chunks_of_http_that_are_malformed(server: Server, memory: Memory, piece: str) -> None:
    location = server.begin()
    reply = server.raw(f"PATCH {location} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{piece}".encode())
    assert reply.status == 400 and reply.code in ("SIZE_INVALID", "UNSUPPORTED")
    assert len(memory.uploads) == 1


def test_reading_pauses_while_a_body_is_not_used(server: Server, memory: Memory) -> None:
    location = server.begin()
    memory.gate.clear()
    size = 64 << 20
    try:
        with server.connect() as connection:
            connection.sendall(head(location, size))
            connection.settimeout(1.0)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < size:
                    sent += connection.send(bytes(1 << 20))
            assert sent < 32 << 20  # What the kernel holds for both ends, and some of ours.
    finally:
        memory.gate.set()
    server.over(2)


def test_expect_100_continue(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(f"PUT {server.begin()}?digest={DIGEST} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           f"Content-Length: {len(DATA)}\r\n\r\n".encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(DATA)
        assert read(connection).status == 201


def test_what_is_refused_is_not_asked_for(server: Server) -> None:
    """And the connection ends, as nobody knows whether the body comes."""
    reply = server.raw(f"PUT /v2/one/blobs/uploads/nobody?digest={DIGEST} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                       "Content-Length: 5\r\n\r\n".encode())
    assert (reply.status, reply["Connection"]) == (404, "close")


def test_another_expectation(server: Server) -> None:
    assert server.ask("GET", "/v2/", headers={"Expect": "200-ok"}).status == 417


def test_blobs_have_a_largest_size(memory: Memory) -> None:
    with Server(memory, Settings(Limits(blob=100))) as server:
        for body in (DATA, iter([DATA])):
            location = server.begin()
            reply = server.ask("PATCH", location, body)
            assert (reply.status, reply.code) == (413, "SIZE_INVALID")
        reply = server.ask("POST", f"/v2/one/blobs/uploads/?digest={DIGEST}", DATA)
        assert reply.status == 413
        assert server.ask("PATCH", location, b"").status == 202
        assert all(len(upload.data) <= 100 for upload in memory.uploads.values()) and len(memory.uploads) == 2


@pytest.mark.parametrize(("error", "status"), [(StorageError("no"), 500), (OSError(28, "full"), 507), (OSError(5, "I/O"), 500)])
def test_a_store_that_fails(server: Server, memory: Memory, error: Exception, status: int) -> None:
    location = server.begin()
    memory.fail_write = error
    reply = server.ask("PATCH", location, DATA)
    assert (reply.status, reply.code) == (status, "UNKNOWN")
    memory.fail_write = None
    assert server.ask("PUT", f"{location}?digest={DIGEST}", DATA).status == 201


def test_a_compressed_body_is_kept_as_it_comes(server: Server, memory: Memory) -> None:
    """A blob is its bytes, whatever Content-Encoding calls them: nothing is inflated, so no bomb goes off."""
    import gzip

    bomb = gzip.compress(bytes(1 << 24))
    reply = server.ask("PUT", f"{server.begin()}?digest={Digest.of(bomb)}", bomb, {"Content-Encoding": "gzip"})
    assert reply.status == 201 and memory.all["one"].blobs[Digest.of(bomb)] == bomb
