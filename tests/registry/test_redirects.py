"""Where a registry sends us: what is followed, with what, and what is not."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from urllib3.util import connection

from lamina.errors import LaminaError, RegistryError, Unauthorized
from lamina.registry.configuration import Registries, _Settings
from lamina.registry.origins import Origin, origin_of, shown
from lamina.registry.redirects import resolve
from registry.conftest import Pki
from registry.server import Exchange, Server
from registry.wirekit import SCOPE, SECRET, Who, client, pong


def redirects(location: str, status: int = 307) -> Callable[[Exchange], None]:
    def handle(exchange: Exchange) -> None:
        exchange.read()
        if not pong(exchange):
            exchange.reply(status, {"Location": location})
    return handle


def storage(exchange: Exchange) -> None:
    exchange.reply(200, {}, b"blob " + exchange.read())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_storage_elsewhere_is_asked_without_who_we_are(method: str, status: int) -> None:
    with Server(storage) as other, Server(redirects(f"{other.base}/blob?signature=x", status)) as server, \
            client(server.host, who=Who(known=True)) as one:
        headers = {"Range": "bytes=5-", "authorization": SECRET, "Accept": "a/b"}
        with one.send(method, "/v2/a", scope=SCOPE, headers=headers) as response:
            assert response.body(100) == (b"blob " if method == "GET" else b"")
            assert response.url == f"{other.base}/blob?signature=x"
        assert server.seen[-1].headers["Authorization"] == SECRET
        assert (other.seen[0].headers["Range"], other.seen[0].headers["Accept"]) == ("bytes=5-", "a/b")
        assert "Authorization" not in other.seen[0].headers


def test_the_registry_itself_is_asked_as_before() -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.path == "/v2/a":
            exchange.reply(307, {"Location": "b?x=1"})
        elif not pong(exchange):
            exchange.reply(200, {}, exchange.path.encode())

    with Server(handle) as server, client(server.host, who=Who(known=True)) as one:
        assert one.send("GET", "/v2/a", scope=SCOPE).body(100) == b"/v2/b?x=1"
        assert server.seen[-1].headers["Authorization"] == SECRET


def test_who_was_led_away_is_nobody_when_it_is_led_back() -> None:
    bases: list[str] = []

    def home(exchange: Exchange) -> None:
        if exchange.path == "/v2/a":
            exchange.reply(307, {"Location": bases[1]})
        elif not pong(exchange):
            exchange.reply(200)

    with Server(home) as server, Server(lambda exchange: exchange.reply(307, {"Location": f"{bases[0]}/v2/c"})) as other, \
            client(server.host, who=Who(known=True)) as one:
        bases += [server.base, other.base]
        one.send("GET", "/v2/a", scope=SCOPE).close()
        assert server.seen[-1].path == "/v2/c" and "Authorization" not in server.seen[-1].headers


def test_a_challenge_of_another_origin_is_not_answered() -> None:
    who = Who(known=True)
    refusal = {"WWW-Authenticate": "Basic realm=x"}
    with Server(lambda exchange: exchange.reply(401, refusal)) as other, Server(redirects(other.base)) as server, \
            client(server.host, who=who) as one:
        with pytest.raises(Unauthorized) as caught:
            one.send("GET", "/v2/a", scope=SCOPE)
        assert who.challenges == [] and "lamina login" not in str(caught.value)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_a_target_of_another_origin_gets_no_authorization(method: str) -> None:
    with Server(storage) as other, Server(redirects("/")) as server, client(server.host, who=Who(known=True)) as one:
        body = None if method == "GET" else b"piece"
        with one.send(method, f"{other.base}/upload?state=x", scope=SCOPE, body=body) as response:
            assert response.body(100) == b"blob " + (body or b"")
        assert "Authorization" not in other.seen[0].headers
        one.url(f"{server.base}/v2/x")


def test_a_target_of_the_registry_itself_gets_it() -> None:
    with Server(storage) as server, client(server.host, who=Who(known=True)) as one:
        one.send("PATCH", f"{server.base}/upload?state=x", scope=SCOPE, body=b"x").close()
        assert server.seen[-1].headers["Authorization"] == SECRET


@pytest.mark.parametrize("status", [307, 308, 301, 302, 303])
@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_what_writes_is_not_sent_elsewhere(method: str, status: int) -> None:
    with Server(storage) as other, Server(redirects(f"{other.base}/x?signature=s3cr3t", status)) as server, \
            client(server.host, who=Who(known=True)) as one:
        with pytest.raises(RegistryError, match=f"redirects a {method} to {other.host}") as caught:
            one.send(method, "/v2/a", scope=SCOPE, body=b"secret layer")
        assert other.seen == [] and "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(("status", "followed"), [(307, True), (308, True), (301, False), (302, False), (303, False)])
def test_what_writes_is_sent_on_within_the_registry_where_that_keeps_its_method(status: int, followed: bool) -> None:
    def handle(exchange: Exchange) -> None:
        body = exchange.read()
        if exchange.path == "/v2/a":
            exchange.reply(status, {"Location": "/v2/b"})
        elif not pong(exchange):
            exchange.reply(201, {}, f"{exchange.method} ".encode() + body)

    with Server(handle) as server, client(server.host) as one:
        if followed:
            assert one.send("PUT", "/v2/a", scope=SCOPE, body=b"x", expect=(201,)).body(10) == b"PUT x"
        else:
            with pytest.raises(RegistryError, match="not followed"):
                one.send("PUT", "/v2/a", scope=SCOPE, body=b"x", expect=(201,))


def test_a_redirect_that_was_expected_is_given_as_it_is() -> None:
    with Server(redirects("http://169.254.169.254/")) as server, client(server.host) as one, \
            one.send("HEAD", "/v2/a", scope=SCOPE, expect=(200, 307)) as response:
        assert response.status == 307


def test_a_redirect_to_nowhere_is_an_answer_like_others() -> None:
    def handle(exchange: Exchange) -> None:
        if not pong(exchange):
            exchange.reply(307)

    with Server(handle) as server, client(server.host) as one, pytest.raises(RegistryError, match="answers 307"):
        one.send("GET", "/v2/a", scope=SCOPE)


def test_redirects_without_end_end() -> None:
    def handle(exchange: Exchange) -> None:
        if not pong(exchange):
            exchange.reply(302, {"Location": exchange.path + "a"})

    with Server(handle) as server, client(server.host) as one:
        with pytest.raises(RegistryError, match="more than 10 times"):
            one.send("GET", "/v2/a", scope=SCOPE)
        assert len(server.seen) == 1 + 11


@pytest.mark.parametrize("location", ["/v2/a", "a", "?", "/v2/a#x"])
def test_a_circle_is_not_walked(location: str) -> None:
    with Server(redirects(location)) as server, client(server.host) as one:
        with pytest.raises(RegistryError, match=r"in a circle|more than 10"):
            one.send("GET", "/v2/a", scope=SCOPE)
        assert len(server.seen) <= 12


@pytest.mark.parametrize("location", [
    "file:///etc/passwd", "ftp://a.example/", "javascript:alert(1)", "data:,x", "gopher://127.0.0.1/", "unix:/run/docker.sock",
    "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[::ffff:169.254.169.254]/",
    "http://metadata.google.internal/", "http://100.100.100.200/", "http://[fd00:ec2::254]/",
    "https://user:pw@a.example/", "http://a.example:99999/", "http://[::1/", "http:///nothing", "//", "http://a.example/\x7f",
    "http://a.example/ x", "https://" + "a" * 20_000,
])
def test_where_nothing_good_is_is_not_looked(location: str) -> None:
    with Server(redirects(location)) as server, client(server.host) as one:
        with pytest.raises(RegistryError) as caught:
            one.send("GET", "/v2/a", scope=SCOPE)
        assert "pw@" not in str(caught.value) and str(caught.value).isprintable()
        assert "cannot connect" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/"])
def test_an_address_in_disguise_is_known_when_it_is_connected_to(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up as it is for a connection, which is then not made: nothing leaves this machine."""
    real = connection.create_connection

    def create(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:
        if address[0] == "127.0.0.1":
            return real(address, *rest, **more)
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][4]

        class Connected(socket.socket):
            def getpeername(self) -> Any:
                return found

        return Connected()

    monkeypatch.setattr(connection, "create_connection", create)
    with Server(redirects(location)) as server, client(server.host) as one, pytest.raises(RegistryError, match="link-local"):
        one.send("GET", "/v2/a", scope=SCOPE)


