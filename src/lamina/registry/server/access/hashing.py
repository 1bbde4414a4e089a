"""bcrypt, a bounded number at once: a core each for some 50 ms (cost 10), which anybody on the network can ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lamina.errors import UsageError
from lamina.registry.server.refusal import Refusal

Hash = Callable[[bytes, bytes], bytes]

# At most this many wait, each at most so long: what comes then is told to come again.
AT_ONCE, WAITING, PATIENCE = 2, 32, 10.0
# bcrypt reads no more; what goes on behind would be ignored, silently.
MAX_PASSWORD = 72
# The salt of hashes that nobody's password has.
_SALT = b"abcdefghijklmnopqrstuu"


def bcrypt_hash() -> Hash:
    """(password, salt or hash) -> hash; `UsageError` without the library, which only registries with passwords need."""
    try:
        import bcrypt
    except ImportError:
        raise UsageError("logins by htpasswd need the library bcrypt", hint="install lamina[serve]") from None
    return bcrypt.hashpw


class Hasher:
    """The bounded bcrypt of a process.  Thread-safe."""

    def __init__(self, hash_: Hash | None = None, *, at_once: int = AT_ONCE, waiting: int = WAITING,
                 patience: float = PATIENCE) -> None:
        self._hash = hash_ or bcrypt_hash()
        self._places = threading.BoundedSemaphore(at_once)
        self._queue = threading.BoundedSemaphore(at_once + waiting)
        self._patience = patience

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places to work at; `TOOMANYREQUESTS` where the queue is full or does not move."""
        if not self._queue.acquire(blocking=False):
            raise _busy()
        try:
            if not self._places.acquire(timeout=self._patience):
                raise _busy()
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._queue.release()

    def hash(self, password: bytes, like: bytes) -> bytes:
        """The hash of a password by the cost and salt of another hash."""
        return self._hash(password, like)

    def waste(self, password: bytes, cost: int) -> None:
        """The work of a hash, for nothing."""
        self._hash(password, b"$2b$%02d$%s" % (cost, _SALT))


def _busy() -> Refusal:
    return Refusal("TOOMANYREQUESTS", "too many logins at once", headers={"Retry-After": "1"})
