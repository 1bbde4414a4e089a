"""How much one client may: requests a second, uploads at once, bytes.  Pure classes with a clock given; one process counts for
itself, so that several workers allow several times as much."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lamina.registry.hosts import address_of
from lamina.registry.server.configured import Limits
from lamina.registry.server.refusal import Refusal

MAX_KEYS = 1 << 16


class Buckets:
    """A token bucket for each key: `burst` at once, then `rate` a second.  Thread-safe.

    At most `max_keys` are remembered; then the one unused for longest is forgotten, and full again when it comes back: a
    client with more addresses than that is not held up, and nobody is locked out by one.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float], max_keys: int = MAX_KEYS) -> None:
        self._rate, self._burst, self._clock, self._max_keys = rate, max(1, burst), clock, max_keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """0 and one is taken, or the seconds until there will be one."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            level, since = self._levels.pop(key, (float(self._burst), now))
            # A clock that is set back gives nothing and takes nothing.
            level = min(float(self._burst), level + max(0.0, now - since) * self._rate)
            wait = 0.0 if level >= 1 else (1 - level) / self._rate
            self._levels[key] = (level if wait else level - 1, now)
            if len(self._levels) > self._max_keys:
                self._levels.popitem(last=False)
            return wait

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._levels)


class Throttle:
    """Requests a second: of an address before anything is done for it (a login, above all), of a user once it is known."""

    def __init__(self, limits: Limits, clock: Callable[[], float], max_keys: int = MAX_KEYS) -> None:
        self._addresses = Buckets(limits.requests_per_address, limits.burst, clock, max_keys)
        self._users = Buckets(limits.requests_per_user, limits.burst, clock, max_keys)

    def address(self, text: str) -> None:
        """One request from an address; `TOOMANYREQUESTS` with Retry-After."""
        _refuse(self._addresses.take(network(text)), "from this address")

    def user(self, name: str) -> None:
        """One request of a user; '' is not counted, an address stands for it.  As `address`."""
        if name:
            _refuse(self._users.take(name), "of this user")


class Uploads:
    """Uploads at once.  Thread-safe; nothing is left of a key that has none."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.uploads_per_user
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """One upload of a user (or an address, for nobody) for as long as the block runs; `TOOMANYREQUESTS`."""
        with self._lock:
            held = self._held.get(key, 0)
            if 0 < self._limit <= held:
                raise Refusal("TOOMANYREQUESTS", f"more than {self._limit} uploads at once", headers={"Retry-After": "1"})
            self._held[key] = held + 1
        try:
            yield
        finally:
            with self._lock:
                self._held[key] -= 1
                if not self._held[key]:
                    del self._held[key]


def check_blob(limits: Limits, size: int) -> None:
    """A blob's size as announced, or as far as it has arrived; 413 `SIZE_INVALID`."""
    if 0 < limits.max_blob < size:
        raise Refusal("SIZE_INVALID", f"blobs of more than {limits.max_blob} bytes are not taken", 413)


def check_manifest(limits: Limits, size: int) -> None:
    """Likewise of a manifest; 413 is the specification's ("Pushing Manifests")."""
    if size > limits.max_manifest:
        raise Refusal("SIZE_INVALID", f"manifests of more than {limits.max_manifest} bytes are not taken", 413)


def network(text: str) -> str:
    """What counts as one client: an IPv4 address, the /64 of an IPv6 one (a host has all of it), any other text as it is."""
    address = address_of(text.strip("[]"))
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address) if address is not None else text[:255]


def _refuse(wait: float, whose: str) -> None:
    if wait > 0:
        raise Refusal("TOOMANYREQUESTS", f"too many requests {whose}", headers={"Retry-After": str(max(1, math.ceil(wait)))})
