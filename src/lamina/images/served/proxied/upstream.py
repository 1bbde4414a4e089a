"""The registries behind: who asks them how often, and what their failures mean to clients of ours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from lamina.errors import InvalidContent, LimitExceeded, NotFound, RegistryError, RegistryUnavailable, Unauthorized
from lamina.images.remotes import Network, Remote
from lamina.images.served.proxied.memory import Recent
from lamina.oci import Descriptor
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.digest import Digest
    from lamina.images.served.proxied.routes import Place

log = logging.getLogger(__name__)

PAUSE: Final = 10.0  # seconds in which a registry that is away is not asked again
SLOTS: Final = 16  # threads that wait for registries at once
TARGET: Final = 60.0  # seconds after which a repository's client is made anew: it remembers which mirrors were down

# What is a registry's fault, and not the store's.
FAILURES: Final = (RegistryError, NotFound, InvalidContent, LimitExceeded)

T = TypeVar("T")


class Source(Remote, Protocol):
    """A repository there; see `lamina.registry.target.RegistryTarget`."""

    def blob(self, digest: Digest, /) -> Descriptor: ...


class Upstream:
    """The way to all of them.  `connect` makes it, once it is wanted.  For several threads."""

    def __init__(self, connect: Callable[[], Network], *, clock: Callable[[], float] = time.monotonic,
                 slots: int = SLOTS) -> None:
        self._connect = connect
        self._slots = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self._network: Network | None = None
        self._targets: Recent[tuple[str, str], Source] = Recent(256, TARGET, clock)
        self._away: Recent[tuple[str, str], str] = Recent(1024, PAUSE, clock)

    def ask(self, place: Place, question: Callable[[Source], T]) -> T:
        """What a repository there answers; `RegistryUnavailable` at once where it was away a moment ago, or too many ask."""
        there = place.there
        for key in ((place.route.base, ""), (place.route.base, there.path)):
            if (reason := self._away.get(key)) is not None:
                raise RegistryUnavailable(reason, there.name)
        with self._slot(there.name):
            try:
                return question(self.target(place))
            except RegistryUnavailable as error:
                from lamina.registry.problems import NotReached

                # Nobody there: that is so for all of it.  What else fails may be of this repository alone.
                path = "" if isinstance(error, NotReached) else there.path
                self._away.put((place.route.base, path), error.what)
                log.warning("%s: %s", there.name, error)
                raise

    def target(self, place: Place) -> Source:
        """The client of a repository."""
        with self._lock:
            if self._network is None:
                self._network = self._connect()
            network = self._network
        key = place.route.base, place.name
        found = self._targets.get(key)
        if found is None:
            found = network.target(place.there)  # type: ignore[assignment]
            assert found is not None
            self._targets.put(key, found)
        return found

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            if self._network is not None:
                self._network.close()

    @contextmanager
    def _slot(self, where: str) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise RegistryUnavailable("too many requests wait for other registries", where)
        try:
            yield
        finally:
            self._slots.release()


def connect(bases: Sequence[str]) -> Network:
    """As the server's user has set up registries.toml, certificates and logins; `http://` that is written is allowed."""
    from lamina.registry.configuration import Registries
    from lamina.registry.credentials import Credentials
    from lamina.registry.network import Network as Real
    from lamina.registry.timings import Timings

    plain = [urlsplit(one).netloc for one in bases if one.startswith("http://")]
    made: Network = Real(Registries.load().allowing(plain), Credentials.load(),
                         Timings(connect=5.0, read=20.0, attempts=3, backoff=0.2, retry_after_cap=2.0))
    return made


def refused(error: Exception, unknown: str, what: str) -> Refusal:
    """What a client is told; `unknown`: the code for what is not there."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RegistryUnavailable):
        return Refusal("UNAVAILABLE", "the registry that it comes from is away, and it is not kept here")
    if isinstance(error, NotFound):
        return Refusal(unknown, what)
    if isinstance(error, Unauthorized):
        return Refusal("DENIED", "the registry that it comes from does not give it to this one")
    log.warning("%s: %s", what, error)
    return Refusal("UNKNOWN", "the registry that it comes from gives what cannot be served", status=502)
