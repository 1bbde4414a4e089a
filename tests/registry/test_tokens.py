"""Token servers that are wrong, hostile, or after the password."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from lamina.errors import LaminaError, RegistryError, RegistryUnavailable, Unauthorized
from lamina.registry.auth import Scope
from lamina.registry.credentials import Credential
from lamina.registry.tokenserver import MAX_TOKEN, TRIES
from registry.realmkit import BEARER, IDENTITY, ME, PASSWORD, TOKEN, Clock, Realm, Reply, Request, ask, authorizer, token

PULL = Scope("a/b")
THEIRS = Credential("me", PASSWORD, IDENTITY)
SECRETS = (PASSWORD, IDENTITY, TOKEN, "bWU6czNjcjN0LXBhc3N3b3Jk")


def challenge(realm: str) -> dict[str, str]:
    return ask(f'Bearer realm="{realm}",service="reg"')


def fails(realm: Realm, credential: Credential | None = ME, headers: dict[str, str] | None = None, *,
          base: str = "https://reg.example") -> LaminaError:
    """The error of a challenge; no secret stands in it, nor in what it was raised from, and no answer stays open."""
    with pytest.raises(LaminaError) as caught:
        authorizer(realm, credential, base=base).challenged(headers or ask(), PULL)
    error: BaseException | None = caught.value
    while error is not None:
        shown = str(error) + repr(error) + repr(vars(error))
        assert not [secret for secret in SECRETS if secret in shown]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "\n" not in str(caught.value)
    assert all(reply.closed for reply in realm.replies)
    return caught.value


@pytest.mark.parametrize("credential", [ME, THEIRS])
@pytest.mark.parametrize(("realm", "base"), [
    ("http://evil.example/token", "https://reg.example"),
    ("http://evil.example/token", "http://127.0.0.1:5000"),
    ("http://127.0.0.1:1/token", "https://reg.example"),
    ("http://reg.example/token", "https://reg.example"),
])
def test_no_password_over_plain_http(credential: Credential, realm: str, base: str) -> None:
    server = Realm()
    error = fails(server, credential, challenge(realm + "?q=hidden"), base=base)
    assert "in the clear" in str(error)
    assert "hidden" not in str(error)
    assert server.requests == []


def test_nobody_has_no_password_to_lose() -> None:
    server = Realm()
    authorizer(server).challenged(challenge("http://other.example/token"), PULL)
    assert server.requests[0].headers == {}


def test_a_password_over_plain_http_on_loopback() -> None:
    server = Realm()
    authorizer(server, ME, base="http://127.0.0.1:5000").challenged(challenge("http://localhost:5001/token"), PULL)
    assert "Authorization" in server.requests[0].headers


@pytest.mark.parametrize("realm", [
    "file:///etc/passwd", "ftp://evil.example/x", "/token", "https://u:p@evil.example/", "http://169.254.169.254/latest",
    "https://[fe80::1]/", "data:text/plain,x", "https://evil.example\\\\@good.example/",
])
def test_realms_that_are_none(realm: str) -> None:
    server = Realm()
    assert isinstance(fails(server, ME, challenge(realm)), RegistryError)
    assert server.requests == []


def redirect(location: str, status: int = 302) -> Callable[[Request], Reply]:
    return lambda request: Reply(status, headers={"location": location})


@pytest.mark.parametrize("credential", [None, ME, THEIRS])
@pytest.mark.parametrize("location", [
    "https://evil.example/token", "http://auth.example/token", "https://auth.example:444/token", "//evil.example/token",
    "https://auth.example@evil.example/", "file:///etc/passwd", "", "token2", "https://auth.example.evil.example/",
])
def test_no_redirect_to_another_origin(location: str, credential: Credential | None) -> None:
    server = Realm(redirect(location))
    assert "redirects elsewhere" in str(fails(server, credential))
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["/other?x=1", "https://auth.example/other?x=1"])
def test_a_redirect_on_the_same_origin(location: str) -> None:
    server = Realm()
    server.answer = lambda request: token() if "other" in request.url else Reply(307, headers={"location": location})
    authorizer(server, ME).challenged(ask(), PULL)
    assert server.requests[1].url == "https://auth.example/other?x=1"
    assert "Authorization" in server.requests[1].headers
    assert all(reply.closed for reply in server.replies)


def test_redirects_without_end() -> None:
    server = Realm(redirect("/token"))
    assert "without end" in str(fails(server))
    assert len(server.requests) == 4


def test_an_identity_token_is_not_posted_twice() -> None:
    server = Realm(redirect("/other", 308))
    fails(server, THEIRS)
    assert len(server.requests) == 1


ANSWERS = [
    (b"<html><body>Welcome!</body></html>", "is no JSON object"),
    (b"", "is no JSON object"),
    (b"null", "is no JSON object"),
    (json.dumps([TOKEN]).encode(), "is no JSON object"),
    (f'{{"token": "{TOKEN}"'.encode(), "is no JSON object"),
    (f'{{"{TOKEN}": 1, "{TOKEN}": 1}}'.encode(), "is no JSON object"),
    (f'{{"token": "{TOKEN}", "expires_in": 1{"0" * 50}}}'.encode(), "is no JSON object"),
    (b'{"a":' * 10_000, "is too large"),
    (b"\xff\xfe", "is no JSON object"),
    (b"{}", "holds no token"),
    (b'{"token": ""}', "holds no token"),
    (b'{"token": null, "access_token": null}', "holds no token"),
    (json.dumps({"token": [TOKEN]}).encode(), "holds no token"),
    (b'{"token": 7}', "holds no token"),
    (json.dumps({"token": "x" * (10 << 20)}).encode(), "is too large"),
    (json.dumps({"token": "x" * (MAX_TOKEN + 1)}).encode(), "a token longer than 64 KiB"),
    (json.dumps({"token": TOKEN + "\r\nX-Evil: 1"}).encode(), "other characters"),
    (json.dumps({"token": TOKEN + " x"}).encode(), "other characters"),
    (json.dumps({"token": TOKEN + "é"}).encode(), "other characters"),
    (json.dumps({"token": TOKEN + "\0"}).encode(), "other characters"),
]


@pytest.mark.parametrize("credential", [None, ME, THEIRS])
@pytest.mark.parametrize(("content", "words"), ANSWERS, ids=range(len(ANSWERS)))
def test_answers_that_make_no_sense(content: bytes, words: str, credential: Credential | None) -> None:
    error = fails(Realm(lambda _: Reply(content=content)), credential)
    assert isinstance(error, RegistryError)
    assert words in str(error)
    assert "https://auth.example/token" in str(error)
    assert "?" not in error.where


@pytest.mark.parametrize(("status", "kind"), [
    (400, RegistryError), (404, RegistryError), (405, RegistryError), (204, RegistryError), (206, RegistryError),
])
def test_other_statuses(status: int, kind: type[LaminaError]) -> None:
    error = fails(Realm(lambda _: Reply(status, content=TOKEN.encode())))
    assert type(error) is kind
    assert f"status {status}" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_the_realm_refuses(status: int) -> None:
    server = Realm(lambda _: Reply(status))
    assert "refuses the credentials" in str(fails(server))
    assert isinstance(fails(server, THEIRS), Unauthorized)
    assert "asks for a login" in str(fails(server, None))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_token_server_that_is_not_well(status: int) -> None:
    server = Realm(lambda _: Reply(status, content=TOKEN.encode()))
    assert isinstance(fails(server), RegistryUnavailable)
    assert len(server.requests) == TRIES


def test_a_token_server_that_is_well_again() -> None:
    server, clock = Realm(), Clock()
    answers = [RegistryUnavailable("broken off"), Reply(503, headers={"Retry-After": "7"}), token()]

    def answer(_: Request) -> Reply:
        reply = answers.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    server.answer = answer
    assert authorizer(server, ME, clock=clock).challenged(ask(), PULL)
    assert clock.slept == [0.5, 7.0]
    assert all(reply.closed for reply in server.replies)


def test_only_the_registrys_own_host_may_be_within_the_machine() -> None:
    server = Realm()
    authorizer(server).challenged(ask(), PULL)
    authorizer(server, base="https://auth.example:5000").challenged(ask(), PULL)
    assert [request.foreign for request in server.requests] == [True, False]


def test_a_token_by_its_other_name_and_at_the_limit() -> None:
    server = Realm(lambda _: Reply(content=json.dumps({"access_token": "x" * MAX_TOKEN}).encode()))
    one = authorizer(server)
    one.challenged(ask(), PULL)
    assert one.header(PULL) == "Bearer " + "x" * MAX_TOKEN


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DATE = {"date": format_datetime(NOW, usegmt=True)}


def ago(**how: float) -> str:
    return (NOW - timedelta(**how)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(("more", "headers", "lifetime"), [
    ({"expires_in": 300}, {}, 290),
    ({"expires_in": 300.5}, {}, 290.5),
    ({}, {}, 50),
    ({"expires_in": None}, {}, 50),
    ({"expires_in": "300"}, {}, 50),
    ({"expires_in": "never"}, {}, 50),
    ({"expires_in": True}, {}, 50),
    ({"expires_in": [1]}, {}, 50),
    ({"expires_in": 0}, {}, 50),
    ({"expires_in": -5}, {}, 50),
    ({"expires_in": 1}, {}, 10),
    ({"expires_in": 1 << 62}, {}, 86_390),
    ({"expires_in": 1e300}, {}, 86_390),
    ({"expires_in": 300, "issued_at": ago(seconds=100)}, DATE, 190),
    ({"expires_in": 300, "issued_at": ago(seconds=100)}, {}, 290),
    ({"expires_in": 300, "issued_at": ago(days=400)}, DATE, 10),  # expired on arrival
    ({"expires_in": 300, "issued_at": ago(days=-400)}, DATE, 290),
    ({"expires_in": 300, "issued_at": "2026-01-02T03:03:05.123456789+00:00"}, DATE, 230.123456),
    ({"expires_in": 300, "issued_at": "2026-01-02T03:03:05"}, DATE, 230),
    ({"expires_in": 300, "issued_at": "yesterday"}, DATE, 290),
    ({"expires_in": 300, "issued_at": 7}, DATE, 290),
    ({"expires_in": 300, "issued_at": "9" * 100_000}, DATE, 290),
    ({"expires_in": 300, "issued_at": ago(seconds=100)}, {"date": "nonsense"}, 290),
    ({"expires_in": 300, "issued_at": "0001-01-01T00:00:00+23:59"}, DATE, 10),
])
def test_how_long_a_token_is_used(more: dict[str, object], headers: dict[str, str], lifetime: float) -> None:
    def answer(_: Request) -> Reply:
        reply = token(**more)
        reply.headers = headers
        return reply

    server, clock = Realm(answer), Clock()
    one = authorizer(server, clock=clock)
    one.challenged(ask(), PULL)
    clock.now += lifetime - 0.01
    one.header(PULL)
    assert len(server.requests) == 1
    clock.now += 0.02
    one.header(PULL)
    assert len(server.requests) == 2


def test_secrets_stay_out_of_logs_and_reprs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Realm()
    for credential in (ME, THEIRS):
        one = authorizer(server, credential)
        one.challenged(ask(BEARER), PULL)
        one.header(PULL)
        shown = caplog.text + repr(one) + repr(vars(one)) + repr(vars(one._tokens)) + repr(one._tokens._slots)
        assert not [secret for secret in SECRETS if secret in shown]
