"""Authorization by the real client over loopback: what the two sides see of each other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lamina.errors import LaminaError, RegistryError, Unauthorized
from lamina.registry.auth import Authorizer, Scope
from lamina.registry.client import Client
from lamina.registry.configuration import Endpoint, Registries
from lamina.registry.credentials import Credential
from lamina.registry.http import Http
from lamina.registry.timings import Timings
from registry.realmkit import IDENTITY, ME, PASSWORD, Keys
from registry.server import Exchange, Server

PULL = Scope("a/b")
Handle = Callable[[Exchange], None]


class Registry:
    """A registry that takes the tokens that its realm has given, each for so many requests."""

    def __init__(self, uses: int = 1 << 30, *, right: bool = True) -> None:
        self._uses, self._right = uses, right
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        self.given = 0

    def __call__(self, exchange: Exchange) -> None:
        if exchange.path.startswith("/token"):
            self._token(exchange)
            return
        token = exchange.headers.get("Authorization", "").removeprefix("Bearer ")
        with self._lock:
            left = self._left.get(token, 0)
            if left and self._right:
                self._left[token] = left - 1
        if left and self._right:
            exchange.reply(200, body=b"{}")
        else:
            ask(exchange, f"http://{exchange.headers['Host']}/token")

    def _token(self, exchange: Exchange) -> None:
        with self._lock:
            self.given += 1
            token = f"token-{self.given}"
            self._left[token] = self._uses
        exchange.reply(200, body=json.dumps({"token": token, "expires_in": 300}).encode())


def ask(exchange: Exchange, realm: str) -> None:
    exchange.reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="reg"'}, b"{}")


@contextmanager
def client(server: Server, credential: Credential | None = ME) -> Iterator[Client]:
    timings = Timings(sleep=lambda _: None)
    http = Http(Registries(), timings)
    keys = Keys(**({"all": credential} if credential else {}))
    try:
        yield Client(http, Endpoint(server.base, server.host, server.host),
                     Authorizer(http, keys, server.host, server.base, timings), timings)
    finally:
        http.close()


def get(one: Client, scope: Scope = PULL) -> int:
    with one.send("GET", f"/v2/{scope.repository}/manifests/1", scope=scope) as response:
        response.body(100)
        return response.status


def test_401_after_200s_is_a_renewed_token() -> None:
    registry = Registry(uses=3)
    with Server(registry) as server, client(server) as one:
        assert [get(one) for _ in range(10)] == [200] * 10
    assert registry.given == 4
    # One 401 at the very first request, and one for each token that was used up.
    assert len([seen for seen in server.seen if not seen.path.startswith("/token")]) == 10 + 4


@pytest.mark.parametrize("credential", [None, ME])
def test_a_token_for_the_wrong_scope_ends_in_no_loop(credential: Credential | None) -> None:
    registry = Registry(right=False)
    with Server(registry) as server, client(server, credential) as one:
        for _ in range(2):
            with pytest.raises(Unauthorized):
                get(one)
    assert registry.given <= 3
    assert len(server.seen) <= 8


def test_basic_refused_twice() -> None:
    with Server(lambda exchange: exchange.reply(401, {"WWW-Authenticate": "Basic realm=x"})) as server, client(server) as one:
        with pytest.raises(Unauthorized, match="refuses the credentials") as caught:
            get(one)
        assert PASSWORD not in str(caught.value)
    assert len(server.seen) == 2


def test_many_threads_one_token() -> None:
    registry = Registry()
    with Server(registry) as server, client(server) as one, ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda _: get(one), range(24))) == [200] * 24
    assert registry.given == 1


def test_many_threads_and_tokens_that_are_used_up() -> None:
    registry = Registry(uses=20)
    with Server(registry) as server, client(server) as one, ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: get(one), range(60))) == [200] * 60
    assert 3 <= registry.given <= 12


@pytest.mark.parametrize("credential", [None, ME, Credential("me", PASSWORD, IDENTITY)])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_realm_that_redirects_to_another_origin(credential: Credential | None, status: int) -> None:
    with Server(lambda exchange: exchange.reply(200, body=b'{"token": "x"}')) as evil:
        def handle(exchange: Exchange) -> None:
            if exchange.path.startswith("/token"):
                exchange.reply(status, {"Location": f"{evil.base}/steal"})
            else:
                ask(exchange, f"http://{exchange.headers['Host']}/token")

        with (Server(handle) as server, client(server, credential) as one,
              pytest.raises(RegistryError, match="redirects elsewhere")):
            get(one)
        assert evil.seen == []


BODIES: list[bytes] = [
    json.dumps({"token": "x" * (10 << 20)}).encode(), b"<html>log in here</html>", b'{"tokens": 1}', b"", b"{" * 5000,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_token_servers_that_make_no_sense(body: bytes) -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.path.startswith("/token"):
            exchange.reply(200, body=body)
        else:
            ask(exchange, f"http://{exchange.headers['Host']}/token?hidden=1")

    with Server(handle) as server, client(server) as one:
        with pytest.raises(LaminaError, match="the token server's answer") as caught:
            get(one)
        assert "hidden" not in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_a_token_server_that_breaks_off() -> None:
    answers = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"", b""])

    def handle(exchange: Exchange) -> None:
        if exchange.headers.get("Authorization", "").startswith("Bearer"):
            exchange.reply(200, body=b"{}")
        elif not exchange.path.startswith("/token"):
            ask(exchange, f"http://{exchange.headers['Host']}/token")
        elif data := next(answers, b""):
            exchange.raw(data)
            exchange.cut()
        else:
            exchange.reply(200, body=b'{"token": "x"}')

    with Server(handle) as server, client(server) as one:
        assert get(one) == 200


def test_several_fields_of_challenges() -> None:
    def handle(exchange: Exchange) -> None:
        if exchange.headers.get("Authorization", "").startswith("Basic"):
            exchange.reply(200, body=b"{}")
        else:
            exchange.reply(401, [("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", 'Basic realm="x"')])

    with Server(handle) as server, client(server) as one:
        assert get(one) == 200


@pytest.mark.parametrize("challenge", [
    "Bearer " + ",".join(f"p{number}=x" for number in range(10_000)), 'Bearer realm="unterminated', "\x01\x02",
    'Bearer realm="file:///etc/passwd"', 'Bearer realm="ftp://127.0.0.1/"', 'Bearer realm="http://169.254.169.254/x"',
])
def test_hostile_challenges(challenge: str) -> None:
    with Server(lambda exchange: exchange.reply(401, {"WWW-Authenticate": challenge})) as server, client(server) as one:
        with pytest.raises(RegistryError) as caught:
            get(one)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert len(server.seen) == 1
