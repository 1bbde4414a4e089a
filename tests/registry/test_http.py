"""One exchange: whole bodies or an error, limits, pace, and connections that are used again."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from lamina.errors import LaminaError, LimitExceeded, RegistryError, RegistryUnavailable
from lamina.registry.http import Http, agent
from lamina.registry.problems import NotReached
from registry.server import Exchange, Server
from registry.wirekit import SCOPE, Clock, http, timings
from registry.wirekit import client as registry_client

HEAD = b"HTTP/1.1 200 OK\r\n"


def sends(data: bytes, *, reset: bool = False, stall: bool = False) -> Callable[[Exchange], None]:
    """A handler that sends these bytes and then breaks off."""
    def handle(exchange: Exchange) -> None:
        exchange.raw(data)
        if stall:
            exchange.stall()
        exchange.cut(reset=reset)
    return handle


def read(client: Http, server: Server, limit: int = 1 << 20) -> bytes:
    with client.send("GET", f"{server.base}/v2/") as response:
        return response.body(limit)


def test_a_request_says_who_we_are_and_takes_bytes_as_they_are() -> None:
    with Server(lambda exchange: exchange.reply(200, {"Content-Encoding": "gzip"}, b"\x1f\x8bwhatever")) as server, \
            http() as client:
        assert read(client, server) == b"\x1f\x8bwhatever"
        assert server.seen[0].headers["Accept-Encoding"] == "identity"
        assert server.seen[0].headers["User-Agent"] == agent()
        assert agent().startswith("lamina/0")


def test_headers_are_found_whatever_their_case_and_a_head_has_no_body() -> None:
    with Server(lambda exchange: exchange.reply(200, {"X-oNe": "1", "Content-Length": "77"})) as server, http() as client, \
            client.send("HEAD", f"{server.base}/x?signed=1") as response:
        assert (response.status, response.headers["x-One"], response.headers["content-length"]) == (200, "1", "77")
        assert response.body(10) == b"" and response.url == f"{server.base}/x?signed=1"


@pytest.mark.parametrize("body", [b"", bytes(3 << 20), memoryview(bytes(range(256)) * 20_000)])
def test_a_body_is_sent_whole(body: bytes | memoryview) -> None:
    with Server(lambda exchange: exchange.reply(201, {}, exchange.read())) as server, http() as client, \
            client.send("PUT", server.base, body=body) as response:
        assert response.body(64 << 20) == bytes(body)
        assert server.seen[0].headers["Content-Length"] == str(len(body))


def test_a_large_body_comes_straight_into_the_buffer() -> None:
    data = bytes(range(256)) * 40_000
    with Server(lambda exchange: exchange.reply(200, {}, data)) as server, http() as client, \
            client.send("GET", server.base) as response:
        buffer, found = memoryview(bytearray(1 << 20)), bytearray()
        assert response.size == len(data)
        while count := response.readinto(buffer):
            found += buffer[:count]
        assert found == data and response.readinto(buffer) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_connection_is_used_again(method: str) -> None:
    with Server(lambda exchange: exchange.reply(200, {}, b"x" * 100_000)) as server, http() as client:
        for _ in range(3):
            with client.send(method, server.base, body=b"x" if method == "PUT" else None) as response:
                response.body(100_000)
        assert server.connections == 1


def test_an_answer_without_a_body_need_not_be_read() -> None:
    with Server(lambda exchange: exchange.reply(200, {"Content-Length": "1000000"})) as server, http() as client:
        for _ in range(2):
            client.send("HEAD", server.base).close()
        assert server.connections == 1


def test_what_is_not_read_is_closed_and_not_waited_for() -> None:
    handle = sends(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000, stall=True)
    with Server(handle) as server, http() as client:
        for _ in range(2):
            client.send("GET", server.base).close()
        assert server.connections == 2


def test_a_small_answer_that_is_not_wanted_keeps_its_connection() -> None:
    with Server(lambda exchange: exchange.reply(401, {}, b"{}")) as server, http() as client:
        for _ in range(2):
            client.send("GET", server.base).discard()
        assert server.connections == 1


def test_threads_share_the_connections() -> None:
    together = threading.Barrier(4)

    def handle(exchange: Exchange) -> None:
        together.wait(10)
        exchange.reply(200, {}, exchange.path.encode())

    found: list[bytes] = []
    with Server(handle) as server, http() as client:
        def ask(number: int) -> None:
            with client.send("GET", f"{server.base}/{number}") as response:
                found.append(response.body(10))
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [b"/0", b"/1", b"/2", b"/3"]


@pytest.mark.parametrize(("reply", "says"), [
    (HEAD + b"Content-Length: 10\r\n\r\n12345", "broke off"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "broke off"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "broke off"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", "broke off"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", "broke off"),
    (HEAD + b"Content-Length: many\r\n\r\n12345", "Content-Length"),
    (HEAD + b"Content-Length: -5\r\n\r\n12345", "Content-Length"),
    (HEAD + b"Content-Length: 5, 6\r\n\r\n12345", "Content-Length|HTTP"),
    (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", "Content-Length|HTTP"),
    (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n12345", "Content-Length"),
    (b"", "broke off without an answer"),
    (HEAD, "broke off"),
    (HEAD + b"Content-Le", "broke off"),
    (HEAD + b"Transfer-Encoding: chunked", "broke off"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    (b"\x00\x01\x02\r\n\r\n", "does not speak HTTP"),
    (b"HTTP/1.1 abc OK\r\n\r\n", "does not speak HTTP"),
    (b"220 mail.example ESMTP\r\n" * 1000, "does not speak HTTP"),
    (HEAD + b"X: y\r\n" * 5000 + b"\r\n", "does not speak HTTP"),
    (HEAD + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n", "does not speak HTTP"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, "without end"),
    (b"HTTP/1.1 200 " + b"O" * (1 << 20) + b"\r\n\r\n", "does not speak HTTP"),
])
def test_half_an_answer_is_never_an_answer(reply: bytes, says: str) -> None:
    with Server(sends(reply)) as server, http() as client, pytest.raises(RegistryError, match=says) as caught:
        read(client, server)
    assert server.host in str(caught.value) and "\n" not in str(caught.value)


def test_what_came_before_the_cut_counts() -> None:
    with Server(sends(HEAD + b"Content-Length: 300000\r\n\r\n" + b"x" * 200_000)) as server, http() as client, \
            client.send("GET", server.base) as response:
        buffer, found = memoryview(bytearray(1 << 20)), 0
        with pytest.raises(RegistryUnavailable, match="broke off"):
            while True:
                count = response.readinto(buffer)
                assert count
                found += count
        assert found == 200_000
        with pytest.raises(RegistryUnavailable):
            response.readinto(buffer)


def test_a_body_longer_than_it_said_is_cut_there_and_spoils_nothing() -> None:
    with Server(sends(HEAD + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n")) as server, \
            registry_client(server.host) as client:
        for _ in range(3):
            with client.send("GET", "/v2/a", scope=SCOPE) as response:
                assert response.body(10) == b"hello"


def test_a_reset_is_told_from_an_end() -> None:
    with Server(sends(HEAD + b"Content-Length: 9\r\n\r\n123", reset=True)) as server, http() as client, \
            pytest.raises(RegistryUnavailable, match="broke off"):
        read(client, server)
    with Server(sends(b"", reset=True)) as server, http() as client, \
            pytest.raises(RegistryUnavailable, match=r"broke off(: connection reset| without an answer)"):
        read(client, server)


def test_nobody_there_means_that_nothing_was_sent() -> None:
    with Server(sends(b"")) as gone:
        pass
    with http() as client, pytest.raises(NotReached, match=f"cannot connect to {gone.host}: connection refused"):
        client.send("GET", f"{gone.base}/v2/?token=s3cr3t")


def test_a_name_that_nobody_knows() -> None:
    with http() as client, pytest.raises(NotReached, match=r"cannot connect to nobody\.invalid: the name is not known"):
        client.send("GET", "https://nobody.invalid/v2/")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Slo"])
def test_silence_is_not_waited_out(start: bytes) -> None:
    with Server(sends(start, stall=True)) as server, http(made=timings(read=0.05)) as client, \
            pytest.raises(RegistryUnavailable, match="does not answer"):
        read(client, server)


def test_silence_in_a_body_is_not_waited_out() -> None:
    with Server(sends(HEAD + b"Content-Length: 5\r\n\r\n12", stall=True)) as server, \
            http(made=timings(read=0.05)) as client, pytest.raises(RegistryUnavailable, match="stopped sending"):
        read(client, server)


def drip(head: bytes, piece: bytes, clock: Clock) -> Callable[[Exchange], None]:
    """A handler that sends a head and then a piece over and over, each only after the clock was looked at again."""
    def handle(exchange: Exchange) -> None:
        exchange.raw(head)
        while True:
            seen = clock.time
            exchange.raw(piece)
            while clock.time == seen and exchange.open:
                pass
    return handle


@pytest.mark.parametrize(("head", "piece", "says"), [
    (HEAD, b"X: y\r\n", "head of an answer takes too long"),
    (HEAD + b"X: ", b"y", "head of an answer takes too long"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "head of an answer takes too long"),
    (HEAD + b"Content-Length: 100000\r\n\r\n", b"y", "less than 1024 bytes in 60 s"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n", "less than 1024 bytes in 60 s"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"y", "less than 1024 bytes in 60 s"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n", "less than 1024 bytes in 60 s"),
])
def test_a_trickle_is_cut(head: bytes, piece: bytes, says: str) -> None:
    clock = Clock(step=2.0)
    with Server(drip(head, piece, clock)) as server, http(made=timings(clock, read=10.0)) as client, \
            pytest.raises(RegistryUnavailable, match=says):
        read(client, server)


def test_a_slow_body_that_moves_is_not_cut() -> None:
    clock = Clock(step=2.0)
    with Server(lambda exchange: exchange.reply(200, {}, b"x" * 2_000_000)) as server, \
            http(made=timings(clock, slow_seconds=4.0, read=100.0)) as client:
        assert len(read(client, server, 2_000_000)) == 2_000_000


def test_an_upload_that_nobody_takes_is_cut() -> None:
    with Server(lambda exchange: exchange.stall()) as server, http(made=timings(commit=0.2)) as client, \
            pytest.raises(RegistryUnavailable):
        client.send("PUT", server.base, body=bytes(64 << 20))


@pytest.mark.parametrize("framing", [b"X: y\r\n", b"X: " + b"y" * 60_000 + b"\r\n"])
def test_a_trailer_without_end_is_cut(framing: bytes) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\n")
        while True:
            exchange.raw(framing * 100)

    with Server(handle) as server, http() as client, pytest.raises(RegistryUnavailable, match="without end"):
        read(client, server)


@pytest.mark.parametrize("announced", [True, False])
def test_no_more_is_read_than_is_asked_for(announced: bool) -> None:
    body = b"x" * (1 << 20)
    reply = HEAD + (b"Content-Length: 100000000\r\n\r\n" if announced else b"\r\n") + body
    with Server(sends(reply)) as server, http() as client:
        with pytest.raises(LimitExceeded, match="at most 1000") as caught, \
                client.send("GET", f"{server.base}/v2/?signature=s3cr3t") as response:
            response.body(1000)
        assert "s3cr3t" not in str(caught.value)


def test_plain_http_is_for_loopback_and_hosts_that_are_said_to_be_insecure() -> None:
    with http() as client, pytest.raises(RegistryError, match=r"plain HTTP is not allowed.*reg\.example:5000.*insecure"):
        client.send("GET", "http://reg.example:5000/v2/")


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "ftp://a.example/", "/v2/", "a.example", "", "https://", "https://user:s3cr3t@a.example/v2/",
    "https://a.example:99999/", "https://a.example:port/", "https://a.example/\r\nX: y", "https://a b.example/",
    "https://[::1/", "http://" + "a" * 20_000, "gopher://127.0.0.1:80/",
])
def test_what_is_no_url_is_not_asked(url: str) -> None:
    with http() as client, pytest.raises(LaminaError) as caught:
        client.send("GET", url)
    assert "s3cr3t" not in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_a_registry_that_leads_to_a_link_local_address_by_name_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(lambda exchange: exchange.reply(200)) as server, http() as client:
        monkeypatch.setattr("lamina.registry.wire.is_link_local", lambda address: address == "127.0.0.1")
        with pytest.raises(RegistryError, match="link-local"):
            client.send("GET", server.base, foreign=True)
        client.send("GET", server.base).close()
        assert len(server.seen) == 1
