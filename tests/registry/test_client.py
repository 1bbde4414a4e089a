"""One registry: authorization, patience, and what its refusals come to."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lamina.errors import LaminaError, NotFound, RegistryError, RegistryUnavailable, Unauthorized
from lamina.registry.configuration import Registries
from registry.server import Exchange, Server
from registry.wirekit import SCOPE, SECRET, Clock, Who, client, pong

PAGE = b"<!DOCTYPE html><html><body>Please log in to the WiFi</body></html>"


def after_ping(handle: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    def both(exchange: Exchange) -> None:
        if not pong(exchange):
            handle(exchange)
    return both


def answers(*replies: int | tuple[int, dict[str, str]]) -> Callable[[Exchange], None]:
    """One after the other; 0 breaks off."""
    left = list(replies)

    def handle(exchange: Exchange) -> None:
        exchange.read()
        reply = left.pop(0) if len(left) > 1 else left[0]
        status, headers = reply if isinstance(reply, tuple) else (reply, {})
        if not status:
            exchange.cut()
        exchange.reply(status, headers, b"fine" if status < 300 else b"{}")
    return after_ping(handle)


def asked(server: Server) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in server.seen if seen.path != "/v2/"]


def test_an_answer_that_was_expected() -> None:
    with Server(answers(202)) as server, client(server.host) as one, \
            one.send("POST", "/v2/a/blobs/uploads/", scope=SCOPE, expect=(201, 202), headers={"X-One": "1"}) as response:
        assert response.status == 202 and response.body(10) == b"fine"
        assert server.seen[-1].headers["X-One"] == "1" and "Authorization" not in server.seen[-1].headers


def test_a_challenge_is_answered_and_the_body_sent_again() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.read()
        known = exchange.headers.get("Authorization") == SECRET
        exchange.reply(201 if known else 401, {} if known else {"WWW-Authenticate": 'Bearer realm="https://a"'})

    who = Who()
    with Server(after_ping(handle)) as server, client(server.host, who=who) as one:
        one.send("PUT", "/v2/a", scope=SCOPE, body=b"body", expect=(201,)).close()
        assert [seen.size for seen in server.seen if seen.path == "/v2/a"] == [4, 4]
        assert who.challenges[0]["www-authenticate"] == 'Bearer realm="https://a"' and who.base == server.base


@pytest.mark.parametrize(("willing", "requests"), [(True, 3), (False, 1)])
def test_a_registry_that_is_never_content_is_not_asked_for_ever(willing: bool, requests: int) -> None:
    with Server(answers(401)) as server, client(server.host, who=Who(willing=willing)) as one:
        with pytest.raises(Unauthorized, match=f"lamina login {server.host}"):
            one.send("GET", "/v2/a", scope=SCOPE)
        assert len(asked(server)) == requests


def test_a_401_in_the_middle_is_answered_as_the_first() -> None:
    who = Who(known=True)
    with Server(answers(200, 401, 200)) as server, client(server.host, who=who) as one:
        for _ in range(2):
            one.send("GET", "/v2/a", scope=SCOPE).close()
        assert len(who.challenges) == 1


@pytest.mark.parametrize(("status", "kind"), [
    (404, NotFound), (403, Unauthorized), (400, RegistryError), (405, RegistryError), (416, RegistryError),
    (501, RegistryError), (204, RegistryError), (304, RegistryError), (299, RegistryError), (999, RegistryError),
])
def test_what_is_refused_is_not_tried_again(status: int, kind: type[LaminaError]) -> None:
    clock = Clock()
    with Server(answers(status)) as server, client(server.host, clock=clock) as one:
        with pytest.raises(kind) as caught:
            one.send("GET", "/v2/a?token=s3cr3t", scope=SCOPE)
        assert type(caught.value) is kind and len(asked(server)) == 1 and clock.slept == []
        assert "s3cr3t" not in str(caught.value) and server.host in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
def test_what_passes_is_waited_for(status: int) -> None:
    clock = Clock()
    with Server(answers(status, status, 200)) as server, client(server.host, clock=clock) as one, \
            one.send("GET", "/v2/a", scope=SCOPE) as response:
        assert response.body(10) == b"fine" and clock.slept == [0.5, 1.0]


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_what_does_not_pass_ends_after_so_many_tries(status: int) -> None:
    clock = Clock()
    with Server(answers(status)) as server, client(server.host, clock=clock) as one:
        with pytest.raises(RegistryUnavailable):
            one.send("GET", "/v2/a", scope=SCOPE)
        assert len(asked(server)) == 5 and clock.slept == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(("method", "status", "idempotent", "requests"), [
    ("GET", 503, None, 5), ("HEAD", 503, None, 5), ("PUT", 503, None, 5), ("POST", 503, None, 1), ("PATCH", 503, None, 1),
    ("PATCH", 0, None, 1), ("POST", 0, True, 5), ("PUT", 0, False, 1), ("PATCH", 429, None, 5),
])
def test_what_may_not_be_repeated_is_not(method: str, status: int, idempotent: bool | None, requests: int) -> None:
    with Server(answers(status)) as server, client(server.host) as one:
        with pytest.raises(RegistryUnavailable):
            one.send(method, "/v2/a", scope=SCOPE, idempotent=idempotent, body=b"x")
        assert len(asked(server)) == requests


@pytest.mark.parametrize(("value", "waits"), [
    ("7", 7.0), ("0", 0.5), ("100000", 60.0), ("9" * 5000, 60.0), ("-5", 0.5), ("1e9", 0.5), ("soon", 0.5), ("", 0.5),
    ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0), ("Tue, 14 Nov 2023 22:13:10 GMT", 0.5), ("Fri, 31 Dec 9999 23:59:59 GMT", 60.0),
    ("Xyz, 99 Foo 0000 99:99:99 GMT", 0.5), ("Tue, 14 Nov 2023 22:13:30 +9999999999", 0.5), ("nan", 0.5), ("²", 0.5),
])
def test_retry_after_counts_up_to_our_patience(value: str, waits: float) -> None:
    clock = Clock()
    with Server(answers((429, {"Retry-After": value}), 200)) as server, client(server.host, clock=clock) as one:
        one.send("GET", "/v2/a", scope=SCOPE).close()
        assert clock.slept == [waits]


def test_a_host_that_was_never_heard_of_is_asked_twice_and_one_that_was_more_often() -> None:
    clock = Clock()
    with Server(answers(200)) as server, client(server.host, clock=clock) as one:
        one.send("GET", "/v2/a", scope=SCOPE).close()
        server.close()
        with pytest.raises(RegistryUnavailable, match="connection refused"):
            one.send("POST", "/v2/a", scope=SCOPE)  # Nothing was sent, so that it may be tried again.
        assert len(clock.slept) == 4
    clock = Clock()
    with client(server.host, clock=clock) as one:
        with pytest.raises(RegistryUnavailable, match=f"cannot connect to {server.host}: connection refused"):
            one.send("GET", "/v2/a", scope=SCOPE)
        assert len(clock.slept) == 1


@pytest.mark.parametrize(("body", "says"), [
    (json.dumps({"errors": [{"code": "DENIED", "message": "no such plan", "detail": {"x": 1}}]}), "DENIED: no such plan"),
    (json.dumps({"errors": [{"code": "UNKNOWN"}]}), "UNKNOWN"),
    (json.dumps({"message": "quota is used up"}), "quota is used up"),
    (json.dumps({"details": "no more"}), "no more"),
])
def test_the_registry_is_quoted(body: str, says: str) -> None:
    with Server(after_ping(lambda exchange: exchange.reply(400, {}, body.encode()))) as server, client(server.host) as one, \
            pytest.raises(RegistryError, match=f": {says}, GET http"):
        one.send("GET", "/v2/a", scope=SCOPE)


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'{"errors": []}', b'{"errors": {}}', b'{"errors": [1]}',
    b'{"errors": [{"code": 5, "message": []}]}',
    b"[" * 60_000, b'{"errors":' * 5000, b"\xff\xfe", b'{"message": "' + b"x" * 100_000 + b'"}',
    b'{"message": "\\u001b[2J\\u0007\\u202edrawkcab\\r\\nlamina: all is well"}',
    b'{"message": "' + b"x" * 50_000 + b'"}', b'{"message": "\\ud800"}', f'{{"message": "you sent {SECRET}"}}'.encode(),
    f'{{"message": "{SECRET.removeprefix("Bearer ")}"}}'.encode(),
])
def test_whatever_it_says_it_is_one_short_line(body: bytes) -> None:
    with Server(after_ping(lambda exchange: exchange.reply(400, {}, body))) as server, \
            client(server.host, who=Who(known=True)) as one, pytest.raises(RegistryError) as caught:
        one.send("GET", "/v2/a", scope=SCOPE)
    text = str(caught.value)
    assert text.isprintable() and len(text) < 400 and "s3cr3t" not in text


def test_an_error_of_any_length_is_not_read_to_its_end() -> None:
    sent = 0

    def handle(exchange: Exchange) -> None:
        nonlocal sent
        exchange.raw(b"HTTP/1.1 400 Bad\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(100):
            exchange.raw(b"x" * 1_000_000)
            sent += 1

    with Server(after_ping(handle)) as server, client(server.host) as one, pytest.raises(RegistryError, match="answers 400"):
        one.send("GET", "/v2/a", scope=SCOPE)
    assert sent < 30


@pytest.mark.parametrize(("status", "headers", "kind"), [
    (200, {"Content-Type": "text/html; charset=utf-8"}, RegistryError),
    (502, {"Content-Type": "text/html"}, RegistryUnavailable),
    (502, {}, RegistryUnavailable), (404, {"Content-Type": "TEXT/HTML"}, RegistryError), (403, {}, RegistryError),
])
def test_a_page_of_a_proxy_is_not_a_registry(status: int, headers: dict[str, str], kind: type[LaminaError]) -> None:
    with Server(after_ping(lambda exchange: exchange.reply(status, headers, PAGE))) as server, client(server.host) as one, \
            pytest.raises(kind, match=r"not a registry.*web page") as caught:
        one.send("GET", "/v2/a", scope=SCOPE)
    assert type(caught.value) is kind and "WiFi" not in str(caught.value)


def test_an_artifact_that_is_a_page_is_none_of_a_proxys() -> None:
    headers = {"Content-Type": "text/html", "Docker-Content-Digest": "sha256:" + "0" * 64}
    with Server(after_ping(lambda exchange: exchange.reply(200, headers, PAGE))) as server, client(server.host) as one, \
            one.send("GET", "/v2/a/blobs/x", scope=SCOPE) as response:
        assert response.body(1000) == PAGE


def test_a_mirror_has_no_login_hint_of_the_registry() -> None:
    from lamina.registry.client import Client
    from lamina.registry.configuration import Endpoint
    from registry.wirekit import http

    with Server(answers(403)) as server, http(Registries()) as shared:
        mirror = Client(shared, Endpoint(server.base, "docker.io", server.host, mirror=True), Who())
        with pytest.raises(Unauthorized) as caught:
            mirror.send("GET", "/v2/a", scope=SCOPE)
        assert "docker.io" not in str(caught.value)