def test_https_does_not_lead_to_http(pki: Pki) -> None:
    with Server(storage) as other, Server(redirects(other.base), tls=pki.context()) as server, \
            client(server.host, registries=Registries({server.host: _Settings(insecure=True)})) as one:
        with pytest.raises(RegistryError, match="from https to plain http"):
            one.send("GET", "/v2/a", scope=SCOPE)
        assert other.seen == []


def test_a_plain_registry_on_loopback_may_lead_by_https_to_http(pki: Pki) -> None:
    """A set-up for tests: everything is on this machine."""
    with Server(storage) as last, Server(redirects(last.base), tls=pki.context()) as middle, \
            Server(redirects(middle.base)) as server, \
            client(server.host, registries=Registries({middle.host: _Settings(insecure=True)})) as one:
        assert one.send("GET", "/v2/a", scope=SCOPE).body(10) == b"blob "


OWN = Origin("https", "reg.example", 443)


@pytest.mark.parametrize(("location", "means"), [
    ("/v2/b", "https://reg.example/v2/b"), ("b", "https://reg.example/v2/b"), ("?n=1", "https://reg.example/v2/a?n=1"),
    ("//cdn.example/x", "https://cdn.example/x"), ("https://cdn.example:8443/x?y", "https://cdn.example:8443/x?y"),
])
def test_a_location_is_read_from_where_it_stands(location: str, means: str) -> None:
    assert resolve(location, "https://reg.example/v2/a", OWN) == means


