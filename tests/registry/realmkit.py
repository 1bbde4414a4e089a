"""A token server without a network: what it was asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlsplit

from lamina.errors import LimitExceeded
from lamina.registry.auth import Authorizer
from lamina.registry.credentials import Credential
from lamina.registry.timings import Timings

if TYPE_CHECKING:
    from lamina.registry.http import Http

PASSWORD, IDENTITY, TOKEN = "s3cr3t-password", "s3cr3t-identity", "s3cr3t-token"
ME = Credential("me", PASSWORD)
REALM = "https://auth.example/token"
BEARER = f'Bearer realm="{REALM}",service="reg"'


@dataclass
class Reply:
    """An answer; `closed` tells whether it was let go."""

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False

    def body(self, limit: int) -> bytes:
        if len(self.content) > limit:
            raise LimitExceeded("too long")
        return self.content

    def close(self) -> None:
        self.closed = True

    discard = close

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    foreign: bool

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl((self.body or b"").decode(), keep_blank_values=True)


def token(text: str = TOKEN, **more: Any) -> Reply:
    return Reply(content=json.dumps({"token": text, **more}).encode())


class Realm:
    """A sender: `answer` says what comes back for a request, by default a token with a number of its own."""

    def __init__(self, answer: Callable[[Request], Reply] | None = None) -> None:
        self.answer = answer or (lambda _: token(f"{TOKEN}-{len(self.requests)}", expires_in=300))
        self.requests: list[Request] = []
        self.replies: list[Reply] = []

    def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
             foreign: bool = False) -> Reply:
        self.requests.append(Request(method, url, dict(headers or {}), body, foreign))
        self.replies.append(self.answer(self.requests[-1]))
        return self.replies[-1]


class Keys:
    """Credentials by host, or by `host/repository`."""

    def __init__(self, **known: Credential) -> None:
        self.known = known

    def get(self, host: str, repository: str = "") -> Credential | None:
        return self.known.get(repository.replace("/", "_")) or self.known.get("all")


class Clock:
    """A clock that the test moves; `slept` is what was waited for, which moves it too."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def authorizer(realm: Realm, credential: Credential | None = None, *, clock: Clock | None = None, domain: str = "reg.example",
               base: str = "https://reg.example", **known: Credential) -> Authorizer:
    clock = clock or Clock()
    timings = Timings(clock=clock.clock, now=clock.clock, sleep=clock.sleep, jitter=lambda: 1.0)
    return Authorizer(cast("Http", realm), Keys(**known, **({"all": credential} if credential else {})), domain, base, timings)


def ask(text: str = BEARER) -> dict[str, str]:
    """The headers of a 401."""
    return {"www-authenticate": text}
