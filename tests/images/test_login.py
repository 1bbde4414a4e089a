"""Logging in to a registry over loopback: basic and bearer, refused, and where it is kept."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from registry.helperkit import environment, keeper
from registry.server import Exchange, Server

from lamina.errors import InvalidContent, LaminaError, Unauthorized, UsageError
from lamina.images.login import known_user, login, logout, registry_host
from lamina.registry.configuration import Registries
from lamina.registry.credentials import Credential, Credentials
from lamina.registry.http import Http
from lamina.registry.timings import Timings

PASSWORD, TOKEN = "s3cr3t-password", "s3cr3t-token"
BASIC = "Basic " + b64encode(f"me:{PASSWORD}".encode()).decode()
Handle = Callable[[Exchange], None]


def basic(exchange: Exchange) -> None:
    """A registry with a password file."""
    if exchange.headers.get("Authorization") == BASIC:
        exchange.reply(200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}")
    else:
        exchange.reply(401, {"WWW-Authenticate": 'Basic realm="x"'})


def bearer(exchange: Exchange) -> None:
    """A registry and its token server in one."""
    if exchange.path.startswith("/token"):
        right = exchange.headers.get("Authorization") == BASIC
        exchange.reply(200 if right else 401, body=json.dumps({"token": TOKEN}).encode())
    elif exchange.headers.get("Authorization") == f"Bearer {TOKEN}":
        exchange.reply(200, body=b"{}")
    else:
        host = exchange.headers["Host"]
        exchange.reply(401, [("WWW-Authenticate", "Negotiate"),
                             ("WWW-Authenticate", f'Bearer realm="http://{host}/token?a=1",service="reg"')])


def network(home: Path, server: Server | None = None, **more: str) -> Any:
    """A network of which every registry is the server."""
    timings = Timings()
    registries = Registries.load(environment(home, **more))
    return SimpleNamespace(http=Http(registries, timings), registries=registries, timings=timings,
                           credentials=Credentials.load(environment(home, **more)))


@contextmanager
def registry(handle: Handle, home: Path, **more: str) -> Iterator[tuple[Server, Any]]:
    with Server(handle) as server:
        parts = network(home, server, **more)
        try:
            yield server, parts
        finally:
            parts.http.close()


@pytest.mark.parametrize("handle", [basic, bearer])
def test_a_login(tmp_path: Path, handle: Handle) -> None:
    with registry(handle, tmp_path) as (server, parts):
        done = login(parts, server.host, "me", PASSWORD)
        assert (done.host, done.asked, done.hidden_by) == (server.host, True, "")
        assert (done.kept.place, done.kept.encrypted) == (str(tmp_path / ".docker/config.json"), False)
        assert parts.credentials.get(server.host) == Credential("me", PASSWORD)
        assert {seen.path.partition("?")[0] for seen in server.seen} <= {"/v2/", "/token"}


@pytest.mark.parametrize("handle", [basic, bearer])
def test_a_login_that_is_refused_keeps_nothing(tmp_path: Path, handle: Handle) -> None:
    with registry(handle, tmp_path) as (server, parts):
        with pytest.raises(Unauthorized, match="refuses the") as caught:
            login(parts, server.host, "me", PASSWORD + "x")
        assert PASSWORD not in str(caught.value)
        assert caught.value.hint == ""  # It would be to log in.
        assert list(tmp_path.iterdir()) == []
        assert len(server.seen) < 6


def test_what_was_stored_before_is_not_what_is_tried(tmp_path: Path) -> None:
    with registry(basic, tmp_path) as (server, parts):
        parts.credentials.store(server.host, Credential("me", PASSWORD))
        with pytest.raises(Unauthorized):
            login(parts, server.host, "you", "other")
        assert parts.credentials.get(server.host) == Credential("me", PASSWORD)


def test_a_registry_that_asks_for_nothing(tmp_path: Path) -> None:
    with registry(lambda exchange: exchange.reply(200, body=b"{}"), tmp_path) as (server, parts):
        assert not login(parts, server.host, "me", PASSWORD).asked
        assert not [seen for seen in server.seen if seen.headers.get("Authorization")]


def test_kept_by_a_helper(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credsStore": "keeper"}')
    more = {"DOCKER_CONFIG": str(tmp_path / "docker"), "PATH": keeper(tmp_path / "bin")["PATH"]}
    with registry(basic, tmp_path, **more) as (server, parts):
        done = login(parts, server.host, "me", PASSWORD)
        assert (done.kept.place, done.kept.encrypted, done.hidden_by) == ("docker-credential-keeper", True, "")
        assert logout(server.host, parts.credentials) == (server.host, True, "")
        assert parts.credentials.get(server.host) is None


def test_one_that_comes_before_it_is_told(tmp_path: Path) -> None:
    with Server(basic) as server:
        known = json.dumps({"auths": {server.host: {"username": "ci", "password": "x"}}})
        parts = network(tmp_path, server, DOCKER_AUTH_CONFIG=known)
        try:
            assert login(parts, server.host, "me", PASSWORD).hidden_by == "$DOCKER_AUTH_CONFIG"
            assert logout(server.host, parts.credentials) == (server.host, True, "$DOCKER_AUTH_CONFIG")
        finally:
            parts.http.close()


@pytest.mark.parametrize(("username", "password"), [
    ("", PASSWORD), ("me", ""), ("m:e", PASSWORD), ("me", PASSWORD + "\n"), ("m\0e", PASSWORD), ("m\udcff", PASSWORD),
])
def test_what_is_no_credential(tmp_path: Path, username: str, password: str) -> None:
    parts = SimpleNamespace(credentials=Credentials.load(environment(tmp_path)))
    with pytest.raises(UsageError) as caught:
        login(parts, "reg.example", username, password)  # type: ignore[arg-type]
    assert PASSWORD not in str(caught.value)


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text("{broken")
    with registry(basic, tmp_path) as (server, parts):
        with pytest.raises(InvalidContent, match=r"config\.json"):
            login(parts, server.host, "me", PASSWORD)
        assert (tmp_path / ".docker/config.json").read_text() == "{broken"
        assert known_user(parts.credentials, server.host) == ""


@pytest.mark.parametrize(("text", "host"), [
    ("", "docker.io"), ("docker.io", "docker.io"), ("index.docker.io", "docker.io"),
    ("https://index.docker.io/v1/", "docker.io"),
    ("https://Reg.Example/", "reg.example"), ("reg.example:5000/v2/", "reg.example:5000"), ("reg.example/ns/x", "reg.example"),
    ("http://localhost:5000", "localhost:5000"), ("[::1]:5000", "[::1]:5000"), ("myregistry", "myregistry"),
])
def test_which_registry_is_meant(text: str, host: str) -> None:
    assert registry_host(text) == host


@pytest.mark.parametrize("text", ["a b", "ä.example", "https://", "user@reg.example", "reg.example:port", "-", "a..\n", "[::1"])
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(LaminaError, match="no registry's name"):
        registry_host(text)
