"""Which repositories come from another registry, and how they are called here and there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lamina.errors import InvalidReference
from lamina.images.served.names import repository_of
from lamina.reference import DEFAULT_DOMAIN, Reference
from lamina.registry.server.refusal import Refusal
from lamina.storage.problems import storage_errors

if TYPE_CHECKING:
    from lamina.store import BlobStore

# What speaks for docker.io, which is a name and no host.
_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}
_BY_NAME = (f"{DEFAULT_DOMAIN}/", "index.docker.io/")


@dataclass(frozen=True, slots=True)
class Route:
    """One `[proxy]`: names of the store that begin with `prefix` come from `base`.

    `shared`: it is docker.io by that name alone: names without a domain are ours, and the same in the store.
    """

    prefix: str
    base: str
    shared: bool = False

    @property
    def domain(self) -> str:
        """The registry as references and credentials name it."""
        host = urlsplit(self.base).netloc.lower()
        return DEFAULT_DOMAIN if host in _HUB else host

    def there(self, name: str) -> Reference:
        """The repository at the registry, of the store's name."""
        path = name.removeprefix(self.prefix)
        return Reference(self.domain, f"library/{path}" if self.domain == DEFAULT_DOMAIN and "/" not in path else path)


@dataclass(frozen=True, slots=True)
class Place:
    """A repository that comes from elsewhere.  `name`: the store's, in full; `own`: what the store's `Contents` calls it.

    `apart`: that name is ours there (`Claims`).
    """

    route: Route
    name: str
    own: str
    apart: bool = False

    @property
    def blobs(self) -> str:
        """The repository that the store knows blobs by: if need be one that no client can ask for, for its port."""
        return f"apart:0/{self.name}" if self.apart else self.own

    @property
    def there(self) -> Reference:
        """What it is called there."""
        return self.route.there(self.name)


    @property
    def linked(self) -> str:
        """The store's name of that."""
        return self.blobs if self.apart else self.name


class Routes:
    """All of one configuration: (first part of names, '' for names without a domain; origin)."""

    def __init__(self, proxies: Iterable[tuple[str, str]]) -> None:
        found = dict(proxies)
        hub = next((found[name] for name in ("", *_HUB) if name in found), None)
        routes = [Route(f"{DEFAULT_DOMAIN}/", hub, shared="" not in found)] if hub else []
        for name, base in found.items():
            if name and name not in _HUB:
                domain = "." in name or name == "localhost"
                routes.append(Route(f"{name}/" if domain else f"{DEFAULT_DOMAIN}/{name}/", base))
        self._routes = sorted(routes, key=lambda one: len(one.prefix), reverse=True)  # the longest decides

    def find(self, repository: str) -> Place | None:
        """Where it comes from, however the name is spelt; None: from nowhere else.

        `NAME_INVALID` for what the store cannot tell from another one's: docker.io/quay.io/app, which is quay.io/app there.
        """
        name = _full(repository) if self._routes else None
        if name is None:
            return None
        route = next((one for one in self._routes if name.startswith(one.prefix)), None)
        if route is None or (route.shared and not repository.startswith(_BY_NAME)):
            return None
        own = repository_of(name)
        if own is None:
            raise Refusal("NAME_INVALID", repository)
        return Place(route, name, own)

    def twin(self, repository: str) -> str | None:
        """The store's name of a repository that is ours, if a proxied one is called the same there."""
        name = _full(repository) if any(one.shared for one in self._routes) else None
        route = next((one for one in self._routes if name is not None and name.startswith(one.prefix)), None)
        return name if route is not None and route.shared else None


def _full(repository: str) -> str | None:
    """A name of the store; None for what is none, which whoever is asked for it refuses."""
    try:
        return Reference.parse(repository, "").name
    except InvalidReference:
        return None


class Claims:
    """Which names of the store are the proxy's where they might be ours as well: a file for each in the state directory.

    Else who owns `team/app` at docker.io could put tags beside ours in `team/app`, or a push here change what comes from there.
    Who comes first has it, for as long as there is anything in it.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store, self._folder = store, store.state_dir / "proxied"

    def has(self, place: Place) -> bool:
        """Whether what the store has by this name came from there."""
        return not place.route.shared or self.claimed(place.name)

    def blobs(self, place: Place) -> Place:
        """The place, with its blobs apart from ours if that must be."""
        return replace(place, apart=not self.has(place))

    def claimed(self, name: str) -> bool:
        """Whether there is a claim."""
        return self._path(name).exists()

    def take(self, place: Place) -> bool:
        """Have it for the proxy, if nobody else has."""
        if self.has(place):
            return True
        if self._filled(place.name):
            return False
        with storage_errors("note where a repository comes from", self._folder):
            self._folder.mkdir(exist_ok=True)
            self._path(place.name).write_text(place.name)
        return True

    def lapse(self, name: str) -> bool:
        """Let go of a claim to what has nothing in it any more; whether it is free."""
        if self.claimed(name):
            if self._filled(name):
                return False
            with suppress(OSError):
                self._path(name).unlink(missing_ok=True)
        return True

    def _filled(self, name: str) -> bool:
        return bool(self._store.catalog.refs(f"{name}:") or self._store.catalog.refs(f"{name}@"))

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()