def test_a_registry_at_a_link_local_address_may_be_asked_itself() -> None:
    own = Origin("http", "169.254.1.1", 5000)
    assert resolve("/v2/b", "http://169.254.1.1:5000/v2/a", own) == "http://169.254.1.1:5000/v2/b"
    with pytest.raises(RegistryError):
        resolve("http://169.254.169.254/", "http://169.254.1.1:5000/v2/a", own)


@pytest.mark.parametrize(("url", "origin"), [
    ("https://Reg.Example/v2", Origin("https", "reg.example", 443)), ("HTTP://a.example:80/", Origin("http", "a.example", 80)),
    ("http://[::1]:5000/", Origin("http", "[::1]", 5000)), ("https://a.example:0443/", Origin("https", "a.example", 443)),
])
def test_origins(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", [
    "https://reg.example@evil.example/", "https://evil.example\\@reg.example/", "https://evil.example#@reg.example/",
    "https://evil.example?@reg.example/", "https://reg.example.evil.example/", "https://reg.example:443@evil.example/",
    "http://reg.example/", "https://reg.example:444/", "https://reg.example./",
])
def test_nobody_passes_for_the_registry(url: str) -> None:
    try:
        found = origin_of(url)
    except LaminaError:
        return
    assert found != OWN


@pytest.mark.parametrize(("url", "text"), [
    ("https://a.example/b?sig=s3cr3t", "https://a.example/b"), ("https://u:s3cr3t@a.example/b#s3cr3t", "https://a.example/b"),
    ("https://u:s3/cr3t@a.example/b", "https://a.example/b"), ("https://a.example/\x1b[2J", "https://a.example/?[2J"),
    ("https://a.example/" + "x" * 500, "https://a.example/" + "x" * 182 + "…"),
])
def test_what_is_shown_of_a_url(url: str, text: str) -> None:
    assert shown(url) == text
