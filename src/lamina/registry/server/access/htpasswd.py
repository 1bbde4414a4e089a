"""Users of an htpasswd file: `NAME:HASH` a line, bcrypt only (`htpasswd -B`).

Whether a user exists must not show in the time of the answer.  Every refused login costs the work of one hash of the file's
highest cost: an unknown user one for nothing, a user with a cheaper hash the difference (2^c + 2^c + 2^(c+1) + … = 2^max).
"""

from __future__ import annotations

import hmac
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from lamina.errors import InvalidContent, LimitExceeded
from lamina.registry.server.access.hashing import MAX_PASSWORD, Hasher
from lamina.registry.server.access.identity import is_user

MAX_USERS = 10_000
# 2^14 rounds are a second; the library would go up to 2^31, two days.
MIN_COST, MAX_COST = 4, 14
_DEFAULT_COST = 10
_HASH = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_REMEMBERED = 1024


def parse(data: bytes, file: Path) -> dict[str, bytes]:
    """Users and their hashes; `InvalidContent` with the line, which is not shown; `LimitExceeded`."""
    found: dict[str, bytes] = {}
    for number, line in enumerate(data.splitlines(), 1):
        where = f"{file}:{number}"
        if not line.strip() or line.startswith(b"#"):
            continue
        name, _, hashed = line.strip().partition(b":")
        user = _user(name, where)
        if user in found:
            raise InvalidContent("a user stands in the htpasswd file twice", where, "nobody can tell which password is meant")
        found[user] = _checked(hashed, where)
        if len(found) > MAX_USERS:
            raise LimitExceeded("too many users in the htpasswd file", file, f"at most {MAX_USERS} are read")
    return found


def _user(name: bytes, where: str) -> str:
    try:
        user = name.decode()
    except UnicodeDecodeError:
        raise InvalidContent("a user's name in the htpasswd file is no UTF-8", where) from None
    if not is_user(user):
        raise InvalidContent("no user's name in a line of the htpasswd file", where, "write NAME:HASH, as htpasswd -B does")
    return user


def _checked(hashed: bytes, where: str) -> bytes:
    match = _HASH.fullmatch(hashed)
    if match is None:
        raise InvalidContent("a password in the htpasswd file is not hashed by bcrypt", where, "make it by htpasswd -B")
    if not MIN_COST <= int(match[1]) <= MAX_COST:
        raise InvalidContent(f"a password in the htpasswd file has the cost {int(match[1])}", where,
                             f"costs from {MIN_COST} to {MAX_COST} are taken")
    return hashed


class Users:
    """One state of the file.  What was verified once is remembered with it, and forgotten with it.  Thread-safe."""

    def __init__(self, hashes: Mapping[str, bytes], hasher: Hasher) -> None:
        self._hashes, self._hasher = dict(hashes), hasher
        self._cost = max(map(_cost, self._hashes.values()), default=_DEFAULT_COST)
        self._key = os.urandom(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def verified(self, user: str, password: bytes) -> bool:
        """Whether the password was found right lately: without any bcrypt."""
        mark = self._mark(user, password)
        with self._lock:
            if mark in self._verified:
                self._verified.move_to_end(mark)
                return True
        return False

    def check(self, user: str, password: bytes) -> bool:
        """Whether it is the user's password; `Refusal` where too many are being checked."""
        if not possible(password):
            return False
        if self.verified(user, password):
            return True
        with self._hasher.place():
            # Clients open several connections at once, each with the same password: the first has done the work.
            right = self.verified(user, password) or self._work(user, password)
        if right:
            self._remember(self._mark(user, password))
        return right

    def _work(self, user: str, password: bytes) -> bool:
        known = self._hashes.get(user)
        if known is None:
            self._hasher.waste(password, self._cost)
            return False
        if hmac.compare_digest(self._hasher.hash(password, known), known):
            return True
        for cost in range(_cost(known), self._cost):
            self._hasher.waste(password, cost)
        return False

    def _mark(self, user: str, password: bytes) -> bytes:
        name = user.encode()
        return blake2b(len(name).to_bytes(4, "big") + name + password, key=self._key, digest_size=32).digest()

    def _remember(self, mark: bytes) -> None:
        with self._lock:
            self._verified[mark] = None
            self._verified.move_to_end(mark)
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)


def possible(password: bytes) -> bool:
    """Whether bcrypt takes all of it into account: not more than it reads, and no NUL, where other implementations stop."""
    return 0 < len(password) <= MAX_PASSWORD and b"\0" not in password


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])
