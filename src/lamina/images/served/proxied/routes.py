"""Which repositories come from another registry, and how they are called here and there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lamina.images.served.names import full_name
from lamina.reference import DEFAULT_DOMAIN, Reference
from lamina.storage.problems import storage_errors

if TYPE_CHECKING:
    from lamina.store import BlobStore

# What speaks for docker.io, which is a name and no host.
_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Route:
    """One `[proxy]`: names of the store that begin with `prefix` come from `base`.

    `shared`: it is docker.io by name alone, so that names without a domain, which are the same in the store, are not its own.
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
    """A repository that comes from elsewhere.  `name`: the store's, in full; `apart`: that name is ours there (`Claims`)."""

    route: Route
    name: str
    apart: bool = False

    @property
    def blobs(self) -> str:
        """The repository that the store knows blobs by: if need be one that no client can ask for, for its port."""
        return f"apart:0/{self.name}" if self.apart else self.name

    @property
    def there(self) -> Reference:
        """What it is called there."""
        return self.route.there(self.name)


class Routes:
    """All of one configuration: (first part of names, '' for names without a domain; origin)."""

    def __init__(self, proxies: Iterable[tuple[str, str]]) -> None:
        found = dict(proxies)
        routes = []
        for name, base in found.items():
            if name in ("", *_HUB):
                routes.append(Route(f"{DEFAULT_DOMAIN}/", base, shared="" not in found))
            else:
                domain = "." in name or name == "localhost"
                routes.append(Route(f"{name}/" if domain else f"{DEFAULT_DOMAIN}/{name}/", base))
        self._routes = sorted(routes, key=lambda one: len(one.prefix), reverse=True)  # the longest decides

    def find(self, repository: str) -> Place | None:
        """Where it comes from; None: from nowhere else.  `NAME_INVALID`."""
        if not self._routes:
            return None
        name = full_name(repository)
        route = next((one for one in self._routes if name.startswith(one.prefix)), None)
        if route is None or (route.shared and not repository.startswith((f"{DEFAULT_DOMAIN}/", "index.docker.io/"))):
            return None
        return Place(route, name)

    def twin(self, repository: str) -> str | None:
        """The store's name of a repository that is ours, if a proxied one is called the same there."""
        name = full_name(repository) if any(one.shared for one in self._routes) else ""
        route = next((one for one in self._routes if name.startswith(one.prefix)), None)
        return name if route is not None and route.shared else None


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
