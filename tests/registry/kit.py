"""The registry's room put together over servers of the tests: no waiting, no configuration of the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol

from lamina.reference import Reference
from lamina.registry.auth import Authorizer
from lamina.registry.client import Client
from lamina.registry.configuration import Endpoint, Registries
from lamina.registry.credentials import Credential
from lamina.registry.http import Http
from lamina.registry.repository import Repository
from lamina.registry.target import RegistryTarget
from lamina.registry.timings import Timings
from lamina.registry.uploading import UploadJournal

NAME = Reference("registry.test", "some/repo")


class HasBase(Protocol):
    """A server by its origin."""

    @property
    def base(self) -> str: ...


class Keys:
    """Knows one password, for all."""

    def __init__(self, user: str = "", password: str = "") -> None:
        self._credential = Credential(user, password) if user else None

    def get(self, host: str, repository: str = "", /) -> Credential | None:
        return self._credential


class Journal:
    """A journal in memory; `log` has what was put, in order."""

    def __init__(self) -> None:
        self.entries: dict[str, Mapping[str, Any]] = {}
        self.log: list[Mapping[str, Any]] = []
        self.claimed: set[str] = set()
        self._lock = Lock()

    def claim(self, key: str) -> bool:
        with self._lock:
            if key in self.claimed:
                return False
            self.claimed.add(key)
            return True

    def release(self, key: str) -> None:
        self.claimed.remove(key)

    def get(self, key: str) -> Mapping[str, Any] | None:
        return self.entries.get(key)

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        self.entries[key] = value
        self.log.append(value)

    def drop(self, key: str) -> None:
        self.entries.pop(key, None)


@contextmanager
def clients(*bases: str, keys: Keys | None = None, timings: Timings | None = None) -> Iterator[list[Client]]:
    """One for each origin; all but the last are mirrors."""
    timings = timings or Timings(connect=5.0, read=5.0, attempts=3, sleep=lambda seconds: None)
    http = Http(Registries(), timings)
    try:
        yield [Client(http, Endpoint(base, NAME.domain, base.partition("://")[2], base != bases[-1]),
                      Authorizer(http, keys or Keys(), NAME.domain, base, timings), timings) for base in bases]
    finally:
        http.close()


@contextmanager
def target_of(*servers: HasBase, name: Reference = NAME, uploads: UploadJournal | None = None, keys: Keys | None = None,
              timings: Timings | None = None, connections: int = 1) -> Iterator[RegistryTarget]:
    """The target over mirrors and, last, the registry itself."""
    timings = timings or Timings(connect=5.0, read=5.0, attempts=3, sleep=lambda seconds: None)
    with clients(*(one.base for one in servers), keys=keys, timings=timings) as found:
        yield RegistryTarget(Repository(name, found, timings), uploads=uploads, connections=connections)

