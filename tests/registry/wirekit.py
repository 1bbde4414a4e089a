"""Clients for tests: no waiting, a clock that can be pushed on, an authorizer that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lamina.registry.client import Client
from lamina.registry.configuration import Registries
from lamina.registry.http import Http
from lamina.registry.timings import Timings
from registry.server import Exchange

SECRET = "Bearer s3cr3t-t0ken"
SCOPE: Any = "scope"  # The client hands it to the authorizer and does not look at it.


class Clock:
    """`step` seconds pass with each look at it; sleeps are noted, and nothing waits."""

    def __init__(self, step: float = 0.0) -> None:
        self.time, self.step, self.slept = 1000.0, step, list[float]()

    def __call__(self) -> float:
        self.time += self.step
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def timings(clock: Clock | None = None, **changes: Any) -> Timings:
    """Timings that never sleep; without jitter (the full back-off)."""
    clock = clock or Clock()
    made = Timings(clock=clock, sleep=clock.sleep, now=lambda: 1_700_000_000.0, jitter=lambda: 1.0, connect=5.0, read=5.0)
    return replace(made, **changes)


class Who:
    """An authorizer that has a token once it has been challenged (or from the start)."""

    def __init__(self, *, known: bool = False, willing: bool = True) -> None:
        self.known, self.willing, self.base = known, willing, ""
        self.challenges: list[Mapping[str, str]] = []

    def header(self, scope: object) -> str | None:
        assert scope is SCOPE
        return SECRET if self.known else None

    def challenged(self, headers: Mapping[str, str], scope: object) -> bool:
        self.challenges.append(headers)
        self.known = self.willing
        return self.willing


@contextmanager
def http(registries: Registries | None = None, made: Timings | None = None) -> Iterator[Http]:
    """An `Http` whose connections end with the block; without configuration, and blind to the environment."""
    client = Http(registries or Registries(), made or timings())
    try:
        yield client
    finally:
        client.close()


@contextmanager
def client(
    host: str, *, clock: Clock | None = None, who: Who | None = None, registries: Registries | None = None, **changes: Any,
) -> Iterator[Client]:
    """A client of the registry `host`."""
    registries = registries or Registries()
    with http(registries, timings(clock, **changes)) as shared:
        yield Client(shared, registries.candidates(host)[-1], who or Who())


def pong(exchange: Exchange) -> bool:
    """Answer the ping by which a client finds out whether it is TLS that is spoken; whether it was one."""
    if exchange.path == "/v2/":
        exchange.reply(200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}")
    return exchange.path == "/v2/"
